"""Runs and tables written by hand for the tests of statistics and reports."""

import math

import pandas as pd

from hype.reproduction.statistics import PaperTable

CONTROL = "vanilla, no dropout"


def run(method="vanilla", score=0.5, seed=1, **changes) -> dict:
    """Write one row; a score of None is a run without one."""
    row = {
        "model": "bert",
        "task": "rte",
        "method": method,
        "variant": "",
        "learning_rate": 1e-5,
        "seed": seed,
        "status": "finished" if score is not None else "missing",
        "score": math.nan if score is None else score,
        "majority_score": 0.25,
        "train_s": 1.5,
        "is_constant": "",
        "run_id": "0123456789abcdef",
        "folder": "runs/a",
        "command": "python main.py --seed 1",
    }
    # Selected by the score that is shown, unless told otherwise.
    return row | {"dev_score": changes.get("score", row["score"])} | changes


def runs_of(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def seeds(method: str, scores: list, **changes) -> list[dict]:
    """Write one row per score, seeds 1, 2, ..."""
    return [run(method, score, seed, **changes) for seed, score in enumerate(scores, 1)]


def paper_table(**changes) -> PaperTable:
    fields = {
        "name": "table_1",
        "title": "Table 1",
        "paper_reference": "HyPe, ACL 2023, table 1",
        "models": ["bert"],
        "tasks": ["rte"],
        "methods": ["vanilla", CONTROL, "hype-n"],
        "control": CONTROL,
    }
    return PaperTable(**(fields | changes))
