"""The flags of `main.py` as dataclasses. docs/options.md is generated from the help texts."""

import os
from dataclasses import MISSING, asdict, dataclass, fields

import torch
from transformers import TrainingArguments

from hype.data.arguments import DataArguments
from hype.errors import InputError
from hype.flags import flag
from hype.perturbation import SAMPLERS
from hype.techniques import TechniqueArguments


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
        "none",
        "Noise on the layer inputs: normal (HyPe-N), uniform (HyPe-U), uniform_positive (U(0, eps), as in the release) "
        "or none.",
        choices=(*SAMPLERS, "none"),
    )
    hype_eps: float = flag(1e-5, "Scale of the noise, sigma in the paper: N(0, eps^2) or U(-eps, eps).")
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
    warmup_ratio: float | None = flag(None, "Share of all steps used for warmup, below 1; --warmup_steps overrides it.")
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
        if self.warmup_ratio is not None and not self.warmup_steps:  # as in the release's transformers
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
        if self.torch_compile or self.torch_compile_backend or self.torch_compile_mode:
            from torch._inductor import config as inductor

            # Inductor's own dropout masks would differ between runs with and without noise.
            inductor.fallback_random = True
            if self.tf32 is None:
                self.tf32 = False  # transformers would enable it, too; it should be a separate choice
        for name in ("ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"):
            if os.environ.get(name, "no").lower() not in ("", "0", "false", "no"):
                raise InputError(f"{name}={os.environ[name]} would not be recorded: unset it")
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
