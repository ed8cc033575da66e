"""What all command lines except main.py share: one-line errors, no abbreviated flags."""

import pytest

from hype import compare
from hype.analysis import __main__ as analysis
from hype.benchmark import __main__ as benchmark
from hype.errors import InputError, run_command
from hype.flags import LineParser, positive
from hype.reproduction import __main__ as reproduction


@pytest.mark.parametrize("command", [analysis, benchmark, compare, reproduction], ids=lambda m: m.__name__)
def test_a_wrong_flag_is_one_line_and_2(command, capsys):
    assert run_command(command.main, ["--no_such_flag"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1


def test_flags_cannot_be_abbreviated_and_small_negative_numbers_are_values():
    parser = LineParser(prog="p")
    parser.add_argument("--number", type=float)
    assert parser.parse_args(["--number", "-1e-5"]).number == -1e-5
    with pytest.raises(InputError, match="unrecognized arguments: --num"):
        parser.parse_args(["--num", "1"])


def test_a_count_is_a_whole_number_of_at_least_1():
    parser = LineParser(prog="p")
    parser.add_argument("--count", type=positive)
    assert parser.parse_args(["--count", "3"]).count == 3
    for text in ("0", "-1", "1.5", "many"):
        with pytest.raises(InputError, match=f"^--count: {text}: give a whole number of at least 1$"):
            parser.parse_args(["--count", text])
