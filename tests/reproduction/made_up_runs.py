"""Runs and sections written by hand for the tests of statistics and reports."""

import math
from pathlib import Path

import pandas as pd

from hype.reproduction.experiments import load
from hype.reproduction.overrides import Overrides
from hype.reproduction.runs import RunSpec
from hype.reproduction.sections import RUN_COLUMNS, Section
from hype.reproduction.status import State


def run(method="vanilla", score=50.0, seed=1, **changes) -> dict:
    """Write one row; a score of None is a run without one."""
    row = {
        "model": "BERT", "data": "all", "task": "rte", "method": method, "variant": "", "learning_rate": 1e-5,
        "seed": seed, "status": "finished" if score is not None else "missing",
        "score": math.nan if score is None else score, "majority": 25.0, "collapsed": False, "predictions": None,
        "hype_type": "none", "hype_eps": math.nan, "device": "cpu", "train_s": 1.5, "key": f"{method}-{seed}",
        "command": "python main.py --seed 1",
    }  # fmt: skip
    return row | {"dev_score": changes.get("score", row["score"])} | changes


def seeds(method: str, scores: list, **changes) -> list[dict]:
    """Write one row per score, seeds 1, 2, ..."""
    return [run(method, score, seed, **changes) for seed, score in enumerate(scores, 1)]


def runs_of(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=RUN_COLUMNS)


def record(score: float, predictions: str | None = None, **changes) -> dict:
    """Write the record of a finished run, as far as a report reads it."""
    return {
        "schema": 2, "status": "finished", "run_id": "0" * 16, "identity": {}, "score": score, "majority_score": 0.25,
        "predictions": predictions, "timings": {"train_s": 1.5, "total_s": 2.0}, **changes,
    }  # fmt: skip


def section(scores: dict[str, list], name="table_8", model="BERT", **changes) -> Section:
    """Make a section of the experiment's methods with these runs, seeds 1, 2, ...

    A run is a score (0 to 1), a record, the status of one that is not finished, or None: missing.
    """
    methods = {method.name: method for method in load(name).methods}
    states = {}
    for method, values in scores.items():
        flags = [part for flag, value in methods[method].flags.items() for part in (f"--{flag}", str(value))]
        for seed, value in enumerate(values, 1):
            folder = Path(f"runs/{method.replace(' ', '_')}-seed_{seed}-{len(states):016x}")
            spec = RunSpec(model, "rte", method, "", 1e-5, seed, "all", tuple(flags), folder)
            value = record(value) if isinstance(value, float) else value
            states[spec] = State("finished", value) if isinstance(value, dict) else State(value or "missing")
    fields = {"name": name, "title": "A title", "experiment": load(name), "overrides": Overrides(data_dir=None)}
    return Section(**fields | {"states": states} | changes)
