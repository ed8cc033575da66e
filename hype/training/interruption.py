"""SIGTERM and Ctrl-C in training: a checkpoint at the end of the step, then the end; a second one ends it at once."""

import logging
import signal
import threading
from contextlib import contextmanager

from transformers import Trainer, TrainerCallback

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _end(number: int):
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


class _StopCallback(TrainerCallback):
    """Hold the signal that came; `keeps_checkpoint`: whether one can be gone on from."""

    def __init__(self, keeps_checkpoint: bool):
        self.keeps_checkpoint, self.number = keeps_checkpoint, None

    def handle(self, number, frame):
        if self.number is not None:
            _end(number)
        outcome = "the same command goes on with it" if self.keeps_checkpoint else "no checkpoint is kept"
        logger.warning("signal %d: the run ends after this step or save; %s", number, outcome)
        self.number = number

    def on_step_end(self, args, state, control, **kwargs):
        if self.number is not None:
            if not self.keeps_checkpoint:
                _end(self.number)
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        if self.number is not None:
            _end(self.number)


@contextmanager
def stopping_between_steps(trainer: Trainer):
    """End a training on SIGTERM (exit code 143) or SIGINT (130) between two steps, behind a checkpoint if it keeps any.

    Does nothing in several processes, which would end at different steps, and outside of the main thread.
    """
    args = trainer.args
    if args.world_size > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _StopCallback(args.save_strategy != "no" and not args.save_only_model)
    trainer.add_callback(stop)
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        trainer.remove_callback(stop)
    if stop.number is not None:  # it came behind the last step
        _end(stop.number)
