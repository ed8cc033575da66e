"""Print this interpreter's path if it satisfies a requirements file; else report what is missing and exit with 1.

Before Python 3.10 the annotation of `main` is an error, which also exits with 1.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def requirements(path: Path):
    """Yield the requirements of a file, and of those it includes, that apply to this interpreter."""
    from packaging.requirements import Requirement

    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r"):
            yield from requirements(path.parent / line[2:].strip())
        elif line:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement


def unmet(path: Path):
    """Yield each requirement that the installed packages do not meet, without importing them."""
    for requirement in requirements(path):
        try:
            package = distribution(requirement.name)
            # pip writes this file last: without it an installation was interrupted.
            found = package.version if package.read_text("RECORD") else "none"
        except PackageNotFoundError:
            found = "none"
        if found == "none" or not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement} (found {found})"


def main(path: str) -> str | None:
    """Return what is missing, or None."""
    # setup.sh keeps this file in an environment until its first installation is complete.
    if (Path(sys.prefix) / ".incomplete").exists():
        return "a complete installation"
    try:
        return ", ".join(unmet(Path(path))) or None
    except ImportError:  # packaging comes with the requirements
        return "packaging"


if __name__ == "__main__":
    lacking = main(sys.argv[1])
    if lacking:
        sys.exit(f"{sys.executable} lacks {lacking}")
    print(sys.executable)
