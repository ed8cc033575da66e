"""Score and cost of every compared technique beside vanilla, each in a process of its own, in one go.

`python -m hype.benchmark.techniques --output_dir out --model_name_or_path M --data_dir G` prints a table and writes
out/techniques.json. Flags that are not its own (see --help) go to each run. On a CPU the cost of a step is its
processor time in one thread, which other work on the machine hardly moves.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from hype import records
from hype.benchmark.figures import figure
from hype.benchmark.pairs import now
from hype.benchmark.settings import Settings, built
from hype.checkpoints import write_json
from hype.errors import InputError, RunError
from hype.parsing import parse

WARM_UP_STEPS = 2
# The paper's settings (appendix A), on 1,000 examples.
SETTINGS = (
    "--do_train --do_eval --max_train_samples 1000 --num_train_epochs 3 --per_device_train_batch_size 16 --seed 1 "
    "--learning_rate 4e-5 --adam_beta2 0.99 --adam_epsilon 1e-5 --weight_decay 0.1 --warmup_ratio 0.1 "
    "--save_strategy no --report_to none --overwrite_output_dir"
)
# Method -> its flags and the highest cost of its step over vanilla's that we accept. Values are from the middle of the
# grids of table 15 and of the references; RecAdam's middle of the schedule lies within the 189 steps.
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


class StepClock(TrainerCallback):
    """Record the duration of every optimiser step."""

    def __init__(self, device: torch.device):
        self.device, self.durations = device, []

    def on_step_begin(self, args, state, control, **kwargs):
        self.started = now(self.device)

    def on_step_end(self, args, state, control, **kwargs):
        self.durations.append(now(self.device) - self.started)


def measure(argv: list[str]) -> dict:
    """Do one run with these flags in this process; return score, seconds per step, peak memory."""
    arguments = parse(argv)
    job = built(arguments, Path(arguments.training.output_dir))
    clock = StepClock(arguments.training.device)
    job.trainer.add_callback(clock)
    started = time.perf_counter()
    job.train(checkpoint=None)
    training_s = time.perf_counter() - started
    peak = records.peak_memory_bytes(arguments.training.device)
    job.evaluate()
    counted = clock.durations[WARM_UP_STEPS:]
    return {
        "task": job.splits.task.name,
        "score": job.record["score"],
        "seconds_per_step": sum(counted) / len(counted),
        "steps": len(clock.durations),
        "training_s": training_s,
        "peak_memory_bytes": peak,
        "techniques": job.record["techniques"],
        **{name: job.record[name] for name in ("run_id", "model", "versions", "git", "device")},
    }


def measure_apart(argv: list[str], **variables: str) -> dict:
    """Do `measure` in a process of its own, with one thread unless OMP_NUM_THREADS says otherwise.

    variables: of that process's environment, beside this one's.

    Raises:
        InputError: that process failed; its log stands on stderr.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **variables}
    command = [sys.executable, "-m", "hype.benchmark.techniques", "--measure", *argv]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise InputError(f"the run with {' '.join(argv)} ended with exit code {done.returncode}: see its log above")
    return json.loads(done.stdout.splitlines()[-1])


def vanilla_mean(results: list[dict], task: str, key: str) -> float:
    """Return the mean of a measured quantity over the vanilla runs of a task."""
    values = [r[key] for r in results if r["task"] == task and r["method"].startswith("vanilla")]
    return sum(values) / len(values)


def table(results: list[dict]) -> str:
    """Format measurements as a Markdown table, each task beside the mean of its vanilla runs."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for result in results:
        step, memory = (vanilla_mean(results, result["task"], key) for key in ("seconds_per_step", "peak_memory_bytes"))
        ratio, bound = result["seconds_per_step"] / step, METHODS[result["method"]][1]
        mebibytes, over = result["peak_memory_bytes"] / 2**20, (result["peak_memory_bytes"] - memory) / 2**20
        score = "-" if result["score"] is None else f"{100 * result['score']:.2f}"
        verdict = "" if bound is None else f"{bound} {'kept' if ratio <= bound else 'EXCEEDED'}"
        cells = (result["task"], result["method"], score, f"{result['seconds_per_step']:.3f}", f"{ratio:.2f}", verdict)
        lines.append("| " + " | ".join([*cells, f"{mebibytes:.0f}", f"{over:+.0f}"]) + " |")
    return "\n".join(lines)


def benchmark(tasks: list[str], output_dir: Path, passed_on: list[str]) -> list[dict]:
    """Measure every method on every task; write output_dir/techniques.json after each."""
    results = []
    output_dir.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        for method, (flags, _) in METHODS.items():
            folder = output_dir / f"{task}-{method.lower().replace(' ', '-')}"
            argv = [*SETTINGS.split(), "--task_name", task, "--output_dir", str(folder), *flags.split(), *passed_on]
            results.append({"method": method, "flags": flags, **measure_apart(argv)})
            write_json(output_dir / "techniques.json", results)
    return results


def measure_all(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the cost of every method's step over vanilla's, for `python -m hype.benchmark techniques`."""
    data = ["--data_dir", settings.data_dir] if settings.data_dir else []
    results = benchmark(TASKS, settings.folder, ["--model_name_or_path", settings.model, *data])
    figures = []
    for result in results:
        ratio = result["seconds_per_step"] / vanilla_mean(results, result["task"], "seconds_per_step")
        name, bound = f"{result['task']}, {result['method']}: step time", METHODS[result["method"]][1]
        figures.append(figure(name, [ratio], at_most=bound))
    return figures, {"runs": results}


def main(argv: list[str]) -> int:
    """Run the benchmark; exit codes as in main.py."""
    parser = argparse.ArgumentParser(
        prog="python -m hype.benchmark.techniques", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    try:
        if argv[:1] == ["--measure"]:
            stdout, sys.stdout = sys.stdout, sys.stderr
            result = measure(argv[1:])
            print(json.dumps(result), file=stdout)
        else:
            options, passed_on = parser.parse_known_args(argv)
            print(table(benchmark(options.tasks, options.output_dir, passed_on)))
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
