"""Every flag of `main.py`, as dataclasses, and their parser. The help texts here are the only description of them."""

import difflib
import functools
import json
import logging
import math
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from transformers import HfArgumentParser, TrainingArguments

from hype.data.arguments import DataArguments
from hype.errors import InputError, RunError
from hype.flags import LineParser, flag, indices, require
from hype.techniques import TechniqueArguments

logger = logging.getLogger(__name__)

# transformers takes the name of a kernel on the hub, too, and runs its code.
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


@dataclass
class ModelArguments:
    """Which pre-trained model to fine-tune, and how it is loaded."""

    model_name_or_path: str = flag("", "A local model folder, or a name on the Hugging Face hub (roberta-large).")
    config_name: str | None = flag(None, "Configuration to load instead of the model's own (folder or hub name).")
    tokenizer_name: str | None = flag(None, "Tokenizer to load instead of the model's own (folder or hub name).")
    cache_dir: str | None = flag(None, "Where models and data from the hub are cached.")
    model_revision: str = flag("main", "Branch, tag or commit of a model on the hub.")
    token: str | None = flag(None, "Access token for private models on the hub. Never recorded.")
    use_auth_token: bool = flag(False, "Released flag: use the token of `hf auth login`, as is done anyway.")
    use_fast_tokenizer: bool = flag(
        True, "Released flag; transformers 5 has one kind of tokenizer, so false is refused."
    )
    trust_remote_code: bool = flag(False, "Run code that comes with the model. Off: such a model is refused.")
    allow_pickle_weights: bool = flag(
        False, "Load pytorch_model.bin where there is no safetensors file: pickle, which has run its author's code."
    )
    ignore_mismatched_sizes: bool = flag(False, "Replace a classification head of another size by a new one.")
    allow_new_layers: bool = flag(False, "Train although the weights lack a part of the model's body: it is random.")
    checkpoint_dir: str | None = flag(None, "Released flag: load the weights from this folder instead of the model's.")
    dropout_rate: float | None = flag(
        None,
        "Hidden dropout, as in the release: hidden_dropout_prob, on other models their field of that kind (XLNet, T5: "
        "attention's, too); other dropouts stay. Unset: the checkpoint's.",
    )
    all_dropout_rate: float | None = flag(None, "Every dropout of the model: hidden, attention, pooler and head.")
    dtype: str = flag("float32", "Weights are loaded as float32, bfloat16, float16, or auto (the checkpoint's).")
    attn_implementation: str | None = flag(
        None,
        f"How attention is computed: {', '.join(ATTENTIONS)}. The noise is no part of it. flash_attention works in "
        "half precision: pass --bf16 with it. Unset: transformers' choice, mostly sdpa.",
    )

    def __post_init__(self):
        require(self.model_name_or_path != "", "--model_name_or_path is missing: give a model folder or a hub name")
        require(self.use_fast_tokenizer, "--use_fast_tokenizer false: transformers 5 has no slow tokenizers; drop it")
        require(
            self.dtype in ("float32", "bfloat16", "float16", "auto"),
            f"--dtype {self.dtype}: give float32, bfloat16, float16 or auto",
        )
        require(
            self.attn_implementation in (None, *ATTENTIONS),
            f"--attn_implementation {self.attn_implementation}: give {', '.join(ATTENTIONS)}",
        )
        for name in ("dropout_rate", "all_dropout_rate"):
            rate = getattr(self, name)
            require(rate is None or 0 <= rate < 1, f"--{name} {rate}: give a number from 0 to below 1")
        require(
            self.dropout_rate is None or self.all_dropout_rate is None,
            "--dropout_rate and --all_dropout_rate exclude each other: give one",
        )


