"""Runs of main.py in processes that can be killed, forked from a server that has imported everything; their outcome.

Also other work in two ranks, forked from the same server.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

import main
from hype.files import file_sha256
from hype.training.finetune import finetune  # noqa: F401 (imported once, in the server)
from hype.training.machine import leave_process_group
from hype.training.trainer import HyPeTrainer

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
ALL = ("do_train", "do_eval", "do_predict")
NOISE = {"hype_type": "normal", "hype_eps": 1e-2}
SETTINGS = {
    "num_train_epochs": 2, "per_device_train_batch_size": 8, "save_steps": 3, "save_total_limit": 1,
    "eval_strategy": "steps", "eval_steps": 4,
}  # fmt: skip
# What a run does, by the method in which it does it.
PHASES = {
    "training": "training_step",
    "evaluation": "evaluate",
    "checkpoint": "_save_checkpoint",
    "model": "save_model",
}


def announcing(phase: str, method, announce):
    """Wrap a method so that each entry is announced."""

    def call(*args, **kwargs):
        announce(phase)
        return method(*args, **kwargs)

    return call


def enter(log: Path, rank: int, world_size: int, port: int) -> None:
    """Write the output of this process to `log`; with several ranks, set torchrun's variables."""
    if world_size > 1:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        os.environ.update(zip(names, map(str, (rank, rank, world_size, world_size, "127.0.0.1", port)), strict=True))
    with log.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def work(argv: list[str], log: Path, pipe, prepare, ranks: tuple[int, int, int]) -> None:
    """Run main in a child, its output in `log`, its phases in `pipe`; `prepare` injects faults."""
    enter(log, *ranks)
    for phase, name in PHASES.items():
        setattr(HyPeTrainer, name, announcing(phase, getattr(HyPeTrainer, name), pipe.send))
    if prepare is not None:
        prepare()
    code = 1
    try:
        code = main.main(argv)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    os._exit(code)


class Running:
    """A run in one or more processes, which share the log."""

    def __init__(self, argv: list[str], log: Path, prepare=None, world_size: int = 1):
        port = free_port() if world_size > 1 else 0
        self.log, self.processes, self.receivers = log, [], []
        for rank in range(world_size):
            receiver, sender = CONTEXT.Pipe(duplex=False)
            process = CONTEXT.Process(target=work, args=(argv, log, sender, prepare, (rank, world_size, port)))
            process.start()
            sender.close()
            self.processes.append(process)
            self.receivers.append(receiver)

    def announced(self):
        """Yield the phases of the first process as they begin, until it ends."""
        with contextlib.suppress(EOFError):
            while True:
                yield self.receivers[0].recv()

    def signal(self, number: int) -> None:
        """Send a signal to every process that still lives."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def wait(self) -> list[int]:
        """Wait for the end; return the exit codes."""
        for process in self.processes:
            process.join(120)
            if process.is_alive():
                self.signal(signal.SIGKILL)
                raise AssertionError(f"a run hangs: {self.log.read_text()[-2000:]}")
        return [process.exitcode for process in self.processes]


def finish(argv: list[str], log: Path, prepare=None, world_size: int = 1) -> list[str]:
    """Let a run end well; return the phases it announced."""
    running = Running(argv, log, prepare, world_size)
    phases = list(running.announced())
    assert set(running.wait()) == {0}, log.read_text()[-3000:]
    return phases


def work_in_rank(module: str, folder: Path, log: Path, rank: int, port: int) -> None:
    enter(log, rank, 2, port)
    importlib.import_module(module).main(folder)
    leave_process_group()


def run_in_two_processes(module: str, folder: Path) -> None:
    """Call `main(folder)` of a module of the tests in two ranks."""
    port, log = free_port(), folder / "log"
    ranks = [CONTEXT.Process(target=work_in_rank, args=(module, folder, log, rank, port)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
        process.kill()  # if it hangs
    assert [process.exitcode for process in ranks] == [0, 0], log.read_text()[-3000:]


def outcome(folder: Path) -> dict:
    """Return what a finished run leaves, without times and the mean loss, which a resumed run does not know."""
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    metrics = {
        f"{part} {name}": value
        for part, values in record["metrics"].items()
        for name, value in values.items()
        if not name.endswith(("runtime", "per_second", "train_loss"))
    }
    files = {name: file_sha256(folder / name) for name in ("model.safetensors", "RTE.tsv", "config.json")}
    return {**files, **metrics, "score": record["score"], "steps": record["steps"]}


def free_port() -> int:
    """Find a port for the processes of one run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
