"""What a run's model and data hold, by hash: a run is named by them, not by the places where they lie."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hype.data.tasks import task_files
from hype.errors import InputError
from hype.files import joint_sha256, model_sha256, tokenizer_sha256

TRAINED_ON = ("train", "validation", "validation_mismatched")
PREDICTED = ("test", "test_mismatched")


@dataclass(frozen=True)
class Fingerprints:
    """The model and the data that a study is made with, so that its records are found where neither is at hand.

    model, tokenizer: hashes; layer_count: of the model; data: task -> hash; "advglue": of AdvGLUE's file.
    """

    model: str
    tokenizer: str
    layer_count: int
    data: dict[str, str]

    def model_of(self, name: str) -> str:
        """Return the hash of the study's model.

        Raises:
            InputError: `name` is the folder of another one.
        """
        return self._same(self.model, model_fingerprint(name), name) if Path(name).expanduser().is_dir() else self.model

    def tokenizer_of(self, name: str) -> str:
        """Return the hash of the tokenizer of the study's model; errors as in `model_of`."""
        is_here = Path(name).expanduser().is_dir()
        return self._same(self.tokenizer, tokenizer_fingerprint(name), name) if is_here else self.tokenizer

    def data_of(self, folder: str, task: str) -> str:
        """Return the hash of a task's files.

        Raises:
            InputError: `folder` holds others, or the study has no such task.
        """
        if task not in self.data:
            raise InputError(f"{task}: the study has no data of this task; it has {', '.join(self.data)}")
        found = data_fingerprint(folder, task) if Path(folder).is_dir() else self.data[task]
        return self._same(self.data[task], found, f"{folder}, {task}")

    def file_of(self, path: str) -> str:
        """Return the hash of AdvGLUE's file; errors as in `data_of`."""
        found = file_fingerprint(path) if Path(path).is_file() else self.data["advglue"]
        return self._same(self.data["advglue"], found, path)

    @staticmethod
    def _same(known: str, found: str, place: str) -> str:
        if found != known:
            raise InputError(
                f"{place}: not what the study was made with (sha256 {found[:12]}, not {known[:12]}); "
                "reproduce its experiments one by one instead"
            )
        return known


@cache
def model_fingerprint(name: str) -> str:
    """Hash the weights and the configuration of a model folder; a hub name stands for itself."""
    folder = Path(name).expanduser()
    return model_sha256(folder) if folder.is_dir() else name


@cache
def tokenizer_fingerprint(name: str) -> str:
    """Hash the tokenizer in a model folder; a hub name stands for itself."""
    folder = Path(name).expanduser()
    return tokenizer_sha256(folder) if folder.is_dir() else name


@cache
def data_fingerprint(folder: str | None, task: str, splits: tuple[str, ...] = TRAINED_ON) -> str:
    """Hash the files of a task that a run trains on or evaluates; without a folder the data is the hub's."""
    if folder is None:
        return "hub"
    paths = [Path(folder) / path for path in task_files(task, splits)]
    return joint_sha256([path for path in paths if path.is_file()])


@cache
def file_fingerprint(path: str | None) -> str:
    """Hash one file; without one the data is the hub's. An absent one has the hash of nothing: reading it tells."""
    return "hub" if path is None else joint_sha256([Path(path)] if Path(path).is_file() else [])


@cache
def layer_count(model: str) -> int | None:
    """Read how many layers a model folder has; None for a hub name."""
    path = Path(model).expanduser() / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("num_hidden_layers")
    except (OSError, ValueError):
        return None
