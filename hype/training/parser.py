"""Parse and check the command line of `main.py`."""

import argparse
import difflib
import functools
import json
import math
import os
import re
from dataclasses import fields
from pathlib import Path

from transformers import HfArgumentParser

from hype.errors import InputError
from hype.flags import LineParser, require
from hype.optimizers import TORCH_ADAMW
from hype.perturbation import SAMPLERS
from hype.training.arguments import GROUPS, Arguments
from hype.training.old_flags import REMOVED_FLAGS, current_flags

# Python type in an error of argparse -> what to give.
KINDS_OF_VALUES = {"int": "a whole number", "float": "a number", "dict": "a JSON object"}


class _Parser(LineParser, HfArgumentParser):
    def error(self, message):
        # argparse prints both spellings of a flag: argument --hype_eps/--hype-eps.
        message = re.sub(r"^argument (--\w+)\S*:", r"\1:", message)
        message = re.sub(r"Truthy value expected: got (.*) but expected .*", r"'\1': give true or false", message)
        if unfit := re.search(r"invalid (\w+) value: (.*)", message):
            message = f"{message[: unfit.start()]}{unfit[2]}: give {KINDS_OF_VALUES.get(unfit[1], 'another value')}"
        raise InputError(message)


@functools.cache
def parser() -> HfArgumentParser:
    """Build the parser of `main.py`; flags cannot be abbreviated."""
    return _Parser(tuple(GROUPS.values()), add_help=False)


def parse(argv: list[str]) -> Arguments:
    """Parse and check a command line.

    If the first argument ends in .json, flags are read from that file (one JSON object); later flags override them.

    Raises:
        InputError: a flag is unknown, removed or malformed, a value is out of range, or a file cannot be read.
    """
    if argv and argv[0].endswith(".json"):
        argv = _argv_of_file(Path(argv[0])) + argv[1:]
    if unfit := [part for part in argv if part.encode("utf-8", "replace").decode() != part]:
        raise InputError(f"{unfit[0]!a}: not UTF-8, so it cannot be recorded; rename it")
    argv = current_flags(argv)
    flags, unknown = parser().parse_known_args(argv)
    if unknown:
        raise InputError(_describe_unknown(unknown[0]))
    _check_launcher()
    _check(flags, {part.partition("=")[0].lstrip("-").replace("-", "_") for part in argv if part.startswith("--")})
    try:
        return Arguments(
            **{
                group.name: group.type(**{f.name: getattr(flags, f.name) for f in fields(group.type) if f.init})
                for group in fields(Arguments)
            }
        )
    except json.JSONDecodeError as error:
        raise InputError(f"{error.doc}: not JSON ({error.msg})") from error
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise InputError(" ".join(str(error).split())) from error


# Valid values in words, their check, and the flags. transformers does not check most of them.
RANGES = (
    ("a number above 0", lambda x: 0 < x < math.inf, "num_train_epochs save_steps logging_steps eval_steps"),
    ("a finite number of at least 0", lambda x: 0 <= x < math.inf,
     "hype_eps learning_rate weight_decay adam_epsilon max_grad_norm dataloader_num_workers neftune_noise_alpha"),
    ("a number of at least 0 and below 1", lambda x: 0 <= x < 1,
     "dropout_rate all_dropout_rate adam_beta1 adam_beta2 label_smoothing_factor warmup_ratio"),
    ("a whole number of at least 1", lambda x: x >= 1,
     "per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps save_total_limit "
     "eval_accumulation_steps max_seq_length max_train_samples max_eval_samples max_predict_samples"),
    ("a whole number of at least 1, or -1 for no limit", lambda x: x == -1 or x >= 1, "max_steps"),
    ("a whole number of steps, or a share of all steps below 1",
     lambda x: x >= 0 and (x < 1 or float(x).is_integer()), "warmup_steps"),
    ("a whole number from 0 to 2 ** 32 - 1", lambda x: 0 <= x < 2**32, "seed data_seed"),  # numpy's limit
)  # fmt: skip
EXCLUSIVE = (
    ("dropout_rate", "all_dropout_rate"),
    ("overwrite_output_dir", "resume_from_checkpoint"),
)
# Flags of transformers that must keep their defaults here -> why.
REFUSED_FLAGS = {
    "logging_nan_inf_filter": "it hides divergence",
    "prediction_loss_only": "scores are computed from the predictions",
    "auto_find_batch_size": "the batch size would not be the recorded one",
    "eval_do_concat_batches": "scores are computed on the whole set",
    "batch_eval_metrics": "scores are computed on the whole set",
    "enable_jit_checkpoint": "runs already save a checkpoint on a signal",
    "fsdp": "it replaces the parameters on which techniques and checkpoints rely",
    "deepspeed": "it replaces the parameters on which techniques and checkpoints rely",
    "label_names": "an example has one label; --label_column names its column in your own files",
}


