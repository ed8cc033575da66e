"""The command line of `python -m hype.reproduction`: its flags, and what of them narrows an experiment."""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from hype.errors import InputError
from hype.flags import LineParser, positive
from hype.reproduction.experiments import NAMES
from hype.reproduction.narrowing import Narrowing
from hype.reproduction.studies import STUDIES

ACTIONS = ("dry_run", "commands", "run", "show", "report")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    line = LineParser(
        prog="python -m hype.reproduction",
        description="Do the runs of an experiment or a study, show what is there, write its report.",
    )
    line.add_argument("experiment", metavar="EXPERIMENT", help=f"{', '.join(NAMES)}; or a study: {', '.join(STUDIES)}")
    actions = line.add_argument_group("what to do (at least one; they happen in this order)")
    actions.add_argument("--dry_run", action="store_true", help="Count the runs and estimate their time.")
    actions.add_argument("--commands", action="store_true", help="Print one shell line per run, finished or not.")
    actions.add_argument("--run", action="store_true", help="Do what is missing, then show the table.")
    actions.add_argument("--show", action="store_true", help="Print the table from the runs that are there.")
    actions.add_argument("--report", action="store_true", help="Write Markdown, CSV and HTML to RESULTS_DIR/reports.")
    narrow = line.add_argument_group("narrowing: a narrowed table says so wherever it appears")
    narrow.add_argument("--models", nargs="+", metavar="NAME[=PATH_OR_HUB_NAME]",
                        help="These models alone; NAME=PATH puts another checkpoint in the place of one.")  # fmt: skip
    narrow.add_argument("--tasks", nargs="+", help="These tasks.")
    narrow.add_argument("--methods", nargs="+", help="These methods.")
    narrow.add_argument("--variants", nargs="+", help="These points of the methods' grids, such as 'hype_eps 1e-05'.")
    narrow.add_argument("--hype_eps", type=float, help="This scale for all noise, instead of the experiment's.")
    narrow.add_argument("--seeds", nargs="+", type=int, help="These seeds, instead of the experiment's.")
    narrow.add_argument("--learning_rates", nargs="+", type=_rate, metavar="[TASK=]RATE",
                        help="These rates, instead of the experiment's; of one task, or of all.")  # fmt: skip
    narrow.add_argument("--max_train_samples", type=positive, help="At most so many training examples.")
    narrow.add_argument("--max_analysis_samples", type=positive, help="Analyse at most so many of each dev set.")
    narrow.add_argument("--sections", nargs="+", help="Of a study: these sections.")
    narrow.add_argument("--data_dir", help="The GLUE folder (default: variable GLUE_DIR; neither: the hub).")
    narrow.add_argument("--nli_dir", help="Table 7: the folder with SNLI/, SICK/, SciTail/ (default: that of "
                        "--data_dir if it holds SNLI/, else the hub; a study knows no hub).")  # fmt: skip
    narrow.add_argument("--adv_file", help="Table 6: AdvGLUE's dev.json (default: the hub; a study knows no hub).")
    how = line.add_argument_group("how to run")
    how.add_argument("--results_dir", type=Path, help="Default: results; of a study results/STUDY.")
    how.add_argument("--keep_models", action="store_true", help="Keep the fine-tuned model of each run.")
    how.add_argument("--retry_failed", action="store_true", help="Try again what failed, diverged or is damaged.")
    how.add_argument("--executor", choices=("sequential", "ray"), default="sequential", help="Default: sequential.")
    how.add_argument("--cpus_per_run", type=_cpus, default=1, help="Asked of Ray (default: 1).")
    how.add_argument("--gpus_per_run", type=_gpus, help="Asked of Ray (default: 1 where the cluster has any).")
    return line


def narrowing_of(options: argparse.Namespace) -> Narrowing:
    """Collect the narrowing flags.

    Raises:
        InputError: a number out of range, a model that is named twice or not there.
    """
    models = options.models and _models(options.models)
    rates = options.learning_rates and _rates(options.learning_rates, options.tasks)
    bad = [seed for seed in options.seeds or () if not 0 <= seed < 2**32]
    if bad:
        raise InputError(f"--seeds {bad[0]}: give whole numbers from 0 to below 2^32")
    if options.hype_eps is not None and not 0 < options.hype_eps < float("inf"):
        raise InputError(f"--hype_eps {options.hype_eps:g}: give a positive number, such as 0.1")
    as_they_are = ("max_train_samples", "max_analysis_samples", "hype_eps", "nli_dir", "adv_file")
    given = {name: getattr(options, name) for name in as_they_are}
    for name in ("tasks", "methods", "variants", "seeds"):
        values = getattr(options, name)
        given[name] = None if values is None else tuple(dict.fromkeys(values))
    if options.data_dir is not None:
        given["data_dir"] = options.data_dir
    return Narrowing(models=models, learning_rates=rates, **given)


def _models(given: list[str]) -> dict[str, str | None]:
    """Collect NAME[=PATH_OR_HUB_NAME]; what looks like a path is one, as for main.py."""
    models = {}
    for text in given:
        name, _, path = text.partition("=")
        folder = os.path.expanduser(path)
        if name in models:
            raise InputError(f"--models {text}: {name} is given twice; give each name once")
        if os.path.isfile(folder):
            raise InputError(f"--models {text}: a file; give the folder of a model, or a hub name")
        if not os.path.isdir(folder) and (path.startswith((".", "/", "~")) or path.count("/") > 1):
            raise InputError(f"--models {text}: no such folder; give the folder of a model, or a hub name")
        models[name] = path or None
    return models


def _rate(text: str) -> tuple[str, float]:
    """Split [TASK=]RATE."""
    task, _, rate = text.rpartition("=")
    try:
        return task, float(rate)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: give numbers such as 2e-5, or TASK=2e-5") from None


def _cpus(text: str) -> float:
    return _amount(text, lambda amount: amount > 0, "give a positive number, such as 2 or 0.5")


def _gpus(text: str) -> float:
    # Ray shares one GPU, not several.
    return _amount(text, lambda amount: 0 <= amount <= 1 or amount.is_integer(), "give 0, 0.5, 1, 2 ...")


def _amount(text: str, is_allowed: Callable[[float], bool], remedy: str) -> float:
    """Read how much a run asks of Ray, which counts in steps of 0.0001."""
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not (0 <= amount < math.inf and is_allowed(amount) and round(amount, 4) == amount):
        raise argparse.ArgumentTypeError(f"{text}: {remedy}")
    return amount


def _rates(given: list[tuple[str, float]], tasks: list[str] | None) -> tuple[float, ...] | dict[str, tuple[float, ...]]:
    """Collect learning rates: those of all tasks, or of each."""
    bad = [rate for _, rate in given if not 0 < rate < 1]
    if bad:
        raise InputError(f"--learning_rates {bad[0]:g}: give positive numbers below 1, such as 2e-5")
    of_task: dict[str, list[float]] = {}
    for task, rate in dict.fromkeys(given):
        of_task.setdefault(task, []).append(rate)
    if set(of_task) == {""}:
        return tuple(of_task[""])
    if "" in of_task or set(of_task) != set(tasks or ()):
        wanted = " ".join(f"{task}=RATE" for task in tasks or ("TASK",))
        raise InputError(f"--learning_rates {', '.join(map(repr, of_task))}: name every task of --tasks: {wanted}")
    return {task: tuple(rates) for task, rates in of_task.items()}
