"""The benchmarks. Each compares its sides and returns figures beside their bounds, and the raw measurements.

Ratios of times and memory must not exceed their bounds; ratios of speeds must reach them.
"""

import copy
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from scipy.stats import gmean
from torch.utils.data import DataLoader
from transformers.trainer_pt_utils import LengthGroupedSampler

from hype.benchmark import sides
from hype.benchmark.measure import peak_mebibytes, ratios, take_turns, timed
from hype.benchmark.results import figure
from hype.benchmark.sides import BATCH_SIZE, LENGTH, Settings
from hype.errors import EnvironmentFault
from hype.perturbation import HyPe
from hype.training.arguments import parse
from hype.training.finetune import finetune
from hype.training.length_order import lengths_of

STEPS = 2  # that count, of a side in each of its two turns of a repeat
NOISES = {
    "vanilla": None,
    "HyPe-N": {"hype_type": "normal", "hype_eps": 1e-5},
    "HyPe-U": {"hype_type": "uniform", "hype_eps": 1e-5},
}
PRECISIONS = (("float32", ""), ("TF32", "--tf32 true"), ("bf16", "--bf16"))
IN_ORDER, FULL_LENGTH = "--do_train --train_sampling_strategy sequential", "--pad_to_max_length"
TASKS = ("cola", "stsb", "mrpc", "rte")
EVALUATED = 128  # examples
Found = tuple[list[dict], dict]


def overhead(settings: Settings) -> Found:
    """Compare a training step with HyPe to one without noise; neither has dropout."""
    is_cpu = settings.device.type == "cpu"
    figures, raw = [], {}
    for size in sides.SIZES:
        bert = sides.with_random_bert(settings, size)
        for precision, flag in PRECISIONS if not is_cpu else PRECISIONS[:1]:
            trainer = bert.trainer("cola", f"{IN_ORDER} {FULL_LENGTH} --all_dropout_rate 0 {flag}")
            rows = [list(range((STEPS + 1) * BATCH_SIZE))] * settings.repeats
            turns = {name: sides.training_side(trainer, rows, hype_options=options) for name, options in NOISES.items()}
            label = size if is_cpu else f"{size}, {precision}"
            raw[label] = seconds = take_turns(turns, settings.repeats)
            step_s = median(seconds["vanilla"]) / (2 * STEPS)
            for noise in list(NOISES)[1:]:
                found = ratios(seconds[noise], seconds["vanilla"])
                figures.append(figure(f"{label}, {noise}: step time", found, at_most=1.02 if is_cpu else 1.01))
                shares = [noise_seconds(trainer, NOISES[noise]) / step_s for _ in range(settings.repeats + 1)]
                figures.append(figure(f"{label}, {noise}: share of the step in the noise", shares[1:]))
    return figures, raw


def noise_seconds(trainer, options: dict) -> float:
    """Time the noise of one step alone: drawing and adding for every layer."""
    config, device = trainer.model.config, trainer.args.device
    hidden = torch.zeros(BATCH_SIZE, LENGTH, config.hidden_size, device=device)  # (batch, length, hidden)
    with HyPe(trainer.model, **options) as hype:
        return timed(device, lambda: [hype.perturb(hidden, layer) for layer in range(config.num_hidden_layers)])


def memory(settings: Settings) -> Found:
    """Compare the peak memory of trainings with and without noise, each in its own process."""
    figures, raw = [], {}
    for size in sides.SIZES:
        bert = sides.with_random_bert(settings, size)
        raw[size] = peaks = {name: [] for name in NOISES}
        for _ in range(settings.repeats):
            for name, options in NOISES.items():
                noise = " ".join(f"--{key} {value}" for key, value in (options or {}).items())
                flags = f"{IN_ORDER} {FULL_LENGTH} --max_train_samples {2 * BATCH_SIZE} --all_dropout_rate 0 {noise}"
                peaks[name].append(peak_mebibytes(bert.argv("cola", flags)))
        for noise in list(NOISES)[1:]:
            figures.append(
                figure(f"{size}, {noise}: peak memory", ratios(peaks[noise], peaks["vanilla"]), at_most=1.01)
            )
    return figures, raw


