"""Does runs on a Ray cluster: one task each. Optional: requirements-ray.txt.

All machines must see the same files under the same paths: the results, the data, the models and this project.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from hype.errors import EnvironmentFault
from hype.reproduction.executor import LOCKED, Outcome, execute, when_free
from hype.reproduction.expansion import MAIN, Cell
from hype.reproduction.state import FAILED

# Of a task whose worker or machine is lost; the run then goes on from its newest checkpoint.
MAX_RETRIES = 3
PASSED_ON = ("OMP_NUM_THREADS", "HF_HOME", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE")


def on_ray(
    cells: list[Cell], retry: bool = False, cpus: float = 1, gpus: float | None = None
) -> Iterator[tuple[Cell, Outcome]]:
    """Do runs on the cluster at RAY_ADDRESS, or on one started here and ended with this process.

    Args:
        cpus, gpus: asked of Ray for each run; gpus None: one where the cluster has any.

    Raises:
        EnvironmentFault: Ray is not installed, or the cluster is out of reach.
    """
    try:
        import ray
    except ImportError:
        raise EnvironmentFault("--executor ray: Ray is not installed; pip install -r requirements-ray.txt") from None
    address = os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": _environment()})
    except (ConnectionError, OSError, RuntimeError) as error:
        raise EnvironmentFault(
            f"--executor ray: no cluster at {address} ({error}); set or unset RAY_ADDRESS"
        ) from error
    try:
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(_execute_in).options(num_cpus=cpus, num_gpus=gpus, max_retries=MAX_RETRIES)
        yield from _collected(ray, task, cells, retry)
    finally:
        ray.shutdown()


def _environment() -> dict[str, str]:
    """Return the variables that workers need: where the project is, and what is set here of PASSED_ON.

    Where OMP_NUM_THREADS is not, Ray gives a worker as many threads as CPUs.
    """
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    paths = [str(MAIN.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), **passed}


def _execute_in(directory: str, cell: Cell, retry: bool) -> Outcome:
    """Do one run as the driver would: relative paths mean the same."""
    os.chdir(directory)
    return execute(cell, retry)


def _collected(ray, task, cells: list[Cell], retry: bool) -> Iterator[tuple[Cell, Outcome]]:
    directory = str(Path.cwd())

    def result(reference) -> Outcome:
        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            return Outcome(FAILED, f"Ray: {str(error).strip().splitlines()[0]}")

    running = {task.remote(directory, cell, retry): cell for cell in cells}
    busy = []
    while running:
        (reference,), _ = ray.wait(list(running))
        cell, outcome = running.pop(reference), result(reference)
        if outcome.status == LOCKED:
            busy.append(cell)
        else:
            yield cell, outcome
    yield from when_free(busy, lambda cell: result(task.remote(directory, cell, False)))
