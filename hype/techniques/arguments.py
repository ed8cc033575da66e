"""The flags of the compared techniques. Every default leaves its technique off."""

import math
from dataclasses import dataclass, fields

from hype.errors import InputError
from hype.flags import flag

CHOICES = {
    "mode": (None, "ChildTuning-F", "ChildTuning-D"),
    "kl_reduction": ("batchmean", "sum", "elementmean"),
    "mixout_modules": ("encoder", "all"),
    "r3f_noise_type": ("normal", "uniform"),
    "rdrop_ce_factor": (0.5, 1.0),
    "recadam_anneal_fun": ("sigmoid", "linear", "constant"),
    "lnsr_reduction": ("mean", "sum"),
}

# Lowest and highest value of each number; None: no limit.
RANGES = {
    "reserve_p": (0, 1),
    "noise_lambda": (0, None),
    "rdrop_alpha": (0, None),
    "r3f_lambda": (0, None),
    "r3f_eps": (0, None),
    "top_k_layers": (0, None),
    "mixout_p": (0, 1),
    "recadam_anneal_k": (0, None),
    "recadam_anneal_t0": (0, None),
    "recadam_anneal_weight": (0, None),
    "recadam_gamma": (0, None),
    "lnsr_lambda": (0, None),
    "lnsr_layer": (1, None),
    "lnsr_noise_ratio": (0, None),
}

# Flags that mean nothing without one of the flags behind them.
OPTIONS = {
    "reserve_p": ("mode",),
    "kl_reduction": ("rdrop_alpha", "r3f_lambda"),
    "rdrop_ce_factor": ("rdrop_alpha",),
    "r3f_eps": ("r3f_lambda",),
    "r3f_noise_type": ("r3f_lambda",),
    "mixout_modules": ("mixout_p",),
    "mixout_exact_grad": ("mixout_p",),
    "recadam_anneal_fun": ("recadam",),
    "recadam_anneal_k": ("recadam",),
    "recadam_anneal_t0": ("recadam",),
    "recadam_anneal_weight": ("recadam",),
    "recadam_gamma": ("recadam",),
    "lnsr_layer": ("lnsr_lambda",),
    "lnsr_noise_ratio": ("lnsr_lambda",),
    "lnsr_reduction": ("lnsr_lambda",),
}


@dataclass
class TechniqueArguments:
    """Which techniques of tables 5 and 16 run, alone or with HyPe, and how."""

    top_k_layers: int | None = flag(None, "Top-K Tuning: train the k highest layers and the head, freeze the rest.")
    mode: str | None = flag(None, "Child-Tuning: ChildTuning-F (random masks) or ChildTuning-D (Fisher mask).")
    reserve_p: float = flag(0.0, "Child-Tuning: share of the gradient's entries that is kept.")
    mixout_p: float = flag(0.0, "Mixout: probability of a pre-trained input column; 0: off.")
    mixout_modules: str = flag("encoder", "Mixout: linear maps of the layers and the body's pooler (encoder), or all.")
    mixout_exact_grad: bool = flag(False, "Mixout: the formula's own gradient; off: the reference's, (1 - p) of it.")
    recadam: bool = flag(False, "RecAdam: pull the body to its pre-trained weights, ever less.")
    recadam_anneal_fun: str = flag("sigmoid", "RecAdam: schedule of the task's weight: sigmoid, linear, constant.")
    recadam_anneal_k: float = flag(0.5, "RecAdam: steepness of the sigmoid.")
    recadam_anneal_t0: int = flag(250, "RecAdam: step at the middle of the sigmoid, or at the end of the line.")
    recadam_anneal_weight: float = flag(1.0, "RecAdam: weight at the end of the schedule.")
    recadam_gamma: float = flag(5000.0, "RecAdam: strength of the quadratic penalty.")
    noise_lambda: float = flag(0.0, "NoisyTune: relative size of the noise on the parameters; 0: off.")
    rdrop_alpha: float = flag(0.0, "R-Drop: weight of the divergence of two forwards; 0: off.")
    rdrop_ce_factor: float = flag(0.5, "R-Drop: factor of the two task losses: 0.5 (their mean) or 1.0 (their sum).")
    r3f_lambda: float = flag(0.0, "R3F: weight of the divergence of clean and noised forward; 0: off.")
    r3f_eps: float = flag(1e-5, "R3F: scale of the noise on the word embeddings.")
    r3f_noise_type: str = flag("normal", "R3F: normal N(0, eps^2) or uniform U(-eps, eps).")
    kl_reduction: str = flag("batchmean", "R-Drop, R3F: reduction of the divergence: batchmean, sum, elementmean.")
    lnsr_lambda: float = flag(0.0, "LNSR: weight of the layers' response to noise; 0: off.")
    lnsr_layer: int = flag(1, "LNSR: noise enters the output of this layer, counted from 1.")
    lnsr_noise_ratio: float = flag(0.05, "LNSR: norm of the noise over the norm of the hidden state, per token.")
    lnsr_reduction: str = flag("mean", "LNSR: distance per layer as mean or sum over tokens and dimensions.")

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"--{name} {value}: give {' or '.join(str(a) for a in allowed if a is not None)}")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= (high or math.inf)):
                limits = f"of at least {low}" if high is None else f"from {low} to {high}"
                raise InputError(f"--{name} {value}: give a finite number {limits}")
        for name, switches in OPTIONS.items():
            if self.is_set(name) and not any(self.is_set(switch) for switch in switches):
                raise InputError(f"--{name} is without effect here: it belongs to --{' or --'.join(switches)}")
        if self.mode is not None and self.reserve_p == 0:
            raise InputError(f"--mode {self.mode} needs --reserve_p: the share of the gradient to keep, such as 0.3")
        if self.recadam_anneal_fun == "linear" and self.recadam_anneal_t0 == 0:
            raise InputError("--recadam_anneal_t0 0: the linear schedule divides by it, give at least 1")

    def is_set(self, name: str) -> bool:
        """Say whether the flag differs from its default."""
        defaults = {f.name: f.default for f in fields(self)}
        return getattr(self, name) != defaults[name]
