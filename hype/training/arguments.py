"""The flags of `main.py` as dataclasses, and their parser. docs/options.md is generated from the help texts."""

import argparse
import difflib
import functools
import json
import math
import os
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import torch
from transformers import HfArgumentParser, TrainingArguments

from hype.data.arguments import DataArguments
from hype.errors import InputError
from hype.flags import LineParser, flag, require
from hype.optimizers import TORCH_ADAMW
from hype.perturbation import HYPE_TYPES
from hype.techniques import TechniqueArguments
from hype.training.old_flags import REMOVED_FLAGS, current_flags


@dataclass
class ModelArguments:
    """Which pre-trained model to fine-tune, and how to load it."""

    model_name_or_path: str = flag("", "Local model folder, or name on the Hugging Face hub, such as roberta-large.")
    config_name: str | None = flag(None, "Configuration to load instead of the model's own (folder or hub name).")
    tokenizer_name: str | None = flag(None, "Tokenizer to load instead of the model's own (folder or hub name).")
    cache_dir: str | None = flag(None, "Where models and data from the hub are cached.")
    model_revision: str = flag("main", "Branch, tag or commit of a model on the hub.")
    token: str | None = flag(None, "Access token for private models on the hub; never recorded.")
    trust_remote_code: bool = flag(False, "Run code that comes with the model. If false, such models are refused.")
    allow_pickle_weights: bool = flag(
        False, "Load pytorch_model.bin if there is no safetensors file. Pickle files can execute arbitrary code."
    )
    ignore_mismatched_sizes: bool = flag(
        False, "Randomly initialise parameters that the checkpoint lacks or has in another shape, such as the head's."
    )
    checkpoint_dir: str | None = flag(
        None, "Folder or hub name of the weights to load instead of those of model_name_or_path."
    )
    label_order: str | None = flag(
        None,
        "Order of the labels in the checkpoint's head, such as contradiction,entailment,neutral, if its configuration "
        "does not name them. Default: the task's order.",
    )
    dropout_rate: float | None = flag(
        None,
        "Hidden dropout rate, as in the release: hidden_dropout_prob or the model's equivalent (for XLNet and T5 this "
        "includes attention dropout). Default: the checkpoint's rate.",
    )
    all_dropout_rate: float | None = flag(None, "Rate of every dropout: hidden, attention, pooler and head.")
    dtype: str = flag(
        "float32",
        "Dtype to load the weights in: float32, bfloat16, float16, or auto (the checkpoint's).",
        choices=("float32", "bfloat16", "float16", "auto"),
    )
    attn_implementation: str | None = flag(
        None,
        "Attention implementation: eager, sdpa, flash_attention_2, flash_attention_3 or flex_attention. "
        "flash_attention needs half precision, such as --bf16. Default: transformers' choice, usually sdpa.",
        # transformers would also accept the name of a kernel on the hub, and run its code.
        choices=("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
    )


@dataclass
class HyPeArguments:
    """Hidden representation perturbation, with the names of `hype.HyPe`'s arguments."""

    hype_type: str = flag(
        "none", "Noise on the layer inputs: normal (HyPe-N), uniform (HyPe-U) or none.", choices=(*HYPE_TYPES, "none")
    )
    hype_eps: float = flag(1e-5, "Scale of the noise, sigma in the paper: N(0, eps^2) or U(-eps, eps).")
    hype_uniform_support: str = flag(
        "symmetric",
        "Uniform noise: symmetric U(-eps, eps) as in the paper, or positive U(0, eps) as in the release.",
        choices=("symmetric", "positive"),
    )
    hype_top_layers: int | None = flag(None, "Noise only in the k layers nearest the head. Default or 0: all layers.")
    hype_low_layers: int | None = flag(
        None, "Noise only in the k layers nearest the input; with hype_top_layers, in both groups."
    )
    hype_intermediate: bool = flag(False, "Noise also after self-attention (the paper's appendix G).")
    hype_only_intermediate: bool = flag(False, "Noise only after self-attention.")
    hype_layers_path: str | None = flag(None, "Attribute path of the list of layers, if the model is not recognised.")
    hype_stream: str = flag(
        "own",
        "Random stream of the noise: own (a function of seed, rank and step) or global (torch's generator).",
        choices=("own", "global"),
    )
    allow_vanishing_noise: bool = flag(False, "Train even if half precision rounds most of the noise away.")


@dataclass
class RunArguments(TrainingArguments):
    """transformers' TrainingArguments, plus flags that version 5 dropped or lacks."""

    output_dir: str | None = flag(None, "Folder for the outputs of the run: model, run.json, metrics and predictions.")
    per_device_eval_batch_size: int = flag(32, "Batch size per device for evaluation and prediction.")
    warmup_ratio: float | None = flag(None, "Share of all steps used for warmup, below 1.")
    overwrite_output_dir: bool = flag(False, "Delete the run in output_dir and start from scratch.")
    group_by_length: bool = flag(False, "Batch examples of similar length.")
    logging_dir: str | None = flag(None, "Folder for TensorBoard logs.")
    logging_steps: float | None = flag(
        None, "Steps between two logs of the loss, or, below 1, their share of all steps. Default: 50 logs in total."
    )
    optimizer_semantics: str = flag(
        "torch", "AdamW implementation: torch, or release (as in transformers 4.7).", choices=("torch", "release")
    )
    save_model: bool = flag(True, "Save the fine-tuned model in output_dir.")
    allow_changed: bool = flag(False, "Resume even if settings have changed; the record lists the changes.")
    logging_nan_inf_filter: bool = flag(False, "Must be false: true would hide NaN losses in the logs.")

    reported = None  # not a flag: settings of other groups, for reporters such as TensorBoard

    def to_dict(self) -> dict:
        """Return the flags, with `reported` for reporters such as TensorBoard."""
        return {**super().to_dict(), **(self.reported or {})}

    def __getstate__(self):
        # Trainer pickles its arguments into training_args.bin, where no token belongs.
        return {**self.__dict__, "hub_token": None}

    def __post_init__(self):
        if self.warmup_ratio is not None:
            self.warmup_steps = self.warmup_ratio  # transformers 5 reads a number below 1 as a share of all steps
        if self.group_by_length:
            self.train_sampling_strategy = "group_by_length"
        if self.logging_steps is None:
            self.logging_steps = 0.02  # 50 points in the loss curve, however short the training
            if self.eval_strategy == "steps":
                self.eval_steps = self.eval_steps or 500  # otherwise it would follow logging_steps
        if self.logging_dir is not None:
            os.environ["TENSORBOARD_LOGGING_DIR"] = self.logging_dir  # the only place where transformers 5 looks
        if not torch.accelerator.is_available():
            # Otherwise transformers ignores torchrun's processes on a machine without a GPU.
            self.use_cpu = True
            self.dataloader_pin_memory = False
        if self.tf32 is None and (self.torch_compile or self.torch_compile_backend or self.torch_compile_mode):
            self.tf32 = False  # transformers would enable it with torch.compile; it should be a separate choice
        super().__post_init__()
        if self.mixed_precision != "no" and not (self.bf16 or self.fp16):
            raise InputError(
                f"ACCELERATE_MIXED_PRECISION={self.mixed_precision} would not be recorded: pass --bf16 or --fp16, or "
                "unset it"
            )


@dataclass
class Arguments:
    """All arguments of one run."""

    model: ModelArguments
    data: DataArguments
    hype: HyPeArguments
    techniques: TechniqueArguments
    training: RunArguments

    def hype_options(self) -> dict | None:
        """Return the keyword arguments for `HyPe`, or None without noise."""
        return None if self.hype.hype_type == "none" else asdict(self.hype)


# Heading in --help and docs/options.md -> its flags, in the order shown.
GROUPS = {
    "HyPe": HyPeArguments,
    "Model": ModelArguments,
    "Data": DataArguments,
    "Compared techniques": TechniqueArguments,
    "Training": RunArguments,
}
# Python type in an error of argparse -> what to give.
KINDS_OF_VALUES = {"int": "a whole number", "float": "a number", "dict": "a JSON object"}


def described_flags() -> dict[str, list[tuple[str, str, str]]]:
    """Return the name, default and help text of every flag by group; the last group is transformers' own."""
    inherited = {f.name for f in fields(TrainingArguments)} - {"output_dir"}
    described = {title: [] for title in (*GROUPS, "TrainingArguments")}
    for title, group in GROUPS.items():
        for f in fields(group):
            is_unset = f.default in (None, "", MISSING) or f.default is False
            default = "" if is_unset else str(getattr(f.default, "value", f.default))
            place = "TrainingArguments" if group is RunArguments and f.name in inherited else title
            described[place].append((f.name, default, f.metadata.get("help", "")))
    return described


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
    ("warmup_ratio", "warmup_steps"),
    ("dropout_rate", "all_dropout_rate"),
    ("overwrite_output_dir", "resume_from_checkpoint"),
)
# Flags of transformers that must keep their defaults here -> why.
REFUSED_FLAGS = {
    "logging_nan_inf_filter": "it hides divergence",
    "prediction_loss_only": "scores are computed from the predictions",
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
        kinds = ("uniform",) if name == "hype_uniform_support" else HYPE_TYPES
        is_used = flags.hype_type in kinds
        require(is_used, f"--{name} has no effect here: it belongs to --hype_type {' or '.join(kinds)}")


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
