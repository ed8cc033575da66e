"""Benchmarks against what a user would run instead, measured side by side, each beside its bound."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hype.benchmark import (
    dropout,
    evaluation,
    figures,
    geometry,
    grid,
    loop,
    methods,
    overhead,
    start,
    throughput,
)  # fmt: skip
from hype.benchmark.apart import last_line_of
from hype.benchmark.output import require_writable
from hype.benchmark.pairs import keep_memory
from hype.benchmark.settings import Settings
from hype.errors import InputError, run_command
from hype.flags import LineParser, positive
from hype.packaged import packaged_model
from hype.training import record as records


@dataclass(frozen=True)
class Benchmark:
    """What measures, its bounds, and what it measures by.

    model: the one that it makes; None: that of the settings. clock: None: `pairs.now`.
    """

    measure: Callable
    bounds: dict[str, float]
    model: str | None = None
    clock: str | None = None
    takes_all_cores: bool = False


# Ratios of times and memory are to stay below their bounds, those of speeds above.
BENCHMARKS = {
    "overhead": Benchmark(overhead.measure, {"step time": 1.02}, geometry.MODEL),
    "memory": Benchmark(overhead.measure_memory, {"peak memory": 1.01}, geometry.MODEL, "none", takes_all_cores=True),
    "dropout": Benchmark(dropout.measure, {"step time": 1.0}, geometry.MODEL),
    "throughput": Benchmark(throughput.measure, {"default": 2.0, "group_by_length": 2.6}),
    "loop": Benchmark(loop.measure, {"step time": 1.05}),
    "evaluation": Benchmark(evaluation.measure, {"examples/s": 2.5}),
    "start": Benchmark(start.measure, {"first step": 12.0, "--help": 5.0}, clock="wall time"),  # seconds
    "methods": Benchmark(methods.measure, {}),
    "grid": Benchmark(grid.measure, {"time": 1.10}),
}


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    built = LineParser(
        prog="python -m hype.benchmark",
        description=f"{__doc__} On a CPU times are processor time in one thread (OMP_NUM_THREADS changes that). "
        "What each technique scores and costs in whole runs: python -m hype.benchmark.techniques.",
    )
    built.add_argument(
        "names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help=f"{', '.join(BENCHMARKS)}; or all"
    )
    built.add_argument("--output", type=Path, default=Path("results/benchmark.json"), help="written after each")
    built.add_argument("--model_name_or_path", help="default: the packaged model")
    built.add_argument("--data_dir", default=os.environ.get("GLUE_DIR"), help="GLUE folder (default: GLUE_DIR)")
    built.add_argument(
        "--repeats", type=positive, default=5, help=f"measurements of a median; fewer than {figures.FEWEST}: no verdict"
    )
    return built


def threads() -> int:
    """Return the number of threads of what is measured, and leave it to the processes that are started.

    Raises:
        InputError: OMP_NUM_THREADS is no such number.
    """
    text = os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"OMP_NUM_THREADS={text}: give one number, such as 1")
    return int(text)


def entry(name: str, settings: Settings) -> dict:
    """Do one benchmark; return what is recorded of it."""
    benchmark, started = BENCHMARKS[name], time.perf_counter()
    found, details = benchmark.measure(settings, benchmark.bounds)
    machine = {**records.describe_machine(settings.device), "cores": os.cpu_count()}
    if benchmark.takes_all_cores:
        machine["device"]["threads"] = os.cpu_count()
    return {
        "figures": found,
        "model": benchmark.model or "/".join(Path(settings.model).parts[-2:]),
        "repeats": settings.repeats,
        "clock": benchmark.clock or ("processor time" if settings.device.type == "cpu" else "wall time"),
        "machine": machine,
        "measured_in_s": time.perf_counter() - started,
        "details": details,
    }


def _measure(name: str, options: argparse.Namespace) -> None:
    torch.set_num_threads(threads())
    keep_memory()
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        takes_model = BENCHMARKS[name].model is None
        model = options.model_name_or_path or (packaged_model() if takes_model else None)
        print(f"{name} ...", file=sys.stderr)
        found = entry(name, Settings(model, options.data_dir, options.repeats, Path(folder)))
        figures.add(options.output, name, found, list(BENCHMARKS))


def _argv(options: argparse.Namespace) -> list[str]:
    given = {name: value for name, value in vars(options).items() if name != "names" and value is not None}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def main(argv: list[str]) -> int:
    """Run the benchmarks named, each in a process of its own, and return the exit code (see `run_command`).

    A bound that is exceeded is a result, not an error.
    """
    return run_command(_benchmark, argv)


def _benchmark(argv):
    options = parser().parse_args(argv)
    names = list(BENCHMARKS) if "all" in options.names else list(dict.fromkeys(options.names))
    require_writable(options.output)  # before hours of work
    figures.read(options.output)
    for name in names:
        if len(names) == 1:
            _measure(name, options)
        else:
            # Where a process puts its memory moves a side by some per cent, and hangs on all that was before.
            last_line_of("hype.benchmark", [name, *_argv(options)])
    measured = figures.read(options.output)
    print(figures.table({name: measured[name] for name in names}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
