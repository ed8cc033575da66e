"""One fine-tuning run from the command line: parse, run, report, exit code (see hype/errors.py)."""

import contextlib
import gc
import logging
import os
import signal
import sys
import traceback

from hype.errors import RunError, print_error


def main(argv: list[str]) -> int:
    """Run `argv` and return the exit code. The result goes to stdout, the log to stderr."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("hype").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    shows_traceback = "--debug_traceback" in argv
    try:
        from hype.training.parsing import parse

        arguments = parse(argv)  # before the imports below: --help and a wrong flag need none of them
        shows_traceback = arguments.training.debug_traceback
        # Libraries print progress and metrics to stdout, which is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            from hype.training.finetune import finetune, leave_process_group, summary

            gc.freeze()  # what is imported stays: Trainer, who collects at every start, need not look there
            gc.enable()
            record = finetune(arguments)
            leave_process_group()
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on from the newest checkpoint, if any", file=sys.stderr)
        return 130
    except RunError as error:
        if shows_traceback:
            traceback.print_exc()
        return print_error(error)
    if record is None:
        return 0
    try:
        print(summary(record), flush=True)
    except OSError as error:  # of stdout, whose reader has gone, or its disk: the run is finished and written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: {error.strerror} (standard output); the run is finished", file=sys.stderr)
        return 128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else 4
    return 0


if __name__ == "__main__":
    gc.disable()  # imports make no garbage, and looking for it takes a seventh of their time
    sys.exit(main(sys.argv[1:]))
