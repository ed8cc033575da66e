"""HyPe: fine-tuning with hidden representation perturbation (ACL 2023).

`HyPe(model, ...)` perturbs any PyTorch loop, `HyPeCallback(...)` any transformers.Trainer.
"""

from importlib import import_module

__all__ = ["HyPe", "HyPeCallback"]

_MODULES = {"HyPe": "hype.perturbation", "HyPeCallback": "hype.callback"}


def __getattr__(name: str):
    # torch and transformers' Trainer take seconds to import: nobody waits for what is not used.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'hype' has no attribute {name!r}")
