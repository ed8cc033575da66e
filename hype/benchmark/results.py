"""Results of the benchmarks: medians with their bounds, in one JSON file with an entry per benchmark."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np

from hype.errors import InputError
from hype.files import as_json, write_output
from hype.text_tables import markdown_table

COLUMNS = ("figure", "median", "smallest", "largest", "n", "bound", "")
FEWEST = 5  # measurements needed to compare their median with a bound


def figure(name: str, values, at_most: float | None = None, at_least: float | None = None) -> dict:
    """Summarise repeated measurements by their median, with its bound."""
    numbers = {"median": np.median(values), "smallest": min(values), "largest": max(values)}
    bounds = {key: bound for key, bound in {"at_most": at_most, "at_least": at_least}.items() if bound is not None}
    return {"name": name, **{key: float(number) for key, number in {**numbers, **bounds}.items()}, "n": len(values)}


def read(path: Path) -> dict[str, dict]:
    """Return the entries by benchmark; empty if there is no file.

    Raises:
        InputError: the file is not a benchmark file.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {name: {**entry, "figures": entry["figures"]} for name, entry in entries.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        raise InputError(f"--output {path}: not a benchmark file; give another file") from None


def write(path: Path, **entries: dict) -> None:
    """Write entries, replacing former ones of the same names; the others stay. The folder is created if necessary.

    Raises:
        InputError: the file is not a benchmark file.
        EnvironmentFault: it cannot be written.
    """
    write_output(path, as_json({**read(path), **entries}))


def page(entries: dict[str, dict]) -> str:
    """Format entries in full, each with a heading, the conditions of the measurement and a table."""
    parts = []
    for name, entry in entries.items():
        machine = entry["machine"]
        commit = machine["git"]["commit"][:7] if machine["git"] else "unknown"
        parts += [
            f"### {name}",
            f"{entry['date']}, commit `{commit}`, {entry['model']}, {entry['clock']}, "
            f"{machine['device']['name']}, torch {machine['versions']['torch']}, measured in "
            f"{timedelta(seconds=round(entry['measured_in_s']))} (h:mm:ss).",
            markdown_table(COLUMNS, map(_row, entry["figures"])),
        ]
    return "\n\n".join(parts)


def _row(found: dict) -> list[str]:
    """Format a figure; with too few measurements, there is no verdict on its bound."""
    median, n, verdict = found["median"], found["n"], ""
    bounds = [f"{key.replace('_', ' ')} {found[key]:.4g}" for key in ("at_most", "at_least") if key in found]
    if bounds and n >= FEWEST:
        verdict = "kept" if found.get("at_least", median) <= median <= found.get("at_most", median) else "exceeded"
    numbers = [f"{found[key]:.4g}" for key in ("median", "smallest", "largest")]
    return [found["name"], *numbers, str(n), *(bounds or ["-"]), verdict]
