"""Seconds of wall time from the launch of main.py to its first training step, and of --help."""

import subprocess
import sys
import time
from pathlib import Path

from hype.benchmark.figures import figure
from hype.benchmark.settings import Settings
from hype.errors import EnvironmentFault

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample_glue"
FLAGS = (
    "--do_train --max_steps 1 --logging_steps 1 --hype_type normal --dropout_rate 0 --overwrite_output_dir --data_dir"
)
LOGGED = "'loss'"  # in what Trainer prints after a step


def measure(settings: Settings, bounds: dict) -> tuple[list[dict], dict]:
    """Return the seconds of both, of launches in turn, after one of each that warms the disk's cache.

    Raises:
        EnvironmentFault: main.py failed.
    """
    commands = {"--help": ["--help"], "first step": [*settings.argv("rte", FLAGS), str(SAMPLE)]}
    seconds = {name: [] for name in commands}
    for repeat in range(-1, settings.repeats):
        for name, argv in commands.items():
            passed = launch(argv, "usage:" if name == "--help" else LOGGED)
            if repeat >= 0:
                seconds[name].append(passed)
    return [figure(f"{name}: seconds", values, bounds[name]) for name, values in seconds.items()], {}


def launch(argv: list[str], awaited: str) -> float:
    """Start main.py; return the seconds until its end, if it prints `awaited` at all, or for LOGGED until it does."""
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "main.py"), *argv]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, reached = [], None
    for line in process.stdout:
        lines.append(line)
        if reached is None and awaited in line:
            reached = time.perf_counter() - started
    if process.wait() != 0 or reached is None:
        raise EnvironmentFault(f"main.py ended with exit code {process.returncode}: {''.join(lines[-3:])}")
    return reached if awaited == LOGGED else time.perf_counter() - started