@dataclass
class HyPeArguments:
    """Hidden representation perturbation. The names are those of `hype.HyPe`."""

    hype_type: str = flag("none", "Noise on the layer inputs: normal (HyPe-N), uniform (HyPe-U) or none.")
    hype_eps: float = flag(1e-5, "Scale of the noise, sigma in the paper: N(0, eps^2), U(-eps, eps).")
    hype_uniform_support: str = flag("symmetric", "uniform: symmetric U(-eps, eps), the paper; positive U(0, eps).")
    hype_top_layers: int | None = flag(None, "Noise in the k layers nearest the head; 0 or unset: no such limit.")
    hype_low_layers: int | None = flag(None, "Noise in the k layers nearest the input; with top: in both.")
    hype_layers: str | None = flag(None, "Noise in these layers alone, counted from 0: 0,1,5-7.")
    hype_intermediate: bool = flag(False, "Noise also after self-attention (appendix G).")
    hype_only_intermediate: bool = flag(False, "Noise after self-attention alone.")
    hype_layers_path: str | None = flag(None, "Attribute path of the layer list of a model that is not known.")
    hype_stream: str = flag("own", "Random numbers: own (seed, rank, step) or global (torch's generator).")
    allow_vanishing_noise: bool = flag(False, "Train although a half-precision dtype rounds most of the noise away.")

    def __post_init__(self):
        choices = {
            "hype_type": ("normal", "uniform", "none"),
            "hype_uniform_support": ("symmetric", "positive"),
            "hype_stream": ("own", "global"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            require(value in allowed, f"--{name} {value}: give {', '.join(allowed[:-1])} or {allowed[-1]}")
        require(
            math.isfinite(self.hype_eps) and self.hype_eps >= 0,
            f"--hype_eps {self.hype_eps}: give a finite number of at least 0, such as 1e-5",
        )
        if self.hype_layers is not None:
            indices("--hype_layers", self.hype_layers)

    def idle_flag(self) -> str | None:
        """Say that a flag is without effect under this hype_type, or return None if all have one."""
        for f in fields(self):
            kinds = ("uniform",) if f.name == "hype_uniform_support" else ("normal", "uniform")
            is_given = getattr(self, f.name) not in ((None, 0) if f.default is None else (f.default,))
            is_of_noise = f.name.startswith("hype_") and f.name != "hype_type"
            if is_of_noise and is_given and self.hype_type not in kinds:
                return f"--{f.name} is without effect here: it belongs to --hype_type {' or '.join(kinds)}"
        return None


# Flags of older transformers, and what says the same today. Those that scripts of the paper's time use most
# (warmup_ratio, overwrite_output_dir, group_by_length, logging_dir) are flags of RunArguments below.
REMOVED_FLAGS = {
    "evaluation_strategy": "--eval_strategy",
    "no_cuda": "--use_cpu",
    "use_mps_device": "nothing (MPS is used where it is found)",
    "per_gpu_train_batch_size": "--per_device_train_batch_size",
    "per_gpu_eval_batch_size": "--per_device_eval_batch_size",
    "fp16_backend": "--fp16",
    "half_precision_backend": "--fp16",
    "adafactor": "--optim adafactor",
    "save_safetensors": "nothing (always on)",
    "push_to_hub_token": "--hub_token",
    "include_inputs_for_metrics": "--include_for_metrics inputs",
    "past_index": "nothing",
    "use_legacy_prediction_loop": "nothing",
    "tpu_num_cores": "accelerate launch",
    "use_ipex": "nothing",
    "mp_parameters": "nothing",
    "ray_scope": "the variable RAY_SCOPE",
    "dispatch_batches": "--accelerator_config",
    "split_batches": "--accelerator_config",
    "torchdynamo": "--torch_compile_backend",
    "include_tokens_per_second": "nothing",
    "jit_mode_eval": "nothing",
}


GUIDED_SCHEDULES = ("reduce_lr_on_plateau", "greedy")  # learning rates that follow the evaluations

# Flags that transformers takes unchecked: the lowest value, and the one that all are below (None: no such limit).
RANGES = {
    **dict.fromkeys(
        ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"), (1, None)
    ),
    **dict.fromkeys(("save_total_limit", "eval_accumulation_steps"), (1, None)),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm"), (0, None)),
    **dict.fromkeys(("warmup_steps", "dataloader_num_workers", "neftune_noise_alpha"), (0, None)),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor", "warmup_ratio"), (0, 1)),
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32)),  # numpy's limit
}

# Flags of transformers that cannot be other than their default here, and why.
REFUSED_FLAGS = {
    "logging_nan_inf_filter": "it hides divergence",
    "prediction_loss_only": "scores are made from the predictions",
    "eval_do_concat_batches": "scores are of the whole set",
    "batch_eval_metrics": "scores are of the whole set",
    "enable_jit_checkpoint": "runs save a checkpoint on a signal by themselves",
    "label_names": "the model has one output to learn; --label_column names the column of an own file",
}


