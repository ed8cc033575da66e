"""Print this interpreter's path if it satisfies a requirements file; else say what it lacks and exit with 1.

Before Python 3.10 the annotation of `main` is an error, which ends in 1, too.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def requirements(path: Path):
    """Yield the requirements of a file and of those it includes that hold for this interpreter."""
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
    """Yield each requirement that the installed packages do not meet. Nothing is imported to find out."""
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
    """Return what is lacking, or None."""
    # setup.sh keeps this file in an environment until it is complete for the first time.
    if (Path(sys.prefix) / ".incomplete").exists():
        return "a set-up that was not interrupted"
    try:
        return ", ".join(unmet(Path(path))) or None
    except ImportError:  # packaging comes with the requirements
        return "packaging"


if __name__ == "__main__":
    lacking = main(sys.argv[1])
    if lacking:
        sys.exit(f"{sys.executable} lacks {lacking}")
    print(sys.executable)
