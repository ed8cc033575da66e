"""Trainers that do one step when told, so that several can take turns in one process."""

import threading

from transformers import TrainerCallback

from hype.benchmark.pairs import timed


class _Stopped(Exception):  # noqa: N818 (no error)
    """Ends a training between two steps."""


class Stepper(TrainerCallback):
    """A Trainer that trains in a thread of its own, which runs only within `step`.

    A step lasts from Trainer's on_step_begin to the next one: all that a training does is in it, reading data too.
    The training must be longer than the steps taken. Only one Stepper runs at a
    time, so that processor time is a step's own.
    """

    def __init__(self, trainer):
        self.trainer, self.error, self.is_stopped = trainer, None, False
        self.go, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        trainer.add_callback(self)
        self.thread = threading.Thread(target=self._train, daemon=True)

    def __enter__(self):
        """Prepare the training, up to its first step."""
        self.thread.start()
        self._await()
        return self

    def __exit__(self, *exception):
        self.is_stopped = True
        self.go.release()
        self.thread.join()
        self.trainer.remove_callback(self)

    def step(self) -> float:
        """Do the next step; return its seconds."""
        return timed(self.trainer.args.device, self._go_on)

    def _go_on(self) -> None:
        self.go.release()
        self._await()

    def _await(self) -> None:
        self.paused.acquire()
        if self.error is not None:
            raise self.error

    def _train(self) -> None:
        try:
            self.trainer.train()
        except _Stopped:
            return
        except BaseException as error:
            self.error = error
        else:
            self.error = RuntimeError("the training ended before the measurement")
        self.paused.release()

    def on_step_begin(self, args, state, control, **kwargs):
        self.paused.release()
        self.go.acquire()
        if self.is_stopped:
            raise _Stopped
