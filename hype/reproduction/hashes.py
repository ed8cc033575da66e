"""Content hashes of runs' data and models: computed from the files or, for a study, those that it states."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from hype.analysis import adversarial
from hype.analysis.record import Options
from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.errors import InputError
from hype.reproduction.experiments import StudyModel
from hype.training.arguments import ModelArguments
from hype.training.identity import model_fingerprints

HUB, UNREADABLE = "hub", "unreadable"  # stand-in hashes for data that are not on this machine, or damaged
HASHED = ("model_name_or_path", "tokenizer_name", "config_name", "checkpoint_dir")  # identified by their content


@dataclass(frozen=True)
class Known:
    """Hashes of a study's model and data, so that its records can be found without either.

    data: name (see `data_name`) -> split -> hash.
    """

    model: StudyModel
    data: dict[str, dict[str, str]]


def _agreed(what: str, found: dict[str, str], stated: dict[str, str] | None) -> dict[str, str]:
    """Return the hashes that a study states or, without a study, those found.

    Raises:
        InputError: those found are not the study's.
    """
    for name, digest in found.items() if stated is not None else ():
        if stated.get(name) != digest:
            raise InputError(
                f"{what}, {name}: not what the study used (sha256 {digest[:12]}, expected "
                f"{stated.get(name, 'none')[:12]}); run its experiments one by one instead"
            )
    return found if stated is None else stated


def model_hashes(model: ModelArguments, known: Known | None) -> dict[str, str]:
    """Return the hashes of the model and its tokenizer."""
    names = {flag: getattr(model, flag) for flag in HASHED}
    if known is None:
        return _hashes_of_model(**names)
    stated = {"model": known.model.model, "tokenizer": known.model.tokenizer}
    name = model.model_name_or_path
    return _agreed(name, _hashes_of_model(**names) if Path(name).is_dir() else {}, stated)


@cache
def _hashes_of_model(**names: str | None) -> dict[str, str]:
    return model_fingerprints(ModelArguments(**names))


def examples_text(data: DataArguments) -> str:
    """Describe which training examples are used."""
    if data.low_resource:
        return f"random {min(1000, data.max_train_samples or 1000):,}"
    return f"first {data.max_train_samples:,}" if data.max_train_samples else "all"


def data_name(data: DataArguments) -> str:
    """Name the examples of a run: "cola", "cola, first 1000", "cola, random 1000", "cola, dev first 100"."""
    parts = [data.task_name, examples_text(data).replace(",", "").removeprefix("all")]
    return ", ".join(filter(None, [*parts, data.max_eval_samples and f"dev first {data.max_eval_samples}"]))


def data_hashes(data: DataArguments, splits: list[str], known: Known | None) -> dict[str, str]:
    """Return the hash of each of these splits that exists; for a study, those it states, even without the data."""
    is_here = data.data_dir is not None and Path(data.data_dir).is_dir()
    name, stated = data_name(data), None
    if known is not None:
        if name not in known.data:
            raise InputError(f"{name}: the study has no such data; it has {'; '.join(known.data)}")
        stated = {split: digest for split, digest in known.data[name].items() if split in splits}
    found = {} if known else dict.fromkeys(splits[:2], HUB)
    if is_here:
        found = _read_hashes(json.dumps(asdict(data)), tuple(stated or splits))
    return _agreed(f"{data.data_dir}, {name}", found, stated)


@cache
def _read_hashes(data: str, splits: tuple[str, ...]) -> dict[str, str]:
    try:
        return load_splits(DataArguments(**json.loads(data)), splits).fingerprint
    except InputError:  # the run will report the error; other tasks are not affected
        return dict.fromkeys(splits, UNREADABLE)


def adversarial_hash(target: str, path: str | None, limit: int | None, known: Known | None) -> str:
    """Return the hash of the first `limit` examples of a set of AdvGLUE in the file at `path`."""
    found = {} if known else {"validation": HUB}
    if path is not None and Path(path).is_file():
        found = _hashes_of_adversarial(path, target, limit)
    return _agreed(str(path), found, known and known.data[f"advglue {target}"])["validation"]


@cache
def _hashes_of_adversarial(path: str, target: str, limit: int | None) -> dict[str, str]:
    splits, _ = adversarial.read(target, Options(adv_file=path, max_eval_samples=limit))
    return splits.fingerprint
