"""The benchmarks. Each compares its sides and yields figures with their bounds.

Ratios of times and memory must not exceed their bounds; ratios of speeds must reach them.
"""

import copy
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import gmean
from torch.utils.data import DataLoader

from hype.benchmark import sides
from hype.benchmark.measure import seconds_until, timed
from hype.benchmark.results import figure
from hype.benchmark.sides import BATCH_SIZE, FULL_LENGTH, Bench
from hype.perturbation import HyPe
from hype.training.finetune import finetune
from hype.training.parser import parse

NOISES = {
    "vanilla": "",
    "HyPe-N": "--hype_type normal --hype_eps 1e-5",
    "HyPe-U": "--hype_type uniform --hype_eps 1e-5",
}
# TF32 comes last, because transformers leaves it on for the rest of the process.
PRECISIONS = (("float32", ""), ("bf16", "--bf16"), ("TF32", "--tf32 true"))
TASKS = ("cola", "stsb", "mrpc", "rte")
# Method -> its flags and the highest accepted ratio of its step time to vanilla's. Hyperparameters are from the middle
# of the grids in table 15 and in the papers of the techniques.
METHODS = {
    "vanilla": ("", None),
    "no hidden dropout": ("--dropout_rate 0", None),  # HyPe-N without its noise
    "no dropout": ("--all_dropout_rate 0", None),  # Mixout without its mixing
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
}
# The paper (section 5.2) says that HyPe costs less than these, so the cheapest of them is its bound.
DEARER = ("R-Drop", "R3F", "LNSR", "Child-Tuning D")
Figures = Iterator[dict]


def over_vanilla(measured: dict) -> dict:
    """Divide the values of each other side by vanilla's, repeat by repeat."""
    return {name: values / measured["vanilla"] for name, values in measured.items() if name != "vanilla"}


def overhead(bench: Bench) -> Figures:
    """Compare a training step with HyPe to one without noise; neither has dropout."""
    is_cpu = bench.device.type == "cpu"
    noises = {name: parse(bench.argv("cola", f"--do_train {flags}")).hype_options() for name, flags in NOISES.items()}
    for (precision, flag), size in product(PRECISIONS[: 1 if is_cpu else None], sides.SIZES):
        bert, label = bench.with_random_bert(size), size if is_cpu else f"{size}, {precision}"
        trainer = bert.trainer("cola", f"{FULL_LENGTH} --all_dropout_rate 0 {flag}")
        rows = [list(range((sides.STEPS + 1) * BATCH_SIZE))] * bench.repeats
        turns = {name: sides.training(trainer, rows, hype_options=options) for name, options in noises.items()}
        seconds = bench.compare(label, turns)
        step_s = np.median(seconds["vanilla"]) / (2 * sides.STEPS)
        for name, values in over_vanilla(seconds).items():
            yield figure(f"{label}, {name}: step time", values, at_most=1.02 if is_cpu else 1.01)
            shares = [noise_seconds(trainer, noises[name]) / step_s for _ in range(bench.repeats + 1)]
            yield figure(f"{label}, {name}: share of the step in the noise", shares[1:])


def noise_seconds(trainer, options: dict) -> float:
    """Time only the noise of one step: drawing and adding it for every layer."""
    config, device = trainer.model.config, trainer.args.device
    hidden = torch.zeros(BATCH_SIZE, sides.LENGTH, config.hidden_size, device=device)  # (batch, length, hidden)
    with HyPe(trainer.model, **options) as hype:
        return timed(device, lambda: [hype.perturb(hidden, layer) for layer in range(config.num_hidden_layers)])


def memory(bench: Bench) -> Figures:
    """Compare the peak memory of training with and without noise, each in its own process."""
    flags = {name: f"--all_dropout_rate 0 {noise}" for name, noise in NOISES.items()}
    for size in sides.SIZES:
        measured = bench.with_random_bert(size).compare_memory(size, flags)
        for name, values in over_vanilla(measured).items():
            yield figure(f"{size}, {name}: peak memory", values, at_most=1.01)


def throughput(bench: Bench) -> Figures:
    """Compare training examples per second, shuffled and grouped by length, to run_glue.py's."""
    for task in TASKS:
        ours, theirs = bench.trainer(task), bench.run_glue_trainer(task)
        rows = sides.representative_rows(ours.train_dataset, bench.repeats)
        grouped = sides.representative_rows(ours.train_dataset, bench.repeats, is_grouped=True)
        turns = {"run_glue.py": (theirs, rows), "default": (ours, rows), "group_by_length": (ours, grouped)}
        bench.compare(task, {name: sides.training(*of) for name, of in turns.items()})
    yield from speeds(bench, "default", "default: examples/s", 2.0)
    yield from speeds(bench, "group_by_length", "group_by_length: examples/s", 2.6)


