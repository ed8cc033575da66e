"""The command line: flags, or a JSON file of them with overrides behind it, to checked `Arguments`."""

import difflib
import json
import logging
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from transformers import HfArgumentParser

from hype.data.arguments import DataArguments
from hype.errors import InputError, RunError
from hype.flags import LineParser, indices
from hype.techniques import TechniqueArguments
from hype.training.arguments import REMOVED_FLAGS, HyPeArguments, ModelArguments, RunArguments

logger = logging.getLogger(__name__)
SECRETS = ("token", "hub_token", "push_to_hub_token")


@dataclass
class Arguments:
    """All arguments of one run."""

    model: ModelArguments
    data: DataArguments
    hype: HyPeArguments
    techniques: TechniqueArguments
    training: RunArguments

    def __post_init__(self):
        attention = self.model.attn_implementation
        is_float32 = self.model.dtype == "float32" and not (self.training.bf16 or self.training.fp16)
        if is_float32 and attention in ("flash_attention_2", "flash_attention_3"):
            raise InputError(f"--attn_implementation {attention} computes in half precision alone: pass --bf16 with it")

    def as_dict(self) -> dict[str, dict]:
        """Return the arguments as JSON-ready dictionaries, one per group, without secrets."""
        groups = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {
            name: group.to_dict() if isinstance(group, RunArguments) else asdict(group)
            for name, group in groups.items()
        }
        return {
            name: {key: value for key, value in group.items() if key not in SECRETS} for name, group in plain.items()
        }

    def hype_options(self) -> dict | None:
        """Return the keyword arguments of `HyPe` that the flags ask for; None: no noise."""
        options = asdict(self.hype)
        options.pop("allow_vanishing_noise")
        if options["hype_type"] == "none":
            return None
        layers = options["hype_layers"]
        return {**options, "hype_layers": layers and indices("--hype_layers", layers)}


class _Parser(LineParser, HfArgumentParser):
    def error(self, message):
        # argparse names each flag with its other spelling: argument --hype_eps/--hype-eps.
        raise InputError(re.sub(r"^argument (--\w+)\S*:", r"\1:", message))


def parser() -> HfArgumentParser:
    """Build the parser of `main.py`; flags cannot be abbreviated."""
    groups = (ModelArguments, DataArguments, HyPeArguments, TechniqueArguments, RunArguments)
    return _Parser(groups, prog="main.py", description="Fine-tune one model on one task with HyPe.")


def parse(argv: list[str]) -> Arguments:
    """Parse and check a command line.

    A first argument that ends in .json names a file with one object of flags; flags behind it override the file's.

    Raises:
        InputError: an unknown, removed or malformed flag, a value out of range, an unreadable file.
    """
    if argv and argv[0].endswith(".json"):
        argv = _argv_of_file(Path(argv[0])) + argv[1:]
    if unfit := [part for part in argv if part.encode("utf-8", "replace").decode() != part]:
        raise InputError(f"{unfit[0]!a}: not UTF-8, so that no record could hold it; rename it")
    command_line = parser()
    _, unknown = command_line.parse_known_args(argv)
    if unknown:
        raise InputError(_describe_unknown(unknown[0], command_line))
    try:
        arguments = Arguments(*command_line.parse_args_into_dataclasses(argv))
    except RunError:
        raise
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise InputError(" ".join(str(error).split())[:300]) from error
    _refuse_idle_flags(arguments.hype, argv)
    return arguments


def _refuse_idle_flags(hype: HyPeArguments, argv: list[str]) -> None:
    idle = hype.idle_flag()
    # A loop over kinds of noise gives the same flags to all of them, none too; left out, the kind was forgotten.
    is_none_asked = hype.hype_type == "none" and any(re.match(r"--hype[_-]type(=|$)", part) for part in argv)
    if idle and not is_none_asked:
        raise InputError(idle)
    if idle:
        logger.warning("%s", idle)


def _argv_of_file(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a JSON file of flags") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f'{path}: give one JSON object of flags, such as {{"task_name": "rte"}}')
    argv = []
    for name, value in content.items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        argv += [f"--{name}", *map(str, values)]
    return argv


def _describe_unknown(argument: str, command_line: HfArgumentParser) -> str:
    name = argument.split("=")[0]
    if not name.startswith("-"):
        return f"{argument}: a value without a flag before it"
    known = list(command_line._option_string_actions)
    if name.lstrip("-") in REMOVED_FLAGS:
        return f"{name}: transformers 5 dropped it; use {REMOVED_FLAGS[name.lstrip('-')]}"
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"{name}: no such flag" + (f"; did you mean {nearest[0]}?" if nearest else "; see --help")
