"""What a benchmark found: medians beside their bounds, in a JSON file that every benchmark adds its part to."""

import json
import statistics
from pathlib import Path

from hype.checkpoints import write_json
from hype.errors import InputError

COLUMNS = ("benchmark", "figure", "median", "smallest", "largest", "n", "bound", "")


def figure(name: str, values: list[float], at_most: float | None = None, at_least: float | None = None) -> dict:
    """Describe repeated measurements by their median, and say whether that keeps the bound."""
    median = statistics.median(values)
    found = {"name": name, "median": median, "smallest": min(values), "largest": max(values), "n": len(values)}
    if at_most is not None:
        found |= {"at_most": at_most, "verdict": "kept" if median <= at_most else "exceeded"}
    if at_least is not None:
        found |= {"at_least": at_least, "verdict": "kept" if median >= at_least else "exceeded"}
    return found


def read(path: Path) -> dict[str, dict]:
    """Return what is recorded: benchmark -> its entry; nothing where there is no file.

    Raises:
        InputError: the file is not one of benchmarks.
    """
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"--output {path}: not JSON ({error}); remove it or give another file") from None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) and "figures" in e for e in entries.values()):
        raise InputError(f"--output {path}: holds no benchmarks; give another file")
    return entries


def add(path: Path, name: str, entry: dict, order: list[str]) -> None:
    """Write the entry of one benchmark in the place of its former one, the others as they are, in this order."""
    entries = {**read(path), name: entry}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {known: entries[known] for known in order if known in entries})


def table(entries: dict[str, dict]) -> str:
    """Format entries as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for name, entry in entries.items():
        for found in entry["figures"]:
            bound = " ".join(
                f"{key.replace('_', ' ')} {found[key]:.4g}" for key in ("at_most", "at_least") if key in found
            )
            numbers = [f"{found[key]:.4g}" for key in ("median", "smallest", "largest")]
            cells = [name, found["name"], *numbers, str(found["n"]), bound or "-", found.get("verdict", "")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
