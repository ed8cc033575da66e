"""Compare the cost of HyPe and of this project with that of the alternatives; each figure is shown with its bound."""

import argparse
import contextlib
import datetime
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from hype.benchmark import results
from hype.benchmark.benchmarks import BENCHMARKS
from hype.benchmark.measure import keep_memory, run_module
from hype.benchmark.sides import Bench
from hype.errors import run_command
from hype.flags import LineParser, positive, require
from hype.packaged import packaged_model
from hype.training.machine import current_device, describe_machine

RANDOM_WEIGHTS = ("overhead", "memory")  # measured on randomly initialized BERTs
CLOCKS = {"memory": "no times", "start": "wall time"}


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    listed = " ".join(f"{name}: {benchmark.__doc__.splitlines()[0]}" for name, benchmark in BENCHMARKS.items())
    built = LineParser(
        prog="python -m hype.benchmark",
        description=f"{__doc__} On a CPU, times are processor time in one thread (OMP_NUM_THREADS changes that); on "
        f"other devices, wall time. {listed}",
    )
    built.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help="what to run; or all")
    built.add_argument("--output", type=Path, default=Path("results/benchmark.json"), help="updated after each one")
    built.add_argument("--model_name_or_path", help="default: the packaged model")
    built.add_argument("--data_dir", default=os.environ.get("GLUE_DIR"), help="GLUE folder (default: GLUE_DIR)")
    built.add_argument(
        "--repeats", type=positive, default=5, help=f"measurements per median; no verdict below {results.FEWEST}"
    )
    return built


def measure(name: str, options: argparse.Namespace) -> None:
    """Run one benchmark in this process and write its entry."""
    threads = os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for child processes
    require(threads.isdecimal() and int(threads) > 0, f"OMP_NUM_THREADS={threads}: give one number, such as 1")
    torch.set_num_threads(int(threads))
    keep_memory()
    print(f"{name} ...", file=sys.stderr)
    model, device, started = options.model_name_or_path or packaged_model(), current_device(), time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        bench = Bench(model, options.data_dir, options.repeats, Path(folder), device)
        figures = list(BENCHMARKS[name](bench))
    entry = {
        "figures": figures,
        "model": "BERT, random weights" if name in RANDOM_WEIGHTS else "/".join(Path(model).parts[-2:]),
        "repeats": options.repeats,
        "clock": CLOCKS.get(name, "processor time" if device.type == "cpu" else "wall time"),
        "machine": {**describe_machine(device), "cores": os.cpu_count()},
        "date": datetime.date.today().isoformat(),
        "measured_in_s": time.perf_counter() - started,
        "raw": json.loads(json.dumps(bench.raw, default=np.ndarray.tolist)),
    }
    results.write(options.output, **{name: entry})


def main(argv: list[str]) -> None:
    """Run the named benchmarks, each in its own process. An exceeded bound is a result, not an error."""
    options = parser().parse_args(argv)
    names = list(BENCHMARKS) if "all" in options.names else list(dict.fromkeys(options.names))
    results.write(options.output)  # refuses an unusable file before hours of work
    if len(names) == 1:
        measure(names[0], options)
    else:
        given = {key: value for key, value in vars(options).items() if key != "names" and value is not None}
        flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
        for name in names:  # separate, as the memory layout of a process changes a side by some per cent
            run_module("hype.benchmark", [name, *flags])
    entries = results.read(options.output)
    print(results.page({name: entries[name] for name in names}))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
