"""The techniques that the paper compares with HyPe, and combines with it (tables 5 and 16): one file each.

Every module in this folder is searched for techniques, so a new one is one new file.
"""

from dataclasses import field, make_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from hype.errors import InputError
from hype.techniques.base import Flag, Flags, Technique

# Parts of fine-tuning that only one technique can take over.
EXCLUSIVE = {"loss": "defines the training loss", "optimizer": "defines the optimizer"}


def _find_techniques() -> list[type[Technique]]:
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    found = dict.fromkeys(c for c in classes if issubclass(c, Technique) and hasattr(c, "name"))
    return sorted(found, key=lambda technique: technique.order)


TECHNIQUES = _find_techniques()
FLAGS: dict[str, Flag] = {flag.name: flag for technique in TECHNIQUES for flag in technique.flags}


def switches_of(flag: Flag) -> list[str]:
    """Name the flags without which `flag` has no effect; none if it switches a technique on itself."""
    switches = dict.fromkeys(technique.flags[0].name for technique in TECHNIQUES if flag in technique.flags)
    return [] if flag.name in switches else list(switches)


def _check(arguments: Any) -> None:
    for name, flag in FLAGS.items():
        flag.check(getattr(arguments, name))
        switches = switches_of(flag)
        if switches and arguments.is_set(name) and not any(map(arguments.is_set, switches)):
            raise InputError(f"--{name} has no effect here: it belongs to --{' or --'.join(switches)}")
    for technique in TECHNIQUES:
        if technique.is_on(arguments):
            technique.check(arguments)


# One dataclass for transformers' HfArgumentParser.
TechniqueArguments: Any = make_dataclass(
    "TechniqueArguments",
    [(f.name, f.type, field(default=f.default, metadata={"help": f.help})) for f in FLAGS.values()],
    bases=(Flags,),
    namespace={
        "__module__": __name__,
        "__doc__": "Which techniques of tables 5 and 16 run, alone or with HyPe, and how. All are off by default.",
        "__post_init__": _check,
    },
)


def selected(arguments: Any, hype_is_on: bool) -> list[Technique]:
    """Build the techniques that the flags switch on, in the order in which they act.

    Raises:
        InputError: two of them exclude each other, or a flag would have no effect with HyPe.
    """
    chosen = [technique for technique in TECHNIQUES if technique.is_on(arguments)]
    for place, reason in EXCLUSIVE.items():
        rivals = [technique.flags[0].name for technique in chosen if technique.acts_on(place)]
        if len(rivals) > 1:
            raise InputError(f"--{' and --'.join(rivals)} exclude each other, as each {reason}: give one")
    for flag in FLAGS.values():
        if hype_is_on and flag.is_idle_with_hype and arguments.is_set(flag.name):
            raise InputError(
                f"--{flag.name} has no effect with HyPe, which takes its place (appendix D.2): leave it out"
            )
    return [technique(arguments) for technique in chosen]