def throughput(settings: Settings) -> Found:
    """Compare training examples per second, as they come and grouped by length, to run_glue.py's."""
    found, raw = {"default": [], "group_by_length": []}, {}
    for task in TASKS:
        trainer = settings.trainer(task, IN_ORDER)
        lengths = lengths_of(trainer.train_dataset).tolist()
        by_length = list(LengthGroupedSampler(BATCH_SIZE, lengths=lengths, generator=torch.Generator().manual_seed(1)))
        batches = sides.random_batches(len(lengths))
        grouped = [by_length[i : i + BATCH_SIZE] for i in range(0, len(by_length), BATCH_SIZE)]
        rows, grouped_rows = (
            sides.representative(chosen, lengths, settings.repeats, STEPS) for chosen in (batches, grouped)
        )
        raw[task] = seconds = take_turns(
            {
                "run_glue.py": sides.training_side(sides.run_glue_trainer(settings, task), rows),
                "default": sides.training_side(trainer, rows),
                "group_by_length": sides.training_side(trainer, grouped_rows),
            },
            settings.repeats,
        )
        for ours, values in found.items():
            values.append(ratios(seconds["run_glue.py"], seconds[ours]))
    bounds = {"default": 2.0, "group_by_length": 2.6}
    return [one for ours, values in found.items() for one in speeds(f"{ours}: examples/s", values, bounds[ours])], raw


