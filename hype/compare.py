"""Finished runs side by side: `python -m hype.compare RUN_DIR ...` groups runs by method and compares them by seed."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from hype.errors import EnvironmentFault, InputError, run_command
from hype.flags import LineParser
from hype.text_tables import aligned
from hype.training.record import RECORD, read_record

ONE_SEED = "One seed says nothing about which method is better: compare means over several seeds."
# Trainer's own, which no group of our flags holds; with them a run is not vanilla.
REGULARISERS = ("neftune_noise_alpha", "label_smoothing_factor")


def compare(folders: list[Path], plot: Path | None = None) -> str:
    """Return a table of the finished runs in these folders, a line for each task and method.

    The difference is to vanilla: the mean over pairs of runs that have seed, data, model and all settings but the
    method in common, with a 95 % t interval from three pairs. Where there is no vanilla with dropout, that without is
    the reference.

    Args:
        plot: where to draw scores and training curves.

    Raises:
        InputError: a folder without a readable record, or no finished run.
    """
    records, notes = {}, []
    for folder in folders:
        record = _record(folder)
        if record["status"] == "finished":
            records[folder] = record
        else:
            notes.append(f"left out: {folder} ({record['status']})")
    if not records:
        raise InputError(
            f"{folders[0]}: no finished run among {len(folders)}; finish one with the command that began it"
        )
    lines = table(list(records.values()))
    notes += sorted({record["sample"] for record in records.values() if record.get("sample")})
    notes += [] if len({record["seed"] for record in records.values()}) > 1 else [ONE_SEED]
    if plot:
        draw(records, plot)
        notes.append(str(plot))
    return "\n".join([*lines, "", *notes]).rstrip()


def table(records: list[dict]) -> list[str]:
    """Return the lines of the table of finished runs, whose records are whole or as a study publishes them."""
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        groups.setdefault((record["task"], record["label"], _setting(record)), []).append(record)
    several = len({key[2] for key in groups}) > len({key[0] for key in groups})
    rows = [_row(key, group, _reference(key, groups), several) for key, group in groups.items()]
    columns = ["task", "method", "n", "metric", "score x 100", "majority", "to vanilla", "predictions that differ", "s"]
    used = [i for i, column in enumerate(columns) if i < 5 or any(row[i] != "-" for row in rows)]
    return aligned([columns[i] for i in used], [[row[i] for i in used] for row in rows], right=("n", "s"))


def _record(folder: Path) -> dict:
    record = read_record(folder / RECORD)
    missing = [key for key in ("label", "task", "seed", "timings", "data") if key not in record]
    if missing:
        raise InputError(f"{folder / RECORD}: no {', '.join(missing)}; give the folder of a run")
    return record


def _is_method(name: str) -> bool:
    """Return whether a flag is part of the method: noise, dropout, techniques."""
    from hype.techniques import TechniqueArguments

    own = {"dropout_rate", "all_dropout_rate", *REGULARISERS, *TechniqueArguments.__dataclass_fields__}
    return name in own or name.startswith("hype_")


def _setting(record: dict) -> str:
    """Return all of a run's identity but its method and its seed."""
    kept = {n: v for n, v in record["identity"].items() if n not in ("seed", "data_seed") and not _is_method(n)}
    return json.dumps(kept, sort_keys=True)


def _is_vanilla(record: dict) -> bool:
    return record["label"].startswith("vanilla") and not any(record["identity"].get(name) for name in REGULARISERS)


def _reference(key: tuple, groups: dict[tuple, list[dict]]) -> list[dict]:
    """Return the vanilla runs of the same setting: those with dropout where there are any."""
    found = [g for k, g in groups.items() if (k[0], k[2]) == (key[0], key[2]) and _is_vanilla(g[0])]
    return min(found, key=lambda group: group[0]["label"].endswith(", dropout 0"), default=[])


