"""HyPe: fine-tuning with hidden representation perturbation (ACL 2023).

Use `HyPe(model, ...)` in a PyTorch training loop and `HyPeCallback(...)` with `transformers.Trainer`; `measure_noise`
shows what the noise does to a batch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hype.callback import HyPeCallback
    from hype.diagnostics import measure_noise
    from hype.perturbation import HyPe

__version__ = "0.1.0"
__all__ = ["HyPe", "HyPeCallback", "__version__", "measure_noise"]

_MODULES = {"HyPe": "hype.perturbation", "HyPeCallback": "hype.callback", "measure_noise": "hype.diagnostics"}


def __getattr__(name: str) -> Any:
    # Imported on first use, because torch and transformers' Trainer take seconds to import.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'hype' has no attribute {name!r}")