def evaluation(settings: Settings) -> Found:
    """Compare evaluated examples per second to run_glue.py's."""
    found, raw = [], {}
    for task in TASKS:
        ours, theirs = settings.trainer(task, "--do_train --do_eval"), sides.run_glue_trainer(settings, task)
        total = len(ours.eval_dataset)
        count = min(EVALUATED, total)
        rows = [(2 * i + 1) * total // (2 * count) for i in range(count)]  # lengths spread as those of all
        # Ours are sorted by length, theirs are padded to one.
        lengths = np.sum(theirs.eval_dataset["attention_mask"][:], axis=1)
        ours.eval_dataset = ours.eval_dataset.select(rows)
        theirs.eval_dataset = theirs.eval_dataset.select(np.argsort(-lengths, kind="stable")[rows])
        for trainer in (ours, theirs):
            trainer.compute_metrics = lambda output: {}  # both gather predictions
        turns = {
            "run_glue.py": lambda repeat, trainer=theirs: timed(settings.device, trainer.evaluate),
            "ours": lambda repeat, trainer=ours: timed(settings.device, trainer.evaluate),
        }
        raw[task] = seconds = take_turns(turns, settings.repeats)
        found.append(ratios(seconds["run_glue.py"], seconds["ours"]))
    return speeds("examples/s", found, 2.5), raw


def speeds(name: str, found: list[list[float]], at_least: float) -> list[dict]:
    """Make the figures of the geometric mean over the tasks, which is bounded, and of each task."""
    tasks = [figure(f"{name}, {task}", values) for task, values in zip(TASKS, found, strict=True)]
    return [figure(f"{name}, geometric mean", gmean(found, axis=0).tolist(), at_least=at_least), *tasks]


def loop(settings: Settings) -> Found:
    """Compare our training step to a bare PyTorch loop on equal batches with equal noise."""
    trainer = settings.trainer("mrpc", f"{IN_ORDER} --hype_type normal --all_dropout_rate 0")
    lengths = lengths_of(trainer.train_dataset).tolist()
    rows = sides.representative(sides.random_batches(len(lengths)), lengths, settings.repeats, STEPS)
    model, dataset = copy.deepcopy(trainer.model), sides.plain(trainer.train_dataset)

    def bare(repeat: int) -> float:
        batches = DataLoader(dataset.select(rows[repeat]), BATCH_SIZE, collate_fn=trainer.data_collator)
        losses = sides.bare_steps(model, trainer.args, batches, trainer.hype_options)
        next(losses)
        return timed(settings.device, lambda: list(losses))

    seconds = take_turns({"bare": bare, "ours": sides.training_side(trainer, rows)}, settings.repeats)
    return [figure("step time", ratios(seconds["ours"], seconds["bare"]), at_most=1.05)], seconds


def start(settings: Settings) -> Found:
    """Measure the wall time from launching main.py to the end of --help, and to the first training step."""
    root = Path(__file__).parents[2]
    flags = "--do_train --max_steps 1 --logging_steps 1 --hype_type normal --dropout_rate 0"
    run = [*settings.argv("rte", flags), "--data_dir", str(root / "examples" / "sample_glue"), "--overwrite_output_dir"]
    seconds = {"--help": [], "first step": []}
    for _ in range(settings.repeats + 1):
        for name, argv, awaited in (("--help", ["--help"], "usage:"), ("first step", run, "'loss'")):
            seconds[name].append(launch([sys.executable, str(root / "main.py"), *argv], awaited))
    bounds = {"--help": 5.0, "first step": 12.0}
    # The first launch of each warms the disk's cache.
    return [figure(f"{name}: seconds", found[1:], at_most=bounds[name]) for name, found in seconds.items()], seconds


def launch(command: list[str], awaited: str) -> float:
    """Return the seconds until the command prints a line that contains `awaited`; it must then end well."""
    started, reached = time.perf_counter(), None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if reached is None and awaited in line:
                reached = time.perf_counter() - started
    if process.returncode != 0 or reached is None:
        raise EnvironmentFault(f"{' '.join(command)} ended with exit code {process.returncode}, without {awaited}")
    return reached


def grid(settings: Settings) -> Found:
    """Compare runs in one process, as a grid does them, to training and evaluating by hand."""
    flags = "--do_train --do_eval --max_train_samples 160 --num_train_epochs 3 --hype_type normal --dropout_rate 0"
    ours = settings.trainer("cola", flags)
    validation = sides.plain(ours.eval_dataset)

    def run(repeat: int) -> float:
        arguments = parse(settings.argv("cola", flags))
        return timed(settings.device, lambda: finetune(arguments))

    def by_hand(repeat: int) -> float:
        model, args = copy.deepcopy(ours.model), ours.args
        train = DataLoader(sides.plain(ours.train_dataset), BATCH_SIZE, shuffle=True, collate_fn=ours.data_collator)

        def work():
            batches = [batch for _ in range(3) for batch in train]
            list(sides.bare_steps(model, args, batches, ours.hype_options))
            model.eval()
            with torch.no_grad():
                for batch in DataLoader(validation, args.eval_batch_size, collate_fn=ours.data_collator):
                    model(**{name: value.to(args.device) for name, value in batch.items()})

        return timed(args.device, work)

    seconds = take_turns({"runs": run, "by hand": by_hand}, settings.repeats)
    return [figure("time of a run", ratios(seconds["runs"], seconds["by hand"]), at_most=1.10)], seconds


# Method -> its flags and the highest accepted cost of its step over vanilla's. Values are from the middle of the grids
# of table 15 and of the references.
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
# The paper (section 5.2) says that HyPe costs less than these: the cheapest of them is its bound.
DEARER = ("R-Drop", "R3F", "LNSR", "Child-Tuning D")


def techniques(settings: Settings) -> Found:
    """Compare the step time and the peak memory of every compared technique to vanilla's, on CoLA."""
    turns = {}
    for name, (flags, _) in METHODS.items():
        trainer = settings.trainer("cola", f"{IN_ORDER} {flags}")
        lengths = lengths_of(trainer.train_dataset).tolist()
        rows = sides.representative(sides.random_batches(len(lengths)), lengths, settings.repeats, STEPS)
        turns[name] = sides.training_side(trainer, rows)
    seconds = take_turns(turns, settings.repeats)
    short = f"--do_train {FULL_LENGTH} --max_train_samples {2 * BATCH_SIZE}"
    mebibytes = {name: [] for name in METHODS}
    for _ in range(settings.repeats):
        for name, (flags, _) in METHODS.items():
            mebibytes[name].append(peak_mebibytes(settings.argv("cola", f"{short} {flags}")))
    figures = []
    for quantity, measured in (("step time", seconds), ("peak memory", mebibytes)):
        found = {name: ratios(values, measured["vanilla"]) for name, values in measured.items() if name != "vanilla"}
        bounds = {name: bound for name, (_, bound) in METHODS.items()} if quantity == "step time" else {}
        bounds["HyPe-N"] = min(median(found[name]) for name in DEARER)
        figures += [figure(f"{name}: {quantity}", values, at_most=bounds.get(name)) for name, values in found.items()]
    return figures, {"seconds": seconds, "peak MiB": mebibytes}
