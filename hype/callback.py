"""HyPe for any `transformers.Trainer`."""

import inspect
import logging
from typing import Any

from transformers import TrainerCallback, TrainingArguments

from hype.architectures import ARCHITECTURES, unwrap
from hype.perturbation import HyPe, check_values

logger = logging.getLogger(__name__)


class HyPeCallback(TrainerCallback):
    """Attach HyPe when training begins, set its step before every optimiser step, and remove it when training ends.

    The noise of a step depends on (seed, rank, step), so a resumed run equals an uninterrupted one. If training raises
    an exception, HyPe stays attached (it acts in training mode only) until the callback's next training or `remove()`;
    `with HyPe(model): trainer.train()` always removes it. A callback that is added during training takes effect at the
    next step. To stop the noise, call `remove()`: `Trainer.remove_callback` alone does not remove it.

    Args:
        hype_type, hype_eps, options: as for `HyPe`; seed and rank default to the Trainer's.

    Raises:
        TypeError: `HyPe` has no such option.
        ValueError: a value is out of range; what depends on the model is checked when training begins.

    Example:
        trainer = Trainer(model, args, train_dataset=data, callbacks=[HyPeCallback("uniform", 1e-5)])
        trainer.train()
    """

    def __init__(self, hype_type: str = "normal", hype_eps: float = 1e-5, **options: Any):
        self.options = {"hype_type": hype_type, "hype_eps": hype_eps, **options}
        inspect.signature(HyPe).bind(None, **self.options)
        check_values(**self.options)
        self.hype: HyPe | None = None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.remove()  # in case the last training raised an exception
        self._attach(args, model)

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        (self.hype or self._attach(args, model)).set_step(state.global_step)

    def on_train_end(self, args, state, control, **kwargs):
        self.remove()
        self.hype = None

    def remove(self) -> None:
        """Remove HyPe for the rest of the training; calling it again does nothing."""
        if self.hype is not None:
            self.hype.remove()

    def _attach(self, args: TrainingArguments, model: Any) -> HyPe:
        if args.n_gpu > 1:
            raise ValueError("several GPUs are visible to one process: use torchrun, or set CUDA_VISIBLE_DEVICES=0")
        if args.world_size > 1 and self.options.get("hype_stream") == "global":
            raise ValueError("hype_stream global: Trainer seeds all ranks alike, so all get the same noise: use own")
        self.hype = hype = HyPe(model, **{"seed": args.seed, "rank": args.process_index, **self.options})
        if args.process_index == 0:
            noise = f"{hype.sampler} noise of scale {hype.eps:g} to {len(hype.layers)} of {hype.count} layers"
            if dropout := _hidden_dropout(model):
                remedy = "pass hidden_dropout_prob=0.0 (or the model's name for it) to from_pretrained"
                logger.warning("HyPe adds %s, but hidden dropout is on (%g): %s", noise, dropout, remedy)
            else:
                logger.info("HyPe adds %s; hidden dropout is off", noise)
        return hype


def _hidden_dropout(model: Any) -> float:
    """Return the highest hidden dropout rate in the configurations of the model and its parts, under any known name."""
    names = {name for architecture in ARCHITECTURES.values() for name in architecture.hidden_dropouts}
    names.add("hidden_dropout")  # wav2vec 2.0, HuBERT, BLOOM
    configs = [getattr(module, "config", None) for module in unwrap(model).modules()]
    configs = [config for config in configs if hasattr(config, "model_type")]
    return max((getattr(config, name, None) or 0.0 for config in configs for name in names), default=0.0)
