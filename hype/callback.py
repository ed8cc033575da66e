"""HyPe for any `transformers.Trainer`: attached when training begins, detached when it ends, whatever ends it."""

import sys

from transformers import Trainer, TrainerCallback

from hype.perturbation import HyPe

# Between on_train_begin and on_train_end Trainer does its work in these methods. It calls no callback when one raises.
TRAINING_METHODS = ("_evaluate", "_run_epoch", "_finalize_training")


class HyPeCallback(TrainerCallback):
    """Fine-tune with HyPe: `Trainer(..., callbacks=[HyPeCallback(hype_type="uniform")])`.

    The options are those of `HyPe`; seed and rank are the Trainer's. The noise of a step depends on (seed, rank, step)
    alone, so a resumed training equals an uninterrupted one.

    Raises:
        ValueError: at the start of training, as `HyPe` does.
    """

    def __init__(self, hype_type: str = "normal", hype_eps: float = 1e-5, **options):
        self.options = {"hype_type": hype_type, "hype_eps": hype_eps, **options}
        self.hype: HyPe | None = None
        self._guarded: Trainer | None = None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.remove()
        self.hype = HyPe(model, seed=args.seed, rank=args.process_index, **self.options)
        self.hype.set_step(state.global_step)
        self._guard(_running_trainer())

    def on_step_begin(self, args, state, control, **kwargs):
        self.hype.set_step(state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self.remove()

    def remove(self) -> None:
        """Detach the noise; a second call does nothing."""
        if self.hype is not None:
            self.hype.remove()
            self.hype = None
        if self._guarded is not None:
            for name in TRAINING_METHODS:
                delattr(self._guarded, name)
            self._guarded = None

    def _guard(self, trainer: Trainer) -> None:
        def guarded(method):
            def call(*args, **kwargs):
                try:
                    return method(*args, **kwargs)
                except BaseException:
                    self.remove()
                    raise

            return call

        for name in TRAINING_METHODS:
            setattr(trainer, name, guarded(getattr(trainer, name)))
        self._guarded = trainer


def _running_trainer() -> Trainer:
    """Find the Trainer that is calling the callback: transformers does not hand it over."""
    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("self"), Trainer):
        frame = frame.f_back
    return frame.f_locals["self"]