@dataclass
class RunArguments(TrainingArguments):
    """transformers' TrainingArguments and what its fifth version dropped or lacks."""

    output_dir: str | None = flag(None, "Folder of the run: model, run.json, metrics, predictions.")
    per_device_eval_batch_size: int = flag(32, "Examples of like length that are evaluated at once on each device.")
    warmup_ratio: float | None = flag(None, "Share of all steps that warm up, below 1; --warmup_steps takes it, too.")
    overwrite_output_dir: bool = flag(False, "Start anew in a folder that holds a run of ours; its files go.")
    group_by_length: bool = flag(False, "Batch examples of like length; --train_sampling_strategy group_by_length.")
    logging_dir: str | None = flag(None, "Folder of TensorBoard logs; the variable TENSORBOARD_LOGGING_DIR.")
    optimizer_semantics: str = flag("torch", "AdamW of torch, or release: the AdamW of transformers 4.7.")
    save_model: bool = flag(True, "Save the fine-tuned model in output_dir.")
    allow_changed: bool = flag(False, "Resume although settings changed; the record says which.")
    logging_nan_inf_filter: bool = flag(False, "Not to be switched on: it logs a loss of NaN as 0.")

    def __getstate__(self):
        # Trainer pickles its arguments into training_args.bin, beside the weights.
        return {**self.__dict__, "hub_token": None}

    def __post_init__(self):
        require(bool(self.output_dir), "--output_dir is missing: say where the run goes")
        self._check_ranges()
        if self.warmup_ratio is not None:
            require(not self.warmup_steps, "--warmup_ratio and --warmup_steps exclude each other: give one")
            # transformers 5 reads a warmup_steps in [0, 1) as a ratio.
            self.warmup_steps = self.warmup_ratio
        if self.group_by_length:
            self.train_sampling_strategy = "group_by_length"
        if self.logging_dir is not None:
            os.environ["TENSORBOARD_LOGGING_DIR"] = self.logging_dir  # all that transformers 5 reads
        if not torch.accelerator.is_available():
            # Said outright, since without it transformers does not see torchrun's processes on a machine without GPU.
            self.use_cpu = True
            self.dataloader_pin_memory = False
        if self.tf32 is None and (self.torch_compile or self.torch_compile_backend or self.torch_compile_mode):
            self.tf32 = False  # transformers would switch it on with the compiler; it is a choice of its own
        super().__post_init__()
        require(
            self.optimizer_semantics == "torch" or self.optim.startswith("adamw_torch"),
            f"--optim {self.optim.value} and --optimizer_semantics release exclude each other: give one",
        )

    def _check_ranges(self):
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            is_fit = value is None or (math.isfinite(float(value)) and low <= float(value) < (high or math.inf))
            limit = f"from {low} to below {high}" if high else f"of at least {low}"
            require(is_fit, f"--{name} {value}: give a finite number {limit}")
        for name in ("num_train_epochs", "save_steps", "logging_steps", "eval_steps"):
            value = getattr(self, name)
            is_fit = value is None or (math.isfinite(float(value)) and float(value) > 0)
            require(is_fit, f"--{name} {value}: give a finite number above 0")
        require(
            self.max_steps == -1 or self.max_steps >= 1,
            f"--max_steps {self.max_steps}: give at least 1, or -1 for none",
        )
        require(
            0 <= self.warmup_steps < 1 or float(self.warmup_steps).is_integer(),
            f"--warmup_steps {self.warmup_steps}: give a whole number of steps, or a share of all steps below 1",
        )
        require(
            self.optimizer_semantics in ("torch", "release"),
            f"--optimizer_semantics {self.optimizer_semantics}: give torch or release",
        )
        defaults = {f.name: f.default for f in fields(self)}
        for name, reason in REFUSED_FLAGS.items():
            value = getattr(self, name)
            require(value == defaults[name], f"--{name} {value}: {reason}; leave the flag out")
        self._check_reporting()

    def _check_reporting(self):
        names = [self.report_to] if isinstance(self.report_to, str) else self.report_to or []
        if set(names) <= {"none", "all"}:
            return
        from transformers.integrations import get_available_reporting_integrations

        available = get_available_reporting_integrations()
        missing = [name for name in names if name not in available]
        require(
            not missing, f"--report_to {missing and missing[0]}: not installed; give {', '.join(['none', *available])}"
        )


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
        if options["hype_type"] == "none":
            return None
        layers = options["hype_layers"]
        return {**options, "hype_layers": layers and indices("--hype_layers", layers)}


class _Parser(LineParser, HfArgumentParser):
    def error(self, message):
        # argparse names each flag with its other spelling: argument --hype_eps/--hype-eps.
        raise InputError(re.sub(r"^argument (--\w+)\S*:", r"\1:", message))


@functools.cache
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
