"""Text tables, for Markdown and for the terminal, and counts."""

from collections.abc import Collection, Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], is_padded: bool = False) -> str:
    """Format a table as Markdown, optionally padded for the terminal; cells must not contain bars or line breaks."""
    lines = [list(columns), ["---"] * len(columns), *map(list, rows)]
    if is_padded:
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        lines[1] = ["-" * width for width in widths]
        lines = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def aligned(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Format a table as aligned lines, header first, with two spaces between columns; right-align those in `right`."""
    justified = []
    for cells in zip(columns, *rows, strict=True):
        justify = str.rjust if cells[0] in right else str.ljust
        width = max(map(len, cells))
        justified.append([justify(cell, width) for cell in cells])
    return ["  ".join(line).rstrip() for line in zip(*justified, strict=True)]


def counted(count: int, noun: str) -> str:
    """Format a number of things: 1 run, 2 runs."""
    return f"{count} {noun}{'s' * (count != 1)}"
