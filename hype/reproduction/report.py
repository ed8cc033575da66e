"""A table's report from its runs: on the terminal, and as Markdown, CSV and one self-contained HTML page."""

import csv
import html
import io
import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from hype.errors import EnvironmentFault
from hype.reproduction import sheets
from hype.reproduction.contents import Contents
from hype.reproduction.sheets import Sheet
from hype.reproduction.statistics import DDOF
from hype.reproduction.studies import Study
from hype.text_tables import aligned, markdown_table

TERMINAL_WIDTH = 110
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def show(contents: Contents) -> str:
    """Return the report for a terminal: scores, paired differences so far, doubtful printed averages."""
    table = contents.table
    head = [contents.title, table.paper_reference, contents.runs_text, *table.notes, *contents.findings, ""]
    head.append(sheets.protocol_note(table))
    parts = ["\n".join(textwrap.fill(line, TERMINAL_WIDTH) for line in head)]
    listed = [*sheets.score_sheets(table, contents.cells), *contents.further_sheets]
    listed += sheets.difference_sheets([d for d in contents.differences if d.n])
    listed += sheets.printed_sheets(table)
    parts += [_text(sheet, contents.labels) for sheet in listed]
    return "\n\n".join(parts) + "\n"


def write_report(contents: Contents, folder: Path) -> list[Path]:
    """Write NAME.md, NAME.html, NAME.csv, NAME_differences.csv, NAME_runs.csv and the figures; return their paths.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    name = contents.table.name
    files = {
        f"{name}.md": _markdown(contents),
        f"{name}.html": _page(contents),
        f"{name}.csv": _csv(_score_records(contents), contents.labels),
        f"{name}_differences.csv": _csv([vars(d) for d in contents.differences], contents.labels),
        f"{name}_runs.csv": _csv(contents.runs.to_dict("records"), contents.labels),
        **{figure.file_name: figure.standalone for figure in contents.figures},
    }
    return _written(files, folder)


def write_study(study: Study, sections: list[Contents], folder: Path) -> list[Path]:
    """Write report.md and report.html: every section's findings and tables, which lead to its own page in reports/.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    common = [note for note in sections[0].table.notes if all(note in c.table.notes for c in sections)]
    own_notes = [[note for note in contents.table.notes if note not in common] for contents in sections]
    page = _template("study.html.j2").render(
        study=study,
        notes=common,
        sections=[
            (contents, notes, _main_sheets(contents), [(Markup(f.svg), f.caption) for f in contents.figures])
            for contents, notes in zip(sections, own_notes, strict=True)
        ],
    )
    parts = [f"# {_escaped(study.title)}", _escaped(study.summary), *map(_escaped, common)]
    for contents, notes in zip(sections, own_notes, strict=True):
        name = contents.table.name
        parts += [f"## {_escaped(contents.table.title)}", _escaped(contents.table.paper_reference)]
        parts += [_escaped(label) for label in contents.labels]
        parts.append(f"{contents.runs_text}; every run: [reports/{name}.md](reports/{name}.md)")
        parts += [*map(_escaped, notes), *(f"**{_escaped(text)}**" for text in contents.findings)]
        parts += [_markdown_sheet(sheet, "###") for sheet in _main_sheets(contents)]
        parts += [f"![{_escaped(f.caption)}](reports/{f.file_name})" for f in contents.figures]
    return _written({"report.md": "\n\n".join(parts) + "\n", "report.html": page}, folder)


def _main_sheets(contents: Contents) -> list[Sheet]:
    """Return the tables of a section of a study: scores, what the noise changes, paired differences so far."""
    table = contents.table
    listed = [*sheets.score_sheets(table, contents.cells), *contents.further_sheets]
    return [*listed, *sheets.difference_sheets([d for d in contents.differences if d.n])]


