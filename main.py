"""One fine-tuning run from the command line: parse, run, report, exit code (see hype/errors.py)."""

import contextlib
import gc
import logging
import os
import sys
import traceback


def main(argv: list[str]) -> int:
    """Run `argv` and return the exit code. The result goes to stdout, the log to stderr."""
    from hype.errors import RunError, said
    from hype.parsing import parse

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("hype").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    shows_traceback = "--debug_traceback" in argv
    try:
        arguments = parse(argv)  # before the imports below: --help and a wrong flag need none of them
        shows_traceback = arguments.training.debug_traceback
        # Libraries print progress and metrics to stdout, which is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            from hype.run import leave_process_group, run, summary

            gc.freeze()  # what is imported stays: Trainer, who collects at every start, need not look there
            gc.enable()
            record = run(arguments)
            leave_process_group()
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on from the newest checkpoint, if any", file=sys.stderr)
        return 130
    except RunError as error:
        if shows_traceback:
            traceback.print_exc()
        return said(error)
    if record is not None:
        print(summary(record))
    return 0


if __name__ == "__main__":
    gc.disable()  # imports make no garbage, and looking for it takes a seventh of their time
    sys.exit(main(sys.argv[1:]))
