"""Score and cost of every compared technique beside vanilla, each run in a process of its own, a task in one go.

`python -m hype.benchmark.techniques --data_dir G` prints a table and writes results/techniques.json. Flags that are not
its own (see --help) go to each run. On a CPU the cost of a step is its processor time in one thread, which other work
on the machine hardly moves.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from hype.benchmark.measured_run import measure_apart
from hype.benchmark.output import read_json, require_writable
from hype.errors import InputError, run_command
from hype.files import model_sha256, write_json
from hype.flags import LineParser
from hype.packaged import packaged_model
from hype.text_tables import markdown_table

# The paper's settings (appendix A), on 1,000 examples.
SETTINGS = (
    "--do_train --do_eval --max_train_samples 1000 --num_train_epochs 3 --per_device_train_batch_size 16 --seed 1 "
    "--learning_rate 4e-5 --adam_beta2 0.99 --adam_epsilon 1e-5 --weight_decay 0.1 --warmup_ratio 0.1 "
    "--save_strategy no --report_to none --overwrite_output_dir"
)
# Method -> its flags and the highest cost of its step over vanilla's that we accept. Values are from the middle of the
# grids of table 15 and of the references; RecAdam's middle of the schedule lies within the 189 steps of SETTINGS, not
# within the 63 of one epoch.
METHODS = {
    "vanilla": ("", None),
    "no dropout": ("--all_dropout_rate 0", None),  # what Mixout's cost is to be read beside
    "HyPe-N": ("--hype_type normal --hype_eps 1e-5 --dropout_rate 0", None),
    "Top-K Tuning": ("--top_k_layers 3", 1.25),
    "Mixout": ("--mixout_p 0.9 --all_dropout_rate 0", 1.25),
    "RecAdam": ("--recadam --recadam_anneal_k 0.1 --recadam_anneal_t0 100", 1.25),
    "LNSR": ("--lnsr_lambda 1", 2.1),
    "Child-Tuning F": ("--mode ChildTuning-F --reserve_p 0.3", 1.25),
    "Child-Tuning D": ("--mode ChildTuning-D --reserve_p 0.2", 1.25),
    "R-Drop": ("--rdrop_alpha 0.5", 2.1),
    "R3F": ("--r3f_lambda 0.5", 2.1),
    "NoisyTune": ("--noise_lambda 0.15", 1.25),
    "vanilla again": ("", None),
}
TASKS = ["rte", "stsb"]
COLUMNS = ("task", "method", "score x 100", "s/step", "x vanilla", "bound", "peak MiB", "over vanilla")


def vanilla_mean(results: list[dict], task: str, key: str) -> float:
    """Return the mean of a measured quantity over the vanilla runs of a task."""
    values = [r[key] for r in results if r["task"] == task and r["method"].startswith("vanilla")]
    return sum(values) / len(values)


def table(results: list[dict]) -> str:
    """Format measurements as a Markdown table, each task beside the mean of its vanilla runs."""
    rows = []
    for result in results:
        step, memory = (vanilla_mean(results, result["task"], key) for key in ("seconds_per_step", "peak_memory_bytes"))
        ratio, bound = result["seconds_per_step"] / step, METHODS[result["method"]][1]
        mebibytes, over = result["peak_memory_bytes"] / 2**20, (result["peak_memory_bytes"] - memory) / 2**20
        score = "-" if result["score"] is None else f"{100 * result['score']:.2f}"
        verdict = "" if bound is None else f"{bound} {'kept' if ratio <= bound else 'EXCEEDED'}"
        cells = (result["task"], result["method"], score, f"{result['seconds_per_step']:.3f}", f"{ratio:.2f}", verdict)
        rows.append([*cells, f"{mebibytes:.0f}", f"{over:+.0f}"])
    return markdown_table(COLUMNS, rows)


def commits(results: list[dict]) -> str:
    """Say of which commits the rows of each task are."""
    found = {}
    for result in results:
        git = result["git"] or {"commit": "unknown", "dirty": False}
        name = f"`{git['commit'][:7]}`{' with changes' if git['dirty'] else ''}"
        found.setdefault(result["task"], {})[name] = None
    return "; ".join(f"{task}: {', '.join(names)}" for task, names in found.items())


def read(path: Path, settings: str, model: str) -> list[dict]:
    """Return the rows that the file holds.

    Raises:
        InputError: they are none; or one is of other settings or flags, or another model, beside which no new one fits.
    """
    rows = read_json(path) or []
    try:
        strange = [f"{row['task']}, {row['method']}" for row in rows if not _is_of(row, settings, model)]
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"--output {path}: holds no rows of techniques; give another file") from None
    if strange:
        raise InputError(
            f"--output {path}: {strange[0]} was not measured, or does not say that it was, with {settings} on {model}: "
            "give another file, or remove it"
        )
    return rows


def _is_of(row: dict, settings: str, model: str) -> bool:
    folder, found = Path(model).expanduser(), row["model"]
    is_model = found["fingerprint"] == model_sha256(folder) if folder.is_dir() else found["name"] == model
    is_method = row["method"] in METHODS and row["flags"] == METHODS[row["method"]][0]
    return is_model and is_method and row.get("settings") == settings


def benchmark(tasks: list[str], path: Path, model: str, passed_on: list[str], data: list[str]) -> list[dict]:
    """Measure every method on the tasks that the file has not whole; return its rows, written after each run.

    A task is one go, since its rows stand beside the mean of its vanilla runs: if some are missing, all are done anew.
    passed_on: flags of every run, which are recorded; data: those that name a place, which are not.

    Raises:
        InputError: see `read` and `measure_apart`.
    """
    settings = " ".join([SETTINGS, *passed_on])
    require_writable(path)
    rows = read(path, settings, model)
    for task in tasks:
        # Of whichever commit: the rows record it, and so does the page that is made of them.
        if METHODS.keys() <= {row["method"] for row in rows if row["task"] == task}:
            print(f"{task}: finished in {path}, which is to be removed to measure it anew", file=sys.stderr)
            continue
        rows = [row for row in rows if row["task"] != task]
        for method, (flags, _) in METHODS.items():
            with tempfile.TemporaryDirectory() as folder:
                argv = [*settings.split(), "--model_name_or_path", model, *data, "--task_name", task]
                found = measure_apart([*argv, "--output_dir", folder, *flags.split()])
            rows.append({"method": method, "flags": flags, "settings": settings, **found})
            write_json(path, rows)
    return rows


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    built = LineParser(prog="python -m hype.benchmark.techniques", description=__doc__)
    built.add_argument("--output", type=Path, default=Path("results/techniques.json"), help="written after each run")
    built.add_argument("--tasks", nargs="+", type=str.lower, default=TASKS, help=f"default: {' '.join(TASKS)}")
    built.add_argument("--model_name_or_path", help="default: the packaged model")
    built.add_argument("--data_dir", help="GLUE folder (default: GLUE_DIR)")
    return built


def main(argv: list[str]) -> int:
    """Run the benchmark and return the exit code (see `run_command`)."""
    return run_command(_benchmark, argv)


def _benchmark(argv):
    options, passed_on = parser().parse_known_args(argv)
    data = ["--data_dir", options.data_dir] if options.data_dir else []
    if own := {"--output_dir", "--task_name"} & {part.partition("=")[0] for part in passed_on}:
        raise InputError(f"{own.pop()} is set for each run: give --output and --tasks")
    model = options.model_name_or_path or packaged_model()
    print(table(benchmark(options.tasks, options.output, model, passed_on, data)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
