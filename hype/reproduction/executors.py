"""Execute many runs, sequentially or on a Ray cluster."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from hype.errors import EnvironmentFault, as_input_error
from hype.reproduction.execution import LOCKED, Outcome, execute
from hype.reproduction.runs import MAIN, RunSpec
from hype.reproduction.status import FAILED, FINISHED, State

POLL_S = 2.0
# Retries of a Ray task whose worker or machine is lost; the run resumes from its newest checkpoint.
MAX_RETRIES = 3
PASSED_ON = ("OMP_NUM_THREADS", "HF_HOME", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE")


def sequential(specs: list[RunSpec], retry: bool, bar: tqdm | None = None) -> Iterator[tuple[RunSpec, Outcome]]:
    """Do runs one after another; those locked by another process come last, once they are free.

    Args:
        bar: shows the current run's number, its log file, and the rest of its own bar: 12/189 [00:03<00:51, 3.4it/s].
    """

    def show(text: str) -> None:
        if bar is not None:
            bar.set_postfix_str(text.rpartition("|")[2].strip())

    queue, held = deque(enumerate(specs, 1)), set()
    while queue:
        number, spec = queue.popleft()
        if spec in held:  # taken over if the other process abandons it, reported if it finishes it
            time.sleep(POLL_S)
        elif bar is not None:
            bar.write(f"[{number}/{len(specs)}] {spec.folder.name} (log: {spec.log_path})", file=sys.stderr)
        outcome = execute(spec, retry and spec not in held, show)
        if outcome.status == LOCKED:
            held.add(spec)
            queue.append((number, spec))
        else:
            yield spec, outcome


def on_ray(
    specs: list[RunSpec], retry: bool, cpus: float = 1, gpus: float | None = None
) -> Iterator[tuple[RunSpec, Outcome]]:
    """Do each run as a Ray task, on the cluster at RAY_ADDRESS or on a temporary local one.

    All machines must see the same files under the same paths: results, data, models and this project.

    Args:
        cpus, gpus: reserved for each run; gpus None: one if the cluster has any.

    Raises:
        EnvironmentFault: Ray is not installed, or the cluster cannot be reached.
        InputError: an amount that Ray does not accept, such as 1.5 GPUs.
    """
    try:
        import ray
    except ImportError:
        raise EnvironmentFault("--executor ray: Ray is not installed; pip install -r requirements-ray.txt") from None
    address = os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": _environment()})
    except (OSError, RuntimeError) as error:
        raise EnvironmentFault(
            f"--executor ray: no cluster at {address} ({error}); set or unset RAY_ADDRESS"
        ) from error
    try:
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        with as_input_error(f"--cpus_per_run {cpus:g} --gpus_per_run {gpus:g}"):
            # Not by .options(), with which a worker would take the next run and keep the GPU of its first.
            task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=MAX_RETRIES)(_execute_in)
        directory = str(Path.cwd())
        running = {task.remote(directory, spec, retry): spec for spec in specs}
        while running:
            (reference,), _ = ray.wait(list(running))
            spec = running.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayError as error:
                outcome = Outcome(FAILED, f"Ray: {str(error).strip().splitlines()[0]}")
            if outcome.status == LOCKED:
                time.sleep(POLL_S)
                running[task.remote(directory, spec, False)] = spec
            else:
                yield spec, outcome
    finally:
        ray.shutdown()


def _environment() -> dict[str, str]:
    """Return the variables that workers need: the path of the project, and those of PASSED_ON that are set here.

    Without OMP_NUM_THREADS, Ray gives a worker as many threads as CPUs.
    """
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    paths = [str(MAIN.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), **passed}


def _execute_in(directory: str, spec: RunSpec, retry: bool) -> Outcome:
    """Do one run in the driver's working directory, so that relative paths stay valid."""
    os.chdir(directory)
    return execute(spec, retry)


def drive(outcomes: Iterable[tuple[RunSpec, Outcome]], bar: tqdm) -> dict[RunSpec, Outcome]:
    """Count runs as they end and print why they failed; return how each ended.

    Raises:
        EnvironmentFault: a run met one, and so would the next. Runs in progress on Ray are stopped.
    """
    ended = {}
    with bar:
        for spec, outcome in outcomes:
            ended[spec] = outcome
            if outcome.status != FINISHED:
                bar.write(line_of(spec, outcome), file=sys.stderr)
            bar.set_postfix_str("", refresh=False)
            bar.update()
            if outcome.is_environment:
                raise EnvironmentFault(
                    f"stopped at run {len(ended)} of {bar.total}, {spec.folder.name}: {outcome.error}; "
                    "the same command continues"
                )
    return ended


def line_of(spec: RunSpec, ended: Outcome | State) -> str:
    """Describe in one line how a run ended."""
    return f"{ended.status}: {spec.folder.name}: {ended.error} (log: {spec.log_path})"
