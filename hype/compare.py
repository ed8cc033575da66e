"""Compare finished runs: `python -m hype.compare RUN_DIR ...` groups them by method and pairs them by seed."""

import argparse
import itertools
import json
import math
import re
import sys
from pathlib import Path

import pandas as pd

from hype.errors import InputError, run_command
from hype.files import write_output
from hype.flags import LineParser
from hype.reproduction.statistics import effects, paired, percent, spread_text
from hype.techniques import TechniqueArguments
from hype.text_tables import aligned, counted
from hype.training.record import RECORD, read_record

ONE_SEED = "One seed says nothing about which method is better: compare means over several seeds."
# Trainer's own regularisers, which belong to the method like our flags.
REGULARISERS = ("neftune_noise_alpha", "label_smoothing_factor")


def compare(folders: list[Path], plot: Path | None = None) -> str:
    """Return a table of the finished runs in these folders, with one row per task and method.

    Differences are to vanilla with dropout or, if there is none, to vanilla without: the mean over pairs of runs that
    share the seed, the data, the model and all settings except the method, with a 95 % t interval if there are at
    least three pairs.

    Args:
        plot: file for a plot of the scores and training curves.

    Raises:
        InputError: a folder has no readable record, or no run is finished.
    """
    records = {folder: _record(folder) for folder in folders}
    finished = {folder: record for folder, record in records.items() if record["status"] == "finished"}
    if not finished:
        raise InputError(f"{folders[0]}: no finished run among {len(folders)}; repeat the command of one to finish it")
    notes = [f"left out: {folder} ({record['status']})" for folder, record in records.items() if folder not in finished]
    notes += [
        f"{folder}: settings changed during training ({', '.join(record['changed'])})"
        for folder, record in finished.items()
        if record.get("changed")
    ]
    first: dict[str, Path] = {}
    for folder, record in list(finished.items()):  # a copy of a run is no further observation
        original = first.setdefault(record["run_id"], folder)
        if original != folder:
            notes.append(f"left out: {folder} (the same run as {original})")
            del finished[folder]
    lines = table(list(finished.values()))
    notes += sorted({record["sample"] for record in finished.values() if record.get("sample")})
    notes += [] if len({record["seed"] for record in finished.values()}) > 1 else [ONE_SEED]
    if plot:
        draw(finished, plot)
        notes.append(str(plot))
    return "\n".join([*lines, "", *notes]).rstrip()


def _record(folder: Path) -> dict:
    record = read_record(folder / RECORD)
    needed = ("run_id", "label", "task", "seed", "timings", "data", "model", "machine")
    missing = [key for key in needed if key not in record]
    if missing:
        raise InputError(f"{folder / RECORD}: no {', '.join(missing)}; give the folder of a run")
    return record


def table(records: list[dict]) -> list[str]:
    """Return the lines of the table of finished runs, given their records in full or as published by a study."""
    runs = _runs(records)
    rows = []
    for (task, _), here in runs.groupby(["task", "model"], sort=False):
        vanilla = here.loc[here["is_vanilla"], "method"]
        # Vanilla with dropout is the reference if there is one.
        reference = min(vanilla, key=lambda label: label.endswith(", dropout 0"), default=None)
        pairs = paired(here, [(method, reference) for method in here["method"].unique() if method != reference])
        differences = {effect.method: effect for effect in effects(pairs).itertuples()}
        for method, group in here.groupby("method", sort=False):
            first, effect = group.iloc[0], differences.get(method)
            rows.append([
                task,
                method,
                str(len(group)),
                first["metric"],
                spread_text(group["score"].mean(), group["score"].std()),
                spread_text(first["majority"]),
                effect.text if effect else "-",
                percent(effect.flips) if effect else "-",
                "-" if math.isnan(group["seconds"].mean()) else f"{group['seconds'].mean():.0f}",
            ])  # fmt: skip
    columns = [
        "task", "method", "n", "metric", "score x 100", "majority", "to vanilla", "predictions that differ", "seconds",
    ]  # fmt: skip
    used = [i for i, column in enumerate(columns) if i < 5 or any(row[i] != "-" for row in rows)]
    return aligned([columns[i] for i in used], [[row[i] for i in used] for row in rows], right=("n", "seconds"))


