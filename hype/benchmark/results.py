"""What the benchmarks found: medians beside their bounds, in one JSON file that each benchmark adds its entry to."""

import json
import statistics
import tempfile
from pathlib import Path

from hype.errors import InputError
from hype.files import write_json
from hype.text_tables import markdown_table

COLUMNS = ("figure", "median", "smallest", "largest", "n", "bound", "")
FEWEST = 5  # measurements whose median is compared with a bound


def figure(name: str, values: list[float], at_most: float | None = None, at_least: float | None = None) -> dict:
    """Describe repeated measurements by their median, beside its bound."""
    median = statistics.median(values)
    found = {"name": name, "median": median, "smallest": min(values), "largest": max(values), "n": len(values)}
    bounds = {"at_most": at_most, "at_least": at_least}
    return found | {key: bound for key, bound in bounds.items() if bound is not None}


def is_bounded(found: dict) -> bool:
    """Return whether a figure has a bound."""
    return "at_most" in found or "at_least" in found


def verdict(found: dict) -> str:
    """Say whether the median of a figure keeps its bound; nothing without a bound or of too few measurements."""
    if not is_bounded(found) or found["n"] < FEWEST:
        return ""
    is_kept = found.get("at_least", found["median"]) <= found["median"] <= found.get("at_most", found["median"])
    return "kept" if is_kept else "exceeded"


def read(path: Path) -> dict[str, dict]:
    """Return the entries, by benchmark; none if there is no file.

    Raises:
        InputError: the file is not one of benchmarks.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"--output {path}: not readable as JSON ({error}); remove it or give another file") from None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) and "figures" in e for e in entries.values()):
        raise InputError(f"--output {path}: holds no benchmarks; give another file")
    return entries


def require_writable(path: Path) -> None:
    """Create the folder of the file and raise InputError if the file cannot be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"--output {path}: {error.strerror}; give a file in a folder that you can write") from None


def write(path: Path, name: str, entry: dict) -> None:
    """Write the entry of one benchmark in the place of its former one; the others stay."""
    write_json(path, {**read(path), name: entry})


def table(entries: dict[str, dict]) -> str:
    """Format the figures of entries that have a bound as a Markdown table."""
    rows = [[name, *_row(found)] for name, entry in entries.items() for found in entry["figures"] if is_bounded(found)]
    return markdown_table(("benchmark", *COLUMNS), rows)


def page(entries: dict[str, dict]) -> str:
    """Format entries in full: a heading, what it was measured with and a table for each."""
    parts = []
    for name, entry in entries.items():
        machine = entry["machine"]
        parts += [
            f"### {name}",
            f"{entry['date']}, commit `{machine['git']['commit'][:7]}`, {entry['model']}, {entry['clock']}, "
            f"{machine['device']['name']}, torch {machine['versions']['torch']}, measured in "
            f"{entry['measured_in_s'] / 60:.0f} minutes.",
            markdown_table(COLUMNS, map(_row, entry["figures"])),
        ]
    return "\n\n".join(parts)


def _row(found: dict) -> list[str]:
    bounds = [f"{key.replace('_', ' ')} {found[key]:.4g}" for key in ("at_most", "at_least") if key in found]
    numbers = [f"{found[key]:.4g}" for key in ("median", "smallest", "largest")]
    return [found["name"], *numbers, str(found["n"]), *(bounds or ["-"]), verdict(found)]
