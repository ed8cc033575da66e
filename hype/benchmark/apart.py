"""A module run in a process of its own: for a peak of memory, or so that no run inherits what another one left."""

import os
import subprocess
import sys

from hype.errors import EnvironmentFault, InputError

# Ctrl-C reaches that process, too. It then ends without a traceback, and this one says in a line what that means.
QUIETLY = (
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def last_line_of(module: str, argv: list[str], **variables: str) -> str:
    """Return the last line that `python -m module argv` prints; its log goes to stderr.

    variables: of that process's environment, beside this one's.

    Raises:
        InputError, EnvironmentFault: that process failed, the former if it says that its input is wrong.
    """
    command = [sys.executable, "-c", QUIETLY, module, *argv]
    done = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        kind = InputError if done.returncode == InputError.exit_code else EnvironmentFault
        raise kind(f"{module} with {' '.join(argv)} ended with exit code {done.returncode}: see its log above")
    return done.stdout.splitlines()[-1]