def _runs(records: list[dict]) -> pd.DataFrame:
    """Return one row per record, as `hype.reproduction.statistics` expects; `model` is all that paired runs share."""
    rows = []
    for record, name in zip(records, _names(records), strict=True):
        identity, timings, own = record["identity"], record["timings"], {"seed", "data_seed", *_settings(record)[0]}
        kept = {name: value for name, value in identity.items() if name not in own}
        rows.append({
            "model": json.dumps(kept, sort_keys=True), "data": "", "task": record["task"], "method": name,
            "variant": "", "learning_rate": identity.get("learning_rate", 5e-5),
            "seed": f"{record['seed']}, {identity.get('data_seed')}",  # a pair shares both
            "score": record.get("score"), "majority": record.get("majority_score"), "collapsed": False,
            "predictions": record.get("predictions"), "metric": record.get("score_name") or "-",
            "is_vanilla": record["label"].startswith("vanilla"), "device": str(record["machine"]["device"]),
            "seconds": None if "first_step" in timings else timings.get("total_s"),
        })  # fmt: skip
    runs = pd.DataFrame(rows).astype({"score": float, "majority": float, "seconds": float})
    return runs.assign(score=100 * runs["score"], majority=100 * runs["majority"])


def _settings(record: dict) -> tuple[dict, dict]:
    """Return the settings of a run's method, and the others in which compared runs may differ (no seeds, no hashes)."""
    of_method = {"dropout_rate", "all_dropout_rate", *REGULARISERS, *TechniqueArguments.__dataclass_fields__}
    omitted = ("seed", "data_seed", "tokenizer", "config", "checkpoint_dir")
    method, others = {}, {"learning_rate": 5e-5}
    for name, value in record["identity"].items():
        if name in of_method or name.startswith("hype_"):
            method[name] = value
        elif name not in omitted and not name.startswith("data."):
            others[name] = value
    # Paths instead of hashes, and own files, whose runs all have the task "own".
    named = ("train_file", "validation_file", "config_name", "checkpoint_dir")
    paths = {"model": record["model"]["name"]} | {k: v for k, v in record.get("settings", {}).items() if k in named}
    return method, others | {name: "/".join(Path(path).parts[-2:]) for name, path in paths.items()}


def _names(records: list[dict]) -> list[str]:
    """Return each run's label with what it leaves out: settings in which runs of the label, or of the task, differ."""
    names = []
    for record in records:
        of_task = [other for other in records if other["task"] == record["task"]]
        of_label = [other for other in of_task if other["label"] == record["label"]]
        extra = []
        for i, peers in enumerate((of_label, of_task)):
            theirs = [_settings(peer)[i] for peer in peers]
            extra += [f"{k} {v}" for k, v in _settings(record)[i].items() if any(peer.get(k) != v for peer in theirs)]
        name, *dropout = record["label"].split(", ")
        names.append(", ".join([name, *extra, *dropout]))
    return names


def draw(records: dict[Path, dict], path: Path) -> None:
    """Draw the scores by method, with mean and interval, and the training losses, as an SVG file."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    from hype.reproduction.drawing import LOOKS, STYLE, draw_scores, look_of, render

    runs = _runs(list(records.values())).assign(folder=list(records))
    tasks, labels = list(runs["task"].unique()), list(runs["method"].unique())
    others, looks = itertools.cycle([*LOOKS][4:]), {}
    for label in labels:  # the look of its method, unless another label already has it
        look = look_of(re.sub(", dropout 0$", ", no dropout", label).lower())
        looks[label] = look_of(next(others)) if look in looks.values() else look
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(8.0, len(tasks) * (0.3 * len(labels) + 1.6)))
        panels = canvas.subplots(len(tasks), 2, squeeze=False)
        for (left, right), task in zip(panels, tasks, strict=True):
            groups = {label: runs[(runs["task"] == task) & (runs["method"] == label)] for label in labels}
            draw_scores(left, [(label, looks[label], group["score"].dropna()) for label, group in groups.items()])
            left.set_title(task)
            for label, group in groups.items():
                for folder in group["folder"]:
                    right.plot(*_losses(folder), color=looks[label]["color"], alpha=0.7, linewidth=1)
            right.set(title=task, xlabel="step", ylabel="training loss")
        caption = f"{counted(len(records), 'run')} of {', '.join(tasks)} by method."
        title = "Scores of single runs with mean and 95 % t interval; training losses"
        write_output(path, render(canvas, "compare", title, caption).standalone)


def _losses(folder: Path) -> tuple[list[int], list[float]]:
    """Read a run's logged training losses from trainer_state.json."""
    try:
        history = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        logged = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    except (OSError, ValueError, KeyError, TypeError):
        logged = []
    return [step for step, _ in logged], [loss for _, loss in logged]


def parser() -> argparse.ArgumentParser:
    """Build the command-line parser."""
    line = LineParser(prog="python -m hype.compare", description=__doc__)
    line.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR")
    line.add_argument("--plot", type=Path, nargs="?", const=Path("compare.svg"), metavar="FILE.svg",
                      help="Draw scores and training curves (default: compare.svg).")  # fmt: skip
    return line


def main(argv: list[str]) -> int:
    """Compare the folders in `argv`, print the table and return the exit code (see `run_command`)."""
    return run_command(_compare, argv)


def _compare(argv: list[str]) -> None:
    options = parser().parse_args(argv)
    print(compare(options.folders, options.plot))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
