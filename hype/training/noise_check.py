"""Measure the noise on a batch before training: log it, record it, and refuse noise that the dtype rounds away."""

import logging
import math

from hype.errors import DivergedError, InputError
from hype.training.arguments import HyPeArguments
from hype.training.trainer import HyPeTrainer

logger = logging.getLogger(__name__)
# Below these shares of changed entries, the noise causes a warning and, in half precision, an error.
WEAK_SHARE, REFUSED_SHARE = 0.9, 0.5


def check_noise(trainer: HyPeTrainer, hype: HyPeArguments) -> dict | None:
    """Return the noise measured before training; None without noise.

    Raises:
        InputError: the dtype rounds most of it away, or it makes the model's outputs overflow.
        DivergedError: the outputs are not finite even without it.
    """
    try:
        noise = trainer.measure_noise()
    except ValueError as error:
        raise InputError(str(error)) from error
    if noise is None:
        return None
    if not noise.pop("is_finite"):
        raise DivergedError("the model's outputs are not finite before the first step")
    if not math.isfinite(noise["logit_change"]):
        raise InputError(f"--hype_eps {hype.hype_eps:g}: the model's outputs overflow; give a smaller scale")
    weakest = min(noise["layers"], key=lambda layer: layer["changed"])
    snr = "infinite" if weakest["snr_db"] is None else f"{weakest['snr_db']:.0f} dB"
    effect = (
        f"{hype.hype_type} noise of eps {hype.hype_eps:g} changes {weakest['changed']:.1%} of the entries of "
        f"{weakest['dtype']} hidden states (signal to noise {snr}) and logits by up to {noise['logit_change']:.1e}"
    )
    is_half = weakest["dtype"] in ("float16", "bfloat16")
    if is_half and weakest["changed"] < REFUSED_SHARE and not hype.allow_vanishing_noise:
        raise InputError(f"{effect}: train in float32, raise --hype_eps, or pass --allow_vanishing_noise")
    logger.log(logging.WARNING if weakest["changed"] < WEAK_SHARE else logging.INFO, "%s", effect)
    lowest = min((layer["snr_db"] for layer in noise["layers"] if layer["snr_db"] is not None), default=0)
    if lowest < 0:
        logger.warning(
            "--hype_eps %g: the noise is stronger than the hidden states (signal to noise down to %.0f dB); the paper "
            "uses 1e-5 to 1e-4",
            hype.hype_eps,
            lowest,
        )
    return noise
