"""The errors that end a run with one line and an exit code; everything else is a bug and shows its traceback."""

import sys
from contextlib import contextmanager

LONGEST = 1000


class RunError(Exception):
    """Base of all errors that the command line reports as one line on stderr, ending with `exit_code`."""

    exit_code = 1

    def __str__(self):
        # One line of bearable length, whatever stood in the file or the name that it quotes.
        line = "".join(c if c.isprintable() else " " for c in super().__str__())
        return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


class InputError(RunError, ValueError):
    """The input is wrong: a flag, a file, a model, a checkpoint. The message names it, the place and the remedy."""

    exit_code = 2


class DivergedError(RunError, ArithmeticError):
    """Training met a loss or gradient that is not finite."""

    exit_code = 3


class EnvironmentFault(RunError, OSError):  # noqa: N818 (the built-in EnvironmentError is another class)
    """The disk, the hub or a device failed; the same command may work later."""

    exit_code = 4


class LockedError(RunError):
    """Another live process holds the output folder."""

    exit_code = 6


def print_error(error: RunError) -> int:
    """Print the line of an error to stderr, and return its exit code: what every command line does with it."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


@contextmanager
def as_input_error(what: str):
    """Raise InputError, which names `what`, for the errors by which a library refuses a value or misses a package."""
    try:
        yield
    except RunError:
        raise
    except (ValueError, TypeError, KeyError, ImportError, AssertionError) as error:
        raise InputError(f"{what}: {' '.join(str(error).split())[:300]}") from error
