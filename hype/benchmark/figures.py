"""What a benchmark found: medians beside their bounds, in a JSON file that every benchmark adds its part to."""

import statistics
from pathlib import Path

from hype.benchmark.output import read_json
from hype.errors import InputError
from hype.files import write_json
from hype.text_tables import markdown_table

COLUMNS = ("benchmark", "figure", "median", "smallest", "largest", "n", "bound", "")
FEWEST = 5  # measurements whose median is set against a bound


def figure(name: str, values: list[float], at_most: float | None = None, at_least: float | None = None) -> dict:
    """Describe repeated measurements by their median, beside the bound."""
    median = statistics.median(values)
    found = {"name": name, "median": median, "smallest": min(values), "largest": max(values), "n": len(values)}
    bounds = {"at_most": at_most, "at_least": at_least}
    return found | {key: bound for key, bound in bounds.items() if bound is not None}


def is_bounded(found: dict) -> bool:
    """Return whether a figure has a bound."""
    return "at_most" in found or "at_least" in found


def verdict(found: dict) -> str:
    """Say whether a figure's median keeps its bound; nothing of one without, or of fewer than FEWEST measurements."""
    if not is_bounded(found) or found["n"] < FEWEST:
        return ""
    is_kept = found.get("at_least", found["median"]) <= found["median"] <= found.get("at_most", found["median"])
    return "kept" if is_kept else "exceeded"


def read(path: Path) -> dict[str, dict]:
    """Return what is recorded: benchmark -> its entry; nothing where there is no file.

    Raises:
        InputError: the file is not one of benchmarks.
    """
    entries = read_json(path)
    if entries is None:
        return {}
    if not isinstance(entries, dict) or not all(isinstance(e, dict) and "figures" in e for e in entries.values()):
        raise InputError(f"--output {path}: holds no benchmarks; give another file")
    return entries


def add(path: Path, name: str, entry: dict, order: list[str]) -> None:
    """Write the entry of one benchmark in the place of its former one, the others as they are, unknown ones last."""
    entries = {**read(path), name: entry}
    write_json(path, {known: entries[known] for known in dict.fromkeys([*order, *entries]) if known in entries})


def table(entries: dict[str, dict]) -> str:
    """Format entries as a Markdown table."""
    rows = []
    for name, entry in entries.items():
        for found in entry["figures"]:
            bound = " ".join(
                f"{key.replace('_', ' ')} {found[key]:.4g}" for key in ("at_most", "at_least") if key in found
            )
            numbers = [f"{found[key]:.4g}" for key in ("median", "smallest", "largest")]
            rows.append([name, found["name"], *numbers, str(found["n"]), bound or "-", verdict(found)])
    return markdown_table(COLUMNS, rows)
