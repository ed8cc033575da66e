"""SIGKILL at random moments; the same command again ends in the weights of the undisturbed run, bit for bit.

A sample by default. HYPE_KILLS: moments to kill at (30: all that is promised, each technique once more, ten minutes).
HYPE_KILL_SEED: the seed of the moments, which is printed; unset, it is another one each time.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.processes import ALL, NOISE, SETTINGS, Running, finish, outcome
from tests.techniques.runs import FLAGS

pytestmark = pytest.mark.slow
MOMENTS = int(os.environ.get("HYPE_KILLS", "4"))
SEED = int(os.environ.get("HYPE_KILL_SEED", time.time_ns() % 100_000))
RNG = random.Random(SEED)
# How often each phase occurs; the training steps are 2 epochs of 48 examples in batches of 8.
OCCURRENCES = {"start": 1, "training": 12, "evaluation": 4, "checkpoint": 4, "model": 5}
LONGEST_DELAY_S = 0.05  # about what a checkpoint takes
ATTEMPTS = 4  # on a busy machine the signal may come when the run has ended: then the next one comes earlier
TECHNIQUES = RNG.sample(sorted(FLAGS), len(FLAGS))


@pytest.fixture(autouse=True)
def _seed_is_shown(capsys):
    with capsys.disabled():
        print(f" HYPE_KILLS={MOMENTS} HYPE_KILL_SEED={SEED}", end=" ")


def moments(count: int, phases=tuple(OCCURRENCES)) -> list[tuple[str, int, float]]:
    """Draw a phase, which of its occurrences, and how long after its beginning; the phases take turns."""
    order = RNG.sample(phases, len(phases))
    drawn = []
    for index in range(count):
        phase = order[index % len(order)]
        nth = RNG.randint(2 if phase == "training" else 1, OCCURRENCES[phase])
        drawn.append((phase, nth, RNG.uniform(0, 2 if phase == "start" else LONGEST_DELAY_S)))
    return drawn


def killed(argv, log: Path, moment, world_size: int = 1) -> bool:
    """Start a run and kill it at the moment; return whether it was still alive then."""
    phase, nth, delay = moment
    running = Running(argv, log, world_size=world_size)
    seen = int(phase == "start")
    for announced in () if seen else running.announced():
        seen += announced == phase
        if seen == nth:
            break
    time.sleep(delay)
    running.signal(signal.SIGKILL)
    codes = running.wait()
    assert set(codes) <= {0, -signal.SIGKILL}, log.read_text()[-3000:]
    return -signal.SIGKILL in codes


def assert_survives(argv, folder: Path, flags: dict, drawn: list, world_size: int = 1) -> int:
    """Kill a run at each moment and let it finish; return how often it was killed in truth."""
    log = folder / "log"
    finish(argv(*ALL, **flags, output_dir=folder / "straight"), log, world_size=world_size)
    expected, count = outcome(folder / "straight"), 0
    for index, moment in enumerate(drawn):
        for attempt in range(ATTEMPTS):
            output_dir = folder / f"killed{index}_{attempt}"
            command = argv(*ALL, **flags, output_dir=output_dir)
            was_killed = killed(command, log, moment, world_size)
            finish(command, log, world_size=world_size)
            assert outcome(output_dir) == expected, f"killed at {moment}"
            if was_killed:
                count += 1
                break
            phase, nth, delay = moment
            moment = phase, max(1, nth // 2), delay / 4
    return count


def test_a_run_killed_at_random_moments_ends_in_the_same_bits(argv, tmp_path, capsys):
    count = assert_survives(argv, tmp_path, {**SETTINGS, **NOISE}, moments(MOMENTS))
    with capsys.disabled():
        print(f" killed {count} of {MOMENTS}", end=" ")
    assert count >= MOMENTS / 2, "most runs ended before they could be killed"


@pytest.mark.parametrize("index", range(2 if len(TECHNIQUES) > MOMENTS else len(TECHNIQUES)))
def test_a_killed_run_with_a_technique_ends_in_the_same_bits(argv, tmp_path, index):
    drawn = moments(max(1, MOMENTS // 10), ("training", "checkpoint"))
    assert assert_survives(argv, tmp_path, {**SETTINGS, **NOISE, **FLAGS[TECHNIQUES[index]]}, drawn)


def test_a_killed_run_of_two_processes_ends_in_the_same_bits(argv, tmp_path):
    drawn = moments(max(1, MOMENTS // 5), ("training", "checkpoint", "model"))
    flags = {**SETTINGS, **NOISE, "per_device_train_batch_size": 4}
    assert assert_survives(argv, tmp_path, flags, drawn, world_size=2)