def evaluation(bench: Bench) -> Figures:
    """Compare evaluated examples per second to run_glue.py's."""
    for task in TASKS:
        makers = {"run_glue.py": bench.run_glue_trainer, "ours": bench.trainer}
        bench.compare(task, {name: sides.evaluating(make(task, "--do_eval")) for name, make in makers.items()})
    yield from speeds(bench, "ours", "examples/s", 2.5)


def speeds(bench: Bench, side: str, label: str, at_least: float) -> Figures:
    """Yield a side's speed relative to run_glue.py's: the mean over the tasks, with its bound, and each task."""
    found = {task: seconds["run_glue.py"] / seconds[side] for task, seconds in bench.raw.items()}
    yield figure(f"{label}, geometric mean", gmean(list(found.values())), at_least=at_least)
    yield from (figure(f"{label}, {task}", values) for task, values in found.items())


def loop(bench: Bench) -> Figures:
    """Compare our training step to a bare PyTorch loop on equal batches with equal noise."""
    trainer = bench.trainer("mrpc", "--do_train --hype_type normal --all_dropout_rate 0")
    model, dataset = copy.deepcopy(trainer.model), trainer.train_dataset
    rows = sides.representative_rows(dataset, bench.repeats)

    def bare(repeat: int) -> float:
        batches = DataLoader(dataset.select(rows[repeat]), BATCH_SIZE, collate_fn=trainer.data_collator)
        losses = sides.bare_steps(model, trainer.args, batches, trainer.hype_options)
        next(losses)
        return timed(bench.device, lambda: list(losses))

    seconds = bench.compare("mrpc", {"bare": bare, "ours": sides.training(trainer, rows)})
    yield figure("step time", seconds["ours"] / seconds["bare"], at_most=1.05)


def grid(bench: Bench) -> Figures:
    """Compare runs in one process, as in a grid, to training and evaluating by hand."""
    flags = "--do_train --do_eval --max_train_samples 160 --num_train_epochs 3 --hype_type normal --dropout_rate 0"
    trainer = bench.trainer("cola", flags)
    train, validation = (
        DataLoader(dataset, size, collate_fn=trainer.data_collator)
        for dataset, size in ((trainer.train_dataset, BATCH_SIZE), (trainer.eval_dataset, trainer.args.eval_batch_size))
    )

    def by_hand(model) -> None:
        list(sides.bare_steps(model, trainer.args, list(train) * 3, trainer.hype_options))
        model.eval()
        with torch.no_grad():
            for batch in validation:
                model(**batch.to(bench.device))

    turns = {
        "runs": lambda repeat: timed(bench.device, finetune, parse(bench.argv("cola", flags))),
        "by hand": lambda repeat: timed(bench.device, by_hand, copy.deepcopy(trainer.model)),
    }
    seconds = bench.compare("cola", turns)
    yield figure("time of a run", seconds["runs"] / seconds["by hand"], at_most=1.10)


def start(bench: Bench) -> Figures:
    """Compare the wall time of main.py to that of importing Trainer: to the end of --help, and to the first step."""
    root = Path(__file__).parents[2]
    flags = "--do_train --max_steps 1 --logging_steps 1 --hype_type normal --dropout_rate 0 --overwrite_output_dir"
    run = [*bench.argv("rte", flags), "--data_dir", str(root / "examples" / "sample_glue")]
    commands = {
        "import": ("imported", ["-c", "from transformers import Trainer; print('imported')"]),
        "--help": ("usage:", [str(root / "main.py"), "--help"]),
        "first step": ("'loss'", [str(root / "main.py"), *run]),
    }
    turns = {
        name: lambda repeat, awaited=awaited, argv=argv: seconds_until(awaited, [sys.executable, *argv])
        for name, (awaited, argv) in commands.items()
    }
    seconds = bench.compare("time", turns)
    for name, bound in (("--help", 1.25), ("first step", 2.5)):
        yield figure(f"{name}: time", seconds[name] / seconds["import"], at_most=bound)


def techniques(bench: Bench) -> Figures:
    """Compare the step time and peak memory of every technique to vanilla's, on CoLA."""
    turns = {}
    for name, (flags, _) in METHODS.items():
        trainer = bench.trainer("cola", f"--do_train {flags}")
        turns[name] = sides.training(trainer, sides.representative_rows(trainer.train_dataset, bench.repeats))
    seconds = bench.compare("step time", turns)
    mebibytes = bench.compare_memory("peak memory", {name: flags for name, (flags, _) in METHODS.items()})
    for quantity, measured in (("step time", seconds), ("peak memory", mebibytes)):
        found = over_vanilla(measured)
        bounds = {name: bound for name, (_, bound) in METHODS.items()} if measured is seconds else {}
        bounds["HyPe-N"] = min(np.median(found[name]) for name in DEARER)
        yield from (figure(f"{name}: {quantity}", values, bounds.get(name)) for name, values in found.items())


BENCHMARKS = {
    benchmark.__name__: benchmark
    for benchmark in (overhead, memory, throughput, loop, evaluation, start, techniques, grid)
}
