"""The techniques that the paper compares and combines with HyPe (tables 5 and 16), one file each.

All modules in this folder are searched for techniques, so adding a technique only takes a new file.
"""

from dataclasses import field, make_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from hype.errors import InputError
from hype.techniques.base import Flag, Technique

# Methods that only one technique at a time can override, and why.
EXCLUSIVE = {"loss": "defines the training loss", "optimizer": "defines the optimizer"}


def _find_techniques() -> list[type[Technique]]:
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    found = dict.fromkeys(c for c in classes if issubclass(c, Technique) and hasattr(c, "name"))
    return sorted(found, key=lambda technique: technique.order)


TECHNIQUES = _find_techniques()
FLAGS: dict[str, Flag] = {flag.name: flag for technique in TECHNIQUES for flag in technique.flags}


def switches_of(flag: Flag) -> list[Flag]:
    """Return the flags of which `flag` needs at least one; none if it is itself the switch of a technique."""
    switches = list(dict.fromkeys(technique.flags[0] for technique in TECHNIQUES if flag in technique.flags))
    return [] if flag in switches else switches


def _check(arguments: Any) -> None:
    for flag in FLAGS.values():
        flag.check(getattr(arguments, flag.name))
        switches = switches_of(flag)
        if switches and flag.is_set(arguments) and not any(switch.is_set(arguments) for switch in switches):
            names = " or ".join(f"--{switch.name}" for switch in switches)
            raise InputError(f"--{flag.name} has no effect without {names}")
    for technique in TECHNIQUES:
        if technique.is_on(arguments):
            technique.check(arguments)


# One dataclass for transformers' HfArgumentParser.
TechniqueArguments: Any = make_dataclass(
    "TechniqueArguments",
    [(f.name, f.type, field(default=f.default, metadata={"help": f.help})) for f in FLAGS.values()],
    namespace={
        "__module__": __name__,
        "__doc__": "The techniques of tables 5 and 16, to use alone or with HyPe. All are off by default.",
        "__post_init__": _check,
    },
)


def selected(arguments: Any, hype_is_on: bool) -> list[Technique]:
    """Create the techniques that the flags switch on, in the order in which they act.

    Raises:
        InputError: two of them exclude each other, or a flag would have no effect with HyPe.
    """
    chosen = [technique for technique in TECHNIQUES if technique.is_on(arguments)]
    for place, reason in EXCLUSIVE.items():
        rivals = [technique.flags[0].name for technique in chosen if technique.acts_on(place)]
        if len(rivals) > 1:
            raise InputError(f"--{' and --'.join(rivals)} exclude each other, as each {reason}: give one")
    for flag in FLAGS.values():
        if hype_is_on and flag.is_idle_with_hype and flag.is_set(arguments):
            raise InputError(f"--{flag.name} has no effect with HyPe, which replaces it (appendix D.2): leave it out")
    return [technique(arguments) for technique in chosen]
