"""HyPe for any `transformers.Trainer`: attached when training begins, detached when it ends, whatever ends it."""

import sys
from contextlib import ExitStack

from transformers import Trainer, TrainerCallback

from hype.perturbation import HyPe


class HyPeCallback(TrainerCallback):
    """Fine-tune with HyPe: `Trainer(..., callbacks=[HyPeCallback(hype_type="uniform")])`.

    The options are those of `HyPe`; seed and rank, unless given, are the Trainer's. The noise of a step depends on
    (seed, rank, step) alone, so a resumed training equals an uninterrupted one.

    Raises:
        ValueError: at the start of training, as `HyPe` does.
    """

    def __init__(self, hype_type: str = "normal", hype_eps: float = 1e-5, **options):
        self.options = {"hype_type": hype_type, "hype_eps": hype_eps, **options}
        self.hype: HyPe | None = None
        self._cleanup = ExitStack()
        self._is_over = False

    def _attached(self, args, model) -> HyPe:
        return HyPe(model, **{"seed": args.seed, "rank": args.process_index, **self.options})

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.remove()
        if args.n_gpu > 1:
            raise ValueError(
                "several GPUs are visible to one process: start torchrun, or set CUDA_VISIBLE_DEVICES to one"
            )
        if args.world_size > 1 and self.options.get("hype_stream") == "global":
            # Trainer seeds all ranks alike.
            raise ValueError("hype_stream global: all processes would add the same noise; use own, or HyPeTrainer")
        self._is_over = False
        # Refuse at once what cannot work, but attach after this event: another callback may still raise in it.
        self._attached(args, model).remove()
        trainer = _running_trainer()
        # From here to on_train_end Trainer works in these methods, and calls no callback when one raises.
        self._guard(trainer, "_run_epoch")
        self._guard(trainer, "_finalize_training")
        self._guard(trainer.callback_handler, "call_event")

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        if self.hype is None and not self._is_over:
            self.hype = self._cleanup.enter_context(self._attached(args, model))

    def on_step_begin(self, args, state, control, **kwargs):
        if self.hype is not None:
            self.hype.set_step(state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self.remove()

    def remove(self) -> None:
        """Detach the noise for the rest of the training; a second call does nothing."""
        self._cleanup.close()
        self.hype, self._is_over = None, True

    def _guard(self, owner, name: str) -> None:
        method = getattr(owner, name)
        restore = (setattr, owner, name, method) if name in vars(owner) else (delattr, owner, name)

        def call(*args, **kwargs):
            is_last = name == "_finalize_training"  # the callback may have been removed from its Trainer by then
            try:
                return method(*args, **kwargs)
            except BaseException:
                is_last = True
                raise
            finally:
                if is_last:
                    self.remove()

        setattr(owner, name, call)
        self._cleanup.callback(*restore)


def _running_trainer() -> Trainer:
    """Find the Trainer that is calling the callback: transformers does not hand it over."""
    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("self"), Trainer):
        frame = frame.f_back
    return frame.f_locals["self"]
