"""The techniques that the paper compares with HyPe, and combines with it (tables 5 and 16): one file each."""

from hype.errors import InputError
from hype.techniques.arguments import TechniqueArguments
from hype.techniques.base import Technique
from hype.techniques.child_tuning import ChildTuningD, ChildTuningF
from hype.techniques.lnsr import LNSR
from hype.techniques.mixout import Mixout
from hype.techniques.noisy_tune import NoisyTune
from hype.techniques.r3f import R3F
from hype.techniques.r_drop import RDrop
from hype.techniques.recadam import RecAdam
from hype.techniques.top_k import TopKTuning

# Flag (and its value) that switches a technique on -> the technique. In the order in which they act before training:
# Fisher information and anchors are taken before NoisyTune moves the weights.
TECHNIQUES = {
    "top_k_layers": TopKTuning,
    "mode ChildTuning-F": ChildTuningF,
    "mode ChildTuning-D": ChildTuningD,
    "mixout_p": Mixout,
    "recadam": RecAdam,
    "noise_lambda": NoisyTune,
    "rdrop_alpha": RDrop,
    "r3f_lambda": R3F,
    "lnsr_lambda": LNSR,
}
# Places in fine-tuning that hold one technique at most.
EXCLUSIVE = {"loss": "defines the training loss", "optimizer": "defines the optimiser"}


def selected(arguments: TechniqueArguments, hype_is_on: bool) -> list[Technique]:
    """Build the techniques that the flags switch on, in the order in which they act.

    Raises:
        InputError: two of them exclude each other, or a flag would be without effect beside HyPe.
    """
    chosen = {flag: technique for flag, technique in TECHNIQUES.items() if _is_on(flag, arguments)}
    for place, reason in EXCLUSIVE.items():
        rivals = [flag for flag, technique in chosen.items() if technique.acts_on(place)]
        if len(rivals) > 1:
            raise InputError(f"--{' and --'.join(rivals)} exclude each other, as each {reason}: give one")
    if hype_is_on and "r3f_lambda" in chosen:
        for name in ("r3f_eps", "r3f_noise_type"):
            if arguments.is_set(name):
                raise InputError(
                    f"--{name} is without effect with HyPe, whose noise replaces R3F's (appendix D.2): leave it out"
                )
    return [technique(arguments) for technique in chosen.values()]


def _is_on(flag: str, arguments: TechniqueArguments) -> bool:
    name, _, value = flag.partition(" ")
    return getattr(arguments, name) == value if value else arguments.is_set(name)
