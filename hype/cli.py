"""Fine-tune from the command line: flags to arguments, arguments to a run, the run's result to stdout."""

import contextlib
import gc
import logging
import os
import sys

from hype.errors import run_command


def main(argv: list[str]) -> int:
    """Run `main.py` with these flags and return the exit code (see `run_command`)."""
    return run_command(_finetune, argv)


def _finetune(argv):
    logging.getLogger("hype").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    gc.disable()  # imports make no garbage, and looking for it takes a seventh of their time
    try:
        from hype.training.arguments import parse

        arguments = parse(argv)  # before the imports below: --help and a wrong flag need none of them
        from hype.training.finetune import finetune, leave_process_group, summary

        gc.freeze()  # what is imported stays: Trainer, which collects at every start, need not look there
    finally:
        gc.enable()
    # Libraries print progress and metrics to stdout, which is for the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        record = finetune(arguments)
        leave_process_group()
    if record is not None:
        print(summary(record))