def _row(key: tuple, group: list[dict], reference: list[dict], several: bool) -> list[str]:
    from hype.reproduction.statistics import estimate, flip_share, interval_text

    scores = np.array([record["score"] for record in group if record.get("score") is not None]) * 100
    spread = f" ± {scores.std(ddof=1):.2f}" if len(scores) > 1 else ""
    by_seed = {record["seed"]: record for record in reference}
    pairs = [(ours, by_seed[ours["seed"]]) for ours in group if ours["seed"] in by_seed]
    pairs = [pair for pair in pairs if None not in (pair[0].get("score"), pair[1].get("score"))]
    found = estimate([[100 * (ours["score"] - theirs["score"]) for ours, theirs in pairs]])
    shares = [flip_share(ours.get("predictions"), theirs.get("predictions")) for ours, theirs in pairs]
    shares = [share for share in shares if not np.isnan(share)]
    majority, seconds = (
        group[0].get("majority_score"),
        [r["timings"]["total_s"] for r in group if "total_s" in r["timings"]],
    )
    is_reference = group is reference
    rate = group[0]["identity"].get("learning_rate", 5e-5)
    return [
        key[0],
        key[1] + (f", lr {rate:g}" if several else ""),
        str(len(group)),
        group[0].get("score_name") or "-",
        f"{scores.mean():.2f}{spread}" if len(scores) else "-",
        "-" if majority is None else f"{100 * majority:.2f}",
        "-" if is_reference or found is None else interval_text(found),
        "-" if is_reference or not shares else f"{100 * np.mean(shares):.1f} %",
        f"{np.mean(seconds):.0f}" if seconds else "-",
    ]


def draw(records: dict[Path, dict], path: Path) -> None:
    """Draw each run's score, mean and interval by method, and the training losses, as SVG."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    from hype.drawing import MARKERS, PALETTE, STYLE, finished
    from hype.files import write_text
    from hype.reproduction.statistics import estimate

    tasks = list(dict.fromkeys(record["task"] for record in records.values()))
    labels = list(dict.fromkeys(record["label"] for record in records.values()))
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(8.0, len(tasks) * (0.3 * len(labels) + 1.6)), layout="constrained")
        panels = canvas.subplots(len(tasks), 2, squeeze=False)
        for (left, right), task in zip(panels, tasks, strict=True):
            for row, label in enumerate(labels):
                group = {f: r for f, r in records.items() if (r["task"], r["label"]) == (task, label)}
                look = {"color": PALETTE[row % len(PALETTE)], "marker": MARKERS[row % len(MARKERS)]}
                scores = [100 * record["score"] for record in group.values() if record.get("score") is not None]
                left.scatter(scores, [row] * len(scores), 14, alpha=0.5, **look)
                if interval := scores and estimate([scores]).interval():
                    left.plot(interval, [row + 0.2] * 2, color=look["color"])
                if scores:
                    left.scatter([np.mean(scores)], [row + 0.2], 36, **look)
                for folder in group:
                    steps, losses = _losses(folder)
                    right.plot(steps, losses, color=look["color"], alpha=0.7, linewidth=1)
            left.set_yticks(range(len(labels)), labels)
            left.set_ylim(len(labels) - 0.5, -0.5)
            left.set(title=f"{task}: scores of single runs, mean, 95 % t interval", xlabel="dev score x 100")
            right.set(title=f"{task}: training loss", xlabel="step")
        caption = f"{len(records)} runs of {', '.join(tasks)}: scores and training losses by method."
        try:
            write_text(path, finished("compare", canvas, caption, "").standalone)
        except OSError as error:
            raise EnvironmentFault(f"--plot {path}: {error.strerror}; name a file in a folder you can write") from error


def _losses(folder: Path) -> tuple[list[int], list[float]]:
    """Read the losses that a run logged, from trainer_state.json."""
    try:
        history = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        logged = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    except (OSError, ValueError, KeyError, TypeError):
        logged = []
    return [step for step, _ in logged], [loss for _, loss in logged]


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    line = LineParser(prog="python -m hype.compare", description=__doc__)
    line.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR")
    line.add_argument("--plot", type=Path, nargs="?", const=Path("compare.svg"), metavar="FILE.svg",
                      help="Draw scores and training curves (default: compare.svg).")  # fmt: skip
    return line


def main(argv: list[str]) -> int:
    """Print the table of the folders in `argv` and return the exit code (see `run_command`)."""
    return run_command(_compare, argv)


def _compare(argv: list[str]) -> None:
    options = parser().parse_args(argv)
    print(compare(options.folders, options.plot))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
