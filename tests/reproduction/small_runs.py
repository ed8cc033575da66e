"""Runs of about a second: table 8 reduced to a tiny random BERT on the sample data."""

import json
from pathlib import Path

from hype.reproduction.experiments import load
from hype.reproduction.overrides import Overrides
from hype.reproduction.runs import RunSpec, expand
from tests.tiny import SAMPLE

ROOT = Path(__file__).parents[2]


def overrides(model: Path, **changes) -> Overrides:
    """Reduce table 8 to four runs: vanilla and HyPe-N, two seeds."""
    settings = {
        "models": {"bert-large": str(model)}, "tasks": ("rte",), "methods": ("vanilla", "hype-n 1e-5"),
        "seeds": (1, 2), "learning_rates": (1e-3,), "max_train_samples": 48, "data_dir": str(SAMPLE),
    }  # fmt: skip
    return Overrides(**settings | changes)


def specs_in(results_dir: Path, model: Path, **changes) -> list[RunSpec]:
    return expand(load("table_8"), overrides(model, **changes), results_dir)


def argv_of(results_dir: Path, model: Path, *options: str) -> list[str]:
    """Write the command line of the same runs."""
    return [
        "table_8", "--models", f"bert-large={model}", "--tasks", "rte", "--methods", "vanilla", "hype-n 1e-5",
        "--seeds", "1", "2", "--learning_rates", "1e-3", "--max_train_samples", "48", "--data_dir", str(SAMPLE),
        "--results_dir", str(results_dir), *options,
    ]  # fmt: skip


def lasting(folder: Path) -> dict:
    """Return a run's record without what differs from attempt to attempt: times, memory, places, the commit."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in ("timings", "peak_memory_bytes", "machine", "settings"):
        del record[name]
    for metrics in record["metrics"].values():
        for name in [name for name in metrics if name.endswith(("runtime", "per_second", "per_second_mm"))]:
            del metrics[name]
    # None in a run that was never interrupted, else empty: nothing changed.
    record["changed"] = record["changed"] or None
    record["resumed_from"] = None
    return record
