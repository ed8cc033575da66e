"""However a command ends, it gives an exit code and at most one line of error."""

import os
import subprocess
import sys

import pytest

from hype.errors import DivergedError, EnvironmentFault, InputError, LockedError, run_command


@pytest.mark.parametrize(
    ("error", "exit_code"), [(InputError, 2), (DivergedError, 3), (EnvironmentFault, 4), (LockedError, 6)]
)
def test_an_error_is_one_line_of_bearable_length_and_its_exit_code(error, exit_code, capsys):
    def fail(argv):
        raise error(f"--flag {argv[0]}: not\nso {'x' * 5000}")

    assert run_command(fail, ["7"]) == exit_code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: --flag 7: not so x") and err.count("\n") == 1 and len(err) < 1100


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_ctrl_c_and_sigterm_end_with_their_code_and_say_how_to_continue(capsys, error, code):
    def interrupt(argv):
        raise error

    assert run_command(interrupt, []) == code
    assert "same command" in capsys.readouterr().err


def test_what_a_command_returns_and_where_it_exits_are_exit_codes():
    assert run_command(lambda argv: None, []) == 0
    assert run_command(lambda argv: 1, []) == 1
    assert run_command(lambda argv: sys.exit(2), []) == 2


def test_a_bug_keeps_its_traceback():
    with pytest.raises(FileNotFoundError):
        run_command(lambda argv: os.stat("/no/such/file"), [])


def test_a_package_that_is_not_installed_is_named_with_the_extra(capsys):
    def need(argv):
        import no_such_package.part  # noqa: F401

    assert run_command(need, []) == 2
    assert "no_such_package is not installed; pip install '.[reproduction]'" in capsys.readouterr().err


def start(body: str, **options) -> subprocess.Popen:
    """Start a command whose main function evaluates this expression."""
    code = f"import sys; from hype import errors; sys.exit(errors.run_command(lambda argv: {body}, []))"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("body", ["print('x')", "print('x' * 100_000)"])
def test_a_full_disk_behind_stdout_is_a_fault_of_the_environment(body):
    with open("/dev/full", "w") as full, start(body, stdout=full) as process:
        line = process.stderr.read()
    assert process.returncode == 4
    assert line.startswith("error: standard output: No space left") and line.count("\n") == 1


def test_a_reader_who_has_seen_enough_ends_it_without_a_word():
    with start("print('x' * 1_000_000)", stdout=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_terminal_that_lacks_a_letter_gets_its_escape(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with start("print('caf' + chr(233))", stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == "caf\\xe9\n"
    assert process.returncode == 0


def test_a_command_may_be_started_without_stdout():
    with start("print('x')", preexec_fn=lambda: os.close(1)) as process:
        assert process.stderr.read() == ""
    assert process.returncode == 0
