"""Additions to argparse for all command lines of the project. Nothing slow is imported here."""

import argparse
import math
import os
import re
from dataclasses import field

from hype.errors import InputError

# For a parser's `_negative_number_matcher`: argparse itself would take -1e-5 for a flag.
NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")


def flag(default, help_text, **options):
    """Declare a dataclass field that becomes a command-line flag; `options`, such as choices, go to argparse."""
    return field(default=default, metadata={"help": help_text, **options})


def require(condition: bool, message: str) -> None:
    """Raise InputError with `message` unless `condition` holds."""
    if not condition:
        raise InputError(message)


class LineParser(argparse.ArgumentParser):
    """An argument parser without abbreviated flags, whose errors are one-line `InputError`s without the usage.

    It expands the home folder where the shell does not, as in --data_dir=~/glue.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self._negative_number_matcher = NEGATIVE_NUMBER

    def parse_known_args(self, args, namespace=None):
        expanded = [re.sub(r"^(--[\w-]+=|)(~\w*/)", lambda m: m[1] + os.path.expanduser(m[2]), part) for part in args]
        return super().parse_known_args(expanded, namespace)

    def error(self, message):
        raise InputError(message.removeprefix("argument "))


def number(low: float, high: float, wanted: str, kind: type = float):
    """Return an argparse type for numbers from `low` (inclusive) to `high` (exclusive), `wanted` in words."""

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if low <= value < high:
            return value
        raise argparse.ArgumentTypeError(f"{text}: give {wanted}")

    return read


positive = number(1, math.inf, "a whole number of at least 1", int)
