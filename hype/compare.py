"""Finished runs side by side: `python -m hype.compare RUN_DIR...` prints a table made from their run.json."""

import sys
from dataclasses import fields
from pathlib import Path

from hype.errors import InputError, run_command
from hype.flags import LineParser
from hype.techniques import TechniqueArguments
from hype.text_tables import aligned
from hype.training.record import RECORD, read_record

NUMBERS = ("seed", "score x 100", "to vanilla", "dev examples", "seconds")
COLUMNS = ("method", "task", "seed", "metric", "score x 100", "to vanilla", "dev examples", "seconds", "folder")
# Trainer's own, which are in no group of ours; records of older commits call a run with them vanilla.
REGULARISERS = ("neftune_noise_alpha", "label_smoothing_factor")
ONE_SEED = "One seed says nothing about which method is better: compare means over several seeds."


def compare(folders: list[Path]) -> str:
    """Return a table of the runs in these folders, and what the scores must not be taken for.

    "to vanilla" is the difference to the first finished vanilla run that has all but the method in common: model, data,
    seed, learning rate and so on; to one without dropout only where there is none with it.
    Raises InputError for a folder without a readable record.
    """
    records = [_record(folder) for folder in folders]
    rows = [_row(record, folder, _baseline(record, records)) for record, folder in zip(records, folders, strict=True)]
    lines = aligned(COLUMNS, rows, right=NUMBERS)
    samples = sorted({record["sample"] for record in records if record.get("sample")})
    has_several_seeds = len({record["seed"] for record in records}) > 1
    return "\n".join([*lines, "", *samples, *([] if has_several_seeds else [ONE_SEED])])


def _record(folder: Path) -> dict:
    record = read_record(folder / RECORD)
    missing = [key for key in ("label", "task", "seed", "timings", "data") if key not in record]
    if missing:
        raise InputError(f"{folder / RECORD}: no {', '.join(missing)}; give the folder of a run")
    return record


def _baseline(record: dict, records: list[dict]) -> float | None:
    for other in sorted(records, key=lambda other: other["label"].endswith(", dropout 0")):
        is_vanilla = other["label"].startswith("vanilla") and not any(other["identity"].get(n) for n in REGULARISERS)
        is_known = other["status"] == "finished" and other.get("score") is not None
        if is_vanilla and is_known and _setting(other) == _setting(record):
            return other["score"]
    return None


def _setting(record: dict) -> dict:
    """Return all of a run's identity but its method: noise, dropout and techniques."""
    technique_flags = [field.name for field in fields(TechniqueArguments)]
    method = {"dropout_rate", "all_dropout_rate", "allow_vanishing_noise", *REGULARISERS, *technique_flags}
    kept = {n: v for n, v in record["identity"].items() if n not in method and not n.startswith("hype_")}
    return {**kept, "task": record["task"], "seed": record["seed"]}


def _row(record: dict, folder: Path, baseline: float | None) -> tuple[str, ...]:
    is_finished = record["status"] == "finished"
    score = record.get("score") if is_finished else None
    seconds = record["timings"].get("total_s")
    return (
        record["label"] + ("" if is_finished else f" ({record['status']})"),
        record["task"],
        str(record["seed"]),
        record.get("score_name") or "-",
        "-" if score is None else f"{100 * score:.2f}",
        "-" if score is None or baseline is None else f"{100 * (score - baseline):+.2f}",
        str(record["data"]["rows"].get("validation", "-")),
        "-" if seconds is None else f"{seconds:.0f}",
        str(folder),
    )


def main(argv: list[str]) -> int:
    """Print the table of the folders in `argv` and return the exit code (see `run_command`)."""
    return run_command(_compare, argv)


def _compare(argv):
    parser = LineParser(prog="python -m hype.compare", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR")
    print(compare(parser.parse_args(argv).folders))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
