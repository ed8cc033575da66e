"""Handle SIGTERM and Ctrl-C: in training, save a checkpoint after the current step, then exit; else exit at once."""

import logging
import signal
import threading
from contextlib import contextmanager

from transformers import TrainerCallback

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _end(number: int):
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


class StopCallback(TrainerCallback):
    """Defer a signal that arrives in training until the end of the step.

    Args:
        keeps_checkpoint: whether training writes checkpoints that it can resume from.
    """

    def __init__(self, keeps_checkpoint: bool):
        self.keeps_checkpoint, self.number, self.is_training = keeps_checkpoint, None, False

    def handle(self, number, frame):
        if self.number is not None or not self.is_training:
            _end(number)
        outcome = "the same command resumes it" if self.keeps_checkpoint else "no checkpoint is saved"
        name = signal.Signals(number).name
        logger.warning("%s: the run stops after this step or checkpoint; %s", name, outcome)
        self.number = number

    def on_train_begin(self, args, state, control, **kwargs):
        self.is_training = True

    def on_step_end(self, args, state, control, **kwargs):
        if self.number is not None:
            if not self.keeps_checkpoint:
                _end(self.number)
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        if self.number is not None:
            _end(self.number)

    def on_train_end(self, args, state, control, **kwargs):
        self.is_training = False
        if self.number is not None:  # the signal arrived after the last step
            _end(self.number)


@contextmanager
def stopping_on_signals(callback: StopCallback, world_size: int = 1):
    """Let `callback` end the block on SIGTERM (exit code 143) or SIGINT (130).

    Does nothing with several processes, which would stop at different steps, or outside the main thread.
    """
    if world_size > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, callback.handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