def _check(flags: argparse.Namespace, given: set[str]) -> None:
    """Refuse flags that are missing, out of range, contradictory or without effect.

    Args:
        given: the names of the flags on the command line.
    """
    require(flags.model_name_or_path, "--model_name_or_path is missing: give a model folder or a hub name")
    require(flags.output_dir, "--output_dir is missing: give a folder for the run")
    for what, is_fit, names in RANGES:
        for name in names.split():
            value = getattr(flags, name)
            require(value is None or is_fit(value), f"--{name} {value}: give {what}")
    defaults = vars(parser().parse_args([]))
    changed = {name for name, value in vars(flags).items() if value != defaults[name]}
    for pair in EXCLUSIVE:
        require(not changed.issuperset(pair), f"--{' and --'.join(pair)} exclude each other: give one")
    for name in changed & REFUSED_FLAGS.keys():
        raise InputError(f"--{name} {getattr(flags, name)}: {REFUSED_FLAGS[name]}; leave the flag out")
    require(
        flags.optimizer_semantics == "torch" or flags.optim in TORCH_ADAMW,
        f"--optim {flags.optim} and --optimizer_semantics release exclude each other: give one",
    )
    if flags.load_best_model_at_end and flags.save_strategy != "best":
        require(
            flags.eval_strategy == flags.save_strategy != "no",
            f"--load_best_model_at_end needs --eval_strategy and --save_strategy to be both steps or both epoch; "
            f"they are {flags.eval_strategy} and {flags.save_strategy}",
        )
    if flags.report_to not in ("none", "all"):
        from transformers.integrations import get_available_reporting_integrations

        known = get_available_reporting_integrations()
        require(
            flags.report_to in known,
            f"--report_to {flags.report_to}: unknown or not installed; install its package, or give "
            f"{', '.join(['none', *known])}",
        )
    if flags.dtype == "float32" and not (flags.bf16 or flags.fp16):
        attention = str(flags.attn_implementation)
        require("flash" not in attention, f"--attn_implementation {attention} needs half precision: also pass --bf16")
    if "hype_type" in given and flags.hype_type == "none":
        return  # so that a loop over noise types can pass the same flags to each
    for name in sorted(name for name in given if name.startswith("hype_") and name != "hype_type"):
        kinds = " or ".join(SAMPLERS)
        require(flags.hype_type != "none", f"--{name} has no effect here: it belongs to --hype_type {kinds}")


def _check_launcher() -> None:
    """Refuse incomplete torchrun variables: the run would fail or wait for processes that never start."""
    names = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    given = [name for name in names if name in os.environ]
    is_distributed = os.environ.get("LOCAL_RANK", "-1") != "-1" or os.environ.get("WORLD_SIZE", "1") != "1"
    if is_distributed and len(given) < len(names):
        missing = ", ".join(name for name in names if name not in given)
        raise InputError(
            f"the environment has {given[0]}={os.environ[given[0]]} but no {missing}: unset {' '.join(given)}, or "
            "start several processes with torchrun"
        )


def _argv_of_file(path: Path) -> list[str]:
    try:
        flags = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(flags, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"not JSON ({error})"
        raise InputError(f'{path}: {reason}; give one JSON object of flags, such as {{"task_name": "rte"}}') from None
    argv = []
    for name, value in flags.items():
        if value is not None:
            values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
            argv += [f"--{name}", *map(str, values)]
    return argv


def _describe_unknown(argument: str) -> str:
    flag_name = argument.partition("=")[0]
    if not flag_name.startswith("-"):
        return f"{argument}: a value without a flag before it"
    name = flag_name.lstrip("-").replace("-", "_")
    if name in REMOVED_FLAGS:
        return f"{flag_name}: {REMOVED_FLAGS[name]}"
    known = [f"--{f.name}" for group in GROUPS.values() for f in fields(group)]
    nearest = difflib.get_close_matches(f"--{name}", known, n=1, cutoff=0.75)
    return f"{flag_name}: no such flag; " + (f"did you mean {nearest[0]}?" if nearest else "see --help")
