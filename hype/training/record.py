"""run.json, the record of a run: what determines its result, and the result. The only source of all tables."""

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers import PretrainedConfig

from hype.data.splits import Splits
from hype.errors import DivergedError, InputError
from hype.files import content_sha256, file_sha256, write_json
from hype.training.arguments import Arguments, ModelArguments, RunArguments
from hype.training.machine import describe_machine

RECORD = "run.json"
SCHEMA = 2  # increased when the meaning of a field changes
# A record's status is running, interrupted, finished, failed or diverged.

# Flag of the release -> flag of transformers for the same setting, which it sets.
ALIASES = {"warmup_ratio": "warmup_steps", "group_by_length": "train_sampling_strategy"}
# Flags that cannot change a result: where things are read, written, logged and shown, and in what batches. Models,
# tokenizers and data files are identified by their content instead.
NEUTRAL = {
    # models and data
    "allow_pickle_weights", "cache_dir", "checkpoint_dir", "config_name", "data_dir", "delimiter", "encoding",
    "model_name_or_path", "overwrite_cache", "test_file", "tokenizer_name", "train_file", "trust_remote_code",
    "validation_file",
    # evaluation, logging, saving
    "disable_tqdm", "do_eval", "eval_accumulation_steps", "eval_delay", "eval_on_start", "eval_steps", "eval_strategy",
    "include_for_metrics", "include_num_input_tokens_seen", "log_level", "log_level_replica", "log_on_each_node",
    "logging_dir", "logging_first_step", "logging_steps", "logging_strategy", "output_dir", "overwrite_output_dir",
    "per_device_eval_batch_size", "project", "push_to_hub", "report_to", "resume_from_checkpoint", "run_name",
    "save_model", "save_on_each_node", "save_only_model", "save_steps", "save_strategy", "save_total_limit",
    # the machine
    "dataloader_num_workers", "dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_prefetch_factor",
    "ddp_timeout", "local_rank", "parallelism_config", "skip_memory_metrics", "torch_empty_cache_steps", "use_cpu",
    # permissions and reports
    "allow_changed", "allow_vanishing_noise",
}  # fmt: skip
NEUTRAL_PREFIXES = ("hub_", "trackio_")
SECRETS = ("token", "hub_token")
# Files to hash in a model's folder, and for its tokenizer, of whatever kind.
MODEL_FILES = ("config.json", "*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model",
)  # fmt: skip


def _flags(group) -> dict:
    return group.to_dict() if isinstance(group, RunArguments) else asdict(group)


@cache
def _defaults(group: type) -> dict:
    if group is RunArguments:  # transformers derives some defaults from others
        return RunArguments(output_dir="unset").to_dict()
    return {field.name: field.default for field in fields(group)}


def settings(arguments: Arguments) -> dict:
    """Return every flag that differs from its default, without secrets."""
    found = {}
    for group in vars(arguments).values():
        defaults = _defaults(type(group))
        found |= {name: value for name, value in _flags(group).items() if value != defaults.get(name, value)}
    found["output_dir"] = arguments.training.output_dir
    found = {name: value for name, value in found.items() if name not in (*SECRETS, *ALIASES)}
    return json.loads(json.dumps(found, default=str))


def identity(arguments: Arguments, fingerprints: dict[str, str]) -> dict:
    """Collect what determines the result of a run: settings that differ from their defaults, and content hashes.

    Device, number of processes and paths are not part of it (see `environment`).

    Args:
        fingerprints: content hashes: "model" and "tokenizer" (see `model_fingerprints`), and "data.train" and so on
            for each split that is read.
    """
    training, kept = arguments.training, set()
    # Evaluation may decide which weights are kept, or the learning rate.
    if training.load_best_model_at_end or training.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
        kept |= {"eval_delay", "eval_steps", "eval_strategy"}
    if training.load_best_model_at_end:
        kept |= {"save_steps", "save_strategy"}
    idle = (*NEUTRAL_PREFIXES, "hype_") if arguments.hype.hype_type == "none" else NEUTRAL_PREFIXES
    relevant = {
        name: value
        for name, value in settings(arguments).items()
        if name in kept or (name not in NEUTRAL and not name.startswith(idle))
    }
    return {**dict(sorted(relevant.items())), **dict(sorted(fingerprints.items()))}


def run_id(identity: dict) -> str:
    """Return the id of a run: the first 16 hexadecimal digits of the hash of its identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def environment(record: dict) -> dict:
    """Return what must not change when a run is resumed, although it is not part of the identity."""
    return {
        "device": record["machine"]["device"]["type"],
        "world_size": record["machine"]["world_size"],
        "revision": record["model"]["revision"],
    }


def model_fingerprint(name: str, files: tuple[str, ...] = MODEL_FILES) -> str:
    """Return the hash of a folder's weights and configuration, or the name of a hub model.

    Args:
        files: patterns of other files to hash instead.
    """
    folder = Path(name).expanduser()
    return content_sha256(folder, files) if folder.is_dir() else name


def hub_revision(model: ModelArguments) -> str | None:
    """Return the commit of a model from the hub, as found in the cache; None for a folder."""
    name = model.model_name_or_path
    if Path(name).expanduser().is_dir():
        return None
    path = try_to_load_from_cache(name, "config.json", cache_dir=model.cache_dir, revision=model.model_revision)
    return Path(path).parent.name if isinstance(path, str) else None


def model_fingerprints(model: ModelArguments) -> dict[str, str]:
    """Return the fingerprints of the model, its tokenizer, and any separate configuration and weights."""
    found = {
        "model": model_fingerprint(model.model_name_or_path),
        "tokenizer": model_fingerprint(model.tokenizer_name or model.model_name_or_path, TOKENIZER_FILES),
    }
    if model.config_name:
        config = Path(model.config_name).expanduser() / "config.json"
        found["config"] = file_sha256(config) if config.is_file() else model.config_name
    if model.checkpoint_dir:
        found["checkpoint_dir"] = model_fingerprint(model.checkpoint_dir)
    return found


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
    name = " + ".join(names) or ("vanilla" if training.do_train else "evaluation")
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
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        status = "diverged" if isinstance(error, DivergedError) else "interrupted" if interrupted else "failed"
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
