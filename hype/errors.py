"""Errors that end a command with one line and an exit code; any other exception is a bug and shows its traceback."""

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager

MAX_LENGTH = 1000
INTERRUPTED = "error: interrupted; run the same command again to continue"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class RunError(Exception):
    """Base class of all errors that a command reports as one line on stderr before it exits with `exit_code`."""

    exit_code = 1

    def __str__(self):
        # One line of reasonable length, whatever the quoted file or name contains.
        line = "".join(c if c.isprintable() else " " for c in super().__str__())
        return line if len(line) <= MAX_LENGTH else f"{line[: MAX_LENGTH // 2]} ... {line[-MAX_LENGTH // 2 :]}"


class InputError(RunError, ValueError):
    """The input is wrong: a flag, file, model or checkpoint. The message says what is wrong, where, and the remedy."""

    exit_code = 2


class DivergedError(RunError, ArithmeticError):
    """Training produced a loss or gradient that is not finite."""

    exit_code = 3


class EnvironmentFault(RunError, OSError):  # noqa: N818 (the built-in EnvironmentError is another class)
    """The disk, the hub or a device failed; the same command may work later."""

    exit_code = 4


class LockedError(RunError):
    """Another running process has locked the output folder."""

    exit_code = 6


def print_error(error: RunError) -> int:
    """Print an error as one line on stderr and return its exit code."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def run_command(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Run one of the project's commands and return its exit code.

    0: success. 1: returned by `main` (or, with a traceback, a bug). 2: wrong input. 3: training diverged. 4: a fault of
    the environment, such as a full disk. 6: locked folder. 130, 143: SIGINT, SIGTERM. 141: broken pipe.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for paths that the terminal cannot encode
    try:
        try:
            exit_code = main(argv) or 0
        except SystemExit as end:  # --help, or SIGTERM
            exit_code = end.code or 0
            if exit_code == 128 + signal.SIGTERM:
                print(INTERRUPTED, file=sys.stderr)
        if sys.stdout is not None:  # None if started with >&-
            sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 128 + signal.SIGINT
    except RunError as error:
        return print_error(error)
    except ModuleNotFoundError as error:
        package = (error.name or "hype").partition(".")[0]
        if package == "hype":  # our own module: a bug
            raise
        remedy = "pip install '.[reproduction]' in the project's folder installs everything"
        return print_error(InputError(f"the package {package} is not installed; {remedy}"))
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and error.errno not in DISK_FULL:
            raise
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again
        if isinstance(error, BrokenPipeError):  # the reader has closed the pipe, as `| head` does
            return 128 + signal.SIGPIPE
        where = error.filename or "standard output"
        return print_error(EnvironmentFault(f"{where}: {error.strerror}; free some space; finished work is kept"))


@contextmanager
def as_input_error(what: str):
    """Turn a library's errors about invalid values or missing packages into an InputError about `what`."""
    try:
        yield
    except RunError:
        raise
    except (ValueError, TypeError, KeyError, ImportError, AssertionError) as error:
        raise InputError(f"{what}: {' '.join(str(error).split())[:300]}") from error
