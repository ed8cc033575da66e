"""HyPe: fine-tuning with hidden representation perturbation (ACL 2023).

`HyPe(model, ...)` perturbs any PyTorch loop, `HyPeCallback(...)` any transformers.Trainer.
"""

from hype.perturbation import HyPe

__all__ = ["HyPe", "HyPeCallback"]


def __getattr__(name: str):
    # transformers' Trainer takes seconds to import; a bare loop does without.
    if name == "HyPeCallback":
        from hype.callback import HyPeCallback

        return HyPeCallback
    raise AttributeError(f"module 'hype' has no attribute {name!r}")
