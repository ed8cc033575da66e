"""run.json, the record of a run: what determines its result, and the result. The only source of all tables."""

import json
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers import PretrainedConfig

from hype.data.splits import Splits
from hype.errors import DivergedError, InputError
from hype.files import write_json
from hype.training.arguments import Arguments, ModelArguments
from hype.training.faults import is_environment
from hype.training.identity import identity, model_fingerprints, run_id, settings
from hype.training.machine import describe_machine

RECORD = "run.json"
SCHEMA = 2  # increased when the meaning of a field changes
# A record's status is running, interrupted (also by a full disk or the like), finished, failed or diverged.


def environment(record: dict) -> dict:
    """Return what must not change when a run is resumed, although it is not part of the identity."""
    return {
        "device": record["machine"]["device"]["type"],
        "world_size": record["machine"]["world_size"],
        "revision": record["model"]["revision"],
    }


def hub_revision(model: ModelArguments) -> str | None:
    """Return the commit of a model from the hub, as found in the cache; None for a folder."""
    name = model.model_name_or_path
    if Path(name).expanduser().is_dir():
        return None
    path = try_to_load_from_cache(name, "config.json", cache_dir=model.cache_dir, revision=model.model_revision)
    return Path(path).parent.name if isinstance(path, str) else None


def new_record(
    arguments: Arguments,
    splits: Splits,
    config: PretrainedConfig,
    label_names: list[str] | None,
    technique_names: list[str],
) -> dict:
    """Create the record of a run with all of its fields in order; None means not known (yet) or not applicable."""
    training = arguments.training
    fingerprints = model_fingerprints(arguments.model)
    fingerprints |= {f"data.{split}": digest for split, digest in splits.fingerprint.items()}
    of_run = identity(arguments, fingerprints)
    return {
        "schema": SCHEMA,
        "run_id": run_id(of_run),
        "status": None,
        "label": method_label(arguments, technique_names),
        "task": splits.task.name,
        "seed": training.seed,
        "sample": splits.sample_text,
        "settings": settings(arguments),
        "identity": of_run,
        "data": describe_data(splits),
        "model": {
            "name": arguments.model.model_name_or_path,
            "model_type": config.model_type,
            "revision": hub_revision(arguments.model),
            "fingerprint": fingerprints["model"],
            "parameter_count": None,
            "untrained": [],
            "weights_sha256": None,
        },
        "label_names": label_names,
        "dtype": None,
        "machine": describe_machine(training.device, training.world_size),
        "timings": {},
        **dict.fromkeys(("peak_memory_bytes", "steps")),
        "metrics": {},
        **dict.fromkeys(("score", "score_name", "majority_score", "remarks", "predictions", "submissions")),
        **dict.fromkeys(("noise", "techniques", "changed", "resumed_from", "error")),
    }


def provenance(record: dict) -> dict:
    """Return the part of a record that decides whether its run may be resumed; checkpoints store it, too."""
    names = ("identity", "changed", "resumed_from")
    return {**{name: record[name] for name in names}, "environment": environment(record)}


def describe_data(splits: Splits) -> dict:
    """Describe the data of a run: its source, content hashes, sizes, and notes on it."""
    return {
        "source": splits.source,
        "fingerprint": splits.fingerprint,
        "rows": splits.row_counts,
        "notes": splits.notes,
    }


def method_label(arguments: Arguments, technique_names: list[str]) -> str:
    """Return a readable name of the method, such as HyPe-N 1e-05 + R-Drop, dropout 0; evaluation if nothing trains."""
    hype, model, training = arguments.hype, arguments.model, arguments.training
    names = []
    if hype.hype_type != "none":
        names.append(f"HyPe-{hype.hype_type[0].upper()} {hype.hype_eps:g}")
    names += technique_names
    if training.neftune_noise_alpha:
        names.append(f"NEFTune {training.neftune_noise_alpha:g}")
    if training.label_smoothing_factor:
        names.append(f"label smoothing {training.label_smoothing_factor:g}")
    name = (" + ".join(names) or "vanilla") if training.do_train else "evaluation"
    dropout = model.dropout_rate if model.all_dropout_rate is None else model.all_dropout_rate
    return f"{name}, dropout {'of the checkpoint' if dropout is None else f'{dropout:g}'}"


@contextmanager
def recorded(record: dict, folder: Path | None):
    """Write the record to `folder`, with the status of the run in the block (None: not the first process)."""

    def write(**changes):
        record.update(changes)
        if folder is not None:
            write_json(folder / RECORD, record)

    write(status="running")
    try:
        yield
    except BaseException as error:
        is_interrupted = isinstance(error, KeyboardInterrupt | SystemExit) or is_environment(error)
        status = "diverged" if isinstance(error, DivergedError) else "interrupted" if is_interrupted else "failed"
        try:
            write(status=status, error=f"{type(error).__name__}: {error}")
        except RuntimeError:  # when a loader process dies, a signal handler of torch raises, too: once, anywhere
            write()
        raise
    write(status="finished")


class DamagedRecordError(InputError):
    """A record cannot be read: it is truncated, modified, or not the record of a run."""


def read_record(path: Path, remedy: str = "move it away, or pass --overwrite_output_dir") -> dict:
    """Read a run.json (or the record of an analysis).

    Args:
        remedy: what the error about a damaged file recommends.

    Raises:
        DamagedRecordError: it is not a record, or is incomplete.
        InputError: it is missing, or was written by another version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema, groups = record.get("schema", 1), (record["identity"], record.get("changed") or {})
        if not (isinstance(record["status"], str) and all(isinstance(group, dict) for group in groups)):
            raise ValueError("a field has the wrong type")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the folder of a run") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedRecordError(f"{path}: damaged, or not the record of a run; {remedy}") from None
    if schema != SCHEMA:
        raise InputError(
            f"{path}: written by another version of this project (schema {schema}; this version reads {SCHEMA}). Use "
            "that version, or choose another folder"
        )
    return record