def _written(files: dict[str, str], folder: Path) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8", newline="")
            temporary.replace(folder / name)
    except OSError as error:
        raise EnvironmentFault(f"{folder}: {error.strerror}; choose a folder you can write") from error
    return [folder / name for name in files]


def _text(sheet: Sheet, labels: Sequence[str]) -> str:
    lines = aligned(sheet.columns, [[entry.text for entry in row] for row in sheet.rows])
    head = [sheet.title, *(f"[{label}]" for label in labels)]
    return "\n".join([*(textwrap.fill(line, TERMINAL_WIDTH) for line in head), "-" * len(lines[0]), *lines])


def _markdown(contents: Contents) -> str:
    table = contents.table
    parts = [f"# {_escaped(contents.title)}", _escaped(table.paper_reference), contents.runs_text]
    parts += map(_escaped, table.notes)
    parts += [f"**{_escaped(text)}**" for text in contents.findings]
    parts += [f"## Scores by the paper's protocol\n\n{sheets.protocol_note(table)}"]
    listed = [*sheets.score_sheets(table, contents.cells), *contents.further_sheets]
    listed += sheets.difference_sheets(contents.differences)
    listed += [*sheets.printed_sheets(table), sheets.grid_sheet(table, contents.points, contents.cells)]
    parts += [_markdown_sheet(sheet, "##", contents.labels) for sheet in listed]
    parts.append(f"Every run with its command: {_escaped(table.name)}_runs.csv.")
    return "\n\n".join(parts) + "\n"


def _markdown_sheet(sheet: Sheet, heading: str, labels: Sequence[str] = ()) -> str:
    head = [f"{heading} {_escaped(sheet.title)}", *(_escaped(text) for text in (*labels, sheet.note) if text)]
    rows = [[_escaped(entry.text) for entry in row] for row in sheet.rows]
    return "\n\n".join([*head, markdown_table([_escaped(name) for name in sheet.columns], rows)])


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")


def _page(contents: Contents) -> str:
    table, points = contents.table, contents.points
    return _template("report.html.j2").render(
        contents=contents,
        protocol_note=sheets.protocol_note(table),
        score_sheets=sheets.score_sheets(table, contents.cells),
        figures=[(Markup(figure.svg), figure.caption) for figure in contents.figures],
        other_sheets=[
            *contents.further_sheets,
            *sheets.difference_sheets(contents.differences),
            *sheets.printed_sheets(table),
            sheets.grid_sheet(table, points, contents.cells),
        ],
        run_sheets=sheets.run_sheets(table, contents.runs),
    )


def _template(name: str) -> jinja2.Template:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    ).get_template(name)  # fmt: skip


def _score_records(contents: Contents) -> list[dict]:
    """Return the table as one record per model, method and task."""
    records = []
    for (model, method, task), cell in contents.cells.items():
        best, shown = cell.best, cell.best or cell.most_finished
        score, std = contents.table.printed.get((model, method, task), (None, None))
        records.append(
            {
                "model": model,
                "method": method,
                "task": task,
                "mean": best and best.mean,
                f"std_ddof_{DDOF}": best and best.std(),
                "std_ddof_0": best and best.std(ddof=0),
                "n": shown.n,
                "planned": shown.planned,
                "complete_grid_points": cell.complete_count,
                "grid_points": len(cell.points),
                "learning_rate": best and best.learning_rate,
                "variant": best and best.variant,
                "printed": score,
                "printed_std": std,
                "difference": best.mean - score if best and score is not None else None,
            }
        )
    return records


def _csv(records: list[dict], labels: Sequence[str]) -> str:
    """Write records as CSV: numbers as numbers, absent values empty, no text that a spreadsheet takes for a formula."""
    target = io.StringIO()
    columns = [*(records[0] if records else ()), "label"]
    writer = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    for record in records:
        writer.writerow([_harmless(value) for value in (*record.values(), "; ".join(labels))])
    return target.getvalue()


def _harmless(value):
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
