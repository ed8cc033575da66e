"""The command line of fine-tuning: parse the flags, run, and print the result to stdout."""

import contextlib
import gc
import logging
import os
import shutil
import sys
import textwrap

import hype
from hype.errors import run_command

USAGE = (
    "usage: python main.py [FLAGS.json] --model_name_or_path MODEL --task_name TASK --output_dir DIR [--flag value ...]"
)
# The flags of transformers' TrainingArguments that --help mentions; --help_all describes all of them.
COMMON_FLAGS = (
    "do_train", "do_eval", "do_predict", "learning_rate", "num_train_epochs", "max_steps", "warmup_steps",
    "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "weight_decay",
    "adam_beta2", "adam_epsilon", "seed", "eval_strategy", "eval_steps", "save_strategy", "save_steps",
    "save_total_limit", "load_best_model_at_end", "logging_steps", "report_to", "bf16", "tf32", "torch_compile",
    "resume_from_checkpoint", "use_cpu",
)  # fmt: skip
NAME_WIDTH = 36


def main(argv: list[str] | None = None) -> int:
    """Run `main.py` with these flags (default: sys.argv) and return the exit code (see `run_command`)."""
    return run_command(_finetune, sys.argv[1:] if argv is None else argv)


def _finetune(argv):
    logging.getLogger("hype").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    if "--version" in argv:
        print(f"hype {hype.__version__}")
        return
    gc.disable()  # imports create no garbage, and looking for it takes a seventh of their time
    try:
        from hype.training.parser import parse

        if {"-h", "--help", "--help_all"} & set(argv):
            print(help_text("--help_all" in argv))
            return
        arguments = parse(argv)  # before the slow imports below: a wrong flag is reported at once
        from hype.training.finetune import finetune
        from hype.training.machine import leave_process_group
        from hype.training.summary import summary
    finally:
        gc.freeze()  # imported objects stay, so Trainer's gc.collect() at every start can skip them
        gc.enable()
    # Libraries print progress and metrics to stdout, which is reserved for the result.
    with contextlib.redirect_stdout(sys.stderr):
        record = finetune(arguments)
        leave_process_group()
    if record is not None:
        print(summary(record))


def help_text(has_all: bool = False) -> str:
    """Return the help of main.py: our flags in groups, and all of transformers' if `has_all`."""
    from hype.training.arguments import described_flags

    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    lines = [USAGE, "", "Fine-tune a model on a task, with or without HyPe. FLAGS.json is one JSON object of flags."]
    *groups, (_, theirs) = described_flags().items()
    if has_all:
        groups.append(("Training, from transformers' TrainingArguments", theirs))
    for title, flags in groups:
        lines += ["", f"{title}:", *(line for flag in flags for line in _flag_lines(*flag, width))]
    if not has_all:
        defaults = {name: default for name, default, _ in theirs}
        common = ", ".join(f"--{name} {defaults[name]}".rstrip() for name in COMMON_FLAGS)
        text = f"Every flag of transformers' TrainingArguments works as well (--help_all), such as {common}."
        lines += ["", *textwrap.wrap(text, width, break_on_hyphens=False)]
    return "\n".join(lines)


def _flag_lines(name, default, text, width):
    head = f"  --{name} {default} ".ljust(NAME_WIDTH)
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=" " * NAME_WIDTH, break_on_hyphens=False
    ) or [head]  # some of transformers' flags have no help text
