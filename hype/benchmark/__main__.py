"""Measure HyPe and this project side by side with what one would run instead; each figure is shown with its bound."""

import argparse
import contextlib
import datetime
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from hype.benchmark import benchmarks, results
from hype.benchmark.measure import keep_memory, run_module
from hype.benchmark.sides import Settings
from hype.errors import run_command
from hype.flags import LineParser, positive, require
from hype.packaged import packaged_model
from hype.training.machine import describe_machine

BENCHMARKS = {
    function.__name__: function
    for function in (
        benchmarks.overhead, benchmarks.memory, benchmarks.throughput, benchmarks.loop, benchmarks.evaluation,
        benchmarks.start, benchmarks.techniques, benchmarks.grid,
    )
}  # fmt: skip
RANDOM_WEIGHTS = ("overhead", "memory")  # measured on randomly initialized BERTs
CLOCKS = {"memory": "none", "start": "wall time"}


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    listed = " ".join(f"{name}: {function.__doc__.splitlines()[0]}" for name, function in BENCHMARKS.items())
    built = LineParser(
        prog="python -m hype.benchmark",
        description=f"{__doc__} On a CPU times are processor time in one thread (OMP_NUM_THREADS changes that); on "
        f"other devices, wall time. {listed}",
    )
    built.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help="which of them; or all")
    built.add_argument("--output", type=Path, default=Path("results/benchmark.json"), help="written after each")
    built.add_argument("--model_name_or_path", help="default: the packaged model")
    built.add_argument("--data_dir", default=os.environ.get("GLUE_DIR"), help="GLUE folder (default: GLUE_DIR)")
    built.add_argument(
        "--repeats", type=positive, default=5, help=f"measurements of a median; fewer than {results.FEWEST}: no verdict"
    )
    return built


def entry(name: str, settings: Settings) -> dict:
    """Do one benchmark; return what is recorded of it."""
    started = time.perf_counter()
    figures, raw = BENCHMARKS[name](settings)
    return {
        "figures": figures,
        "model": "BERT, random weights" if name in RANDOM_WEIGHTS else "/".join(Path(settings.model).parts[-2:]),
        "repeats": settings.repeats,
        "clock": CLOCKS.get(name, "processor time" if settings.device.type == "cpu" else "wall time"),
        "machine": {**describe_machine(settings.device), "cores": os.cpu_count()},
        "date": datetime.date.today().isoformat(),
        "measured_in_s": time.perf_counter() - started,
        "raw": raw,
    }


def measure(name: str, options: argparse.Namespace) -> None:
    """Do one benchmark in this process and write its entry."""
    threads = os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for the processes that it starts
    require(threads.isdecimal() and int(threads) > 0, f"OMP_NUM_THREADS={threads}: give one number, such as 1")
    torch.set_num_threads(int(threads))
    keep_memory()
    print(f"{name} ...", file=sys.stderr)
    model = options.model_name_or_path or packaged_model()
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        settings = Settings(model, options.data_dir, options.repeats, Path(folder), device)
        results.write(options.output, name, entry(name, settings))


def main(argv: list[str]) -> None:
    """Run the benchmarks named, each in its own process. A bound that is exceeded is a result, not an error."""
    options = parser().parse_args(argv)
    names = list(BENCHMARKS) if "all" in options.names else list(dict.fromkeys(options.names))
    results.require_writable(options.output)  # before hours of work
    results.read(options.output)
    if len(names) == 1:
        measure(names[0], options)
    else:
        given = {key: value for key, value in vars(options).items() if key != "names" and value is not None}
        flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
        for name in names:  # where a process puts its memory changes a side by some per cent
            run_module("hype.benchmark", [name, *flags])
    entries = results.read(options.output)
    print(results.page({name: entries[name] for name in names}))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
