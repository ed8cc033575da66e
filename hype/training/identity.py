"""What determines the result of a run: the settings that differ from their defaults, and content hashes."""

import hashlib
import json
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path

from hype.files import content_sha256, file_sha256
from hype.training.arguments import Arguments, ModelArguments, RunArguments

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

    Device and paths are not part of it (see `record.environment`).

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
    if training.world_size > 1:  # it multiplies the batch size
        relevant["world_size"] = training.world_size
    return {**dict(sorted(relevant.items())), **dict(sorted(fingerprints.items()))}


def run_id(identity: dict) -> str:
    """Return the id of a run: the first 16 hexadecimal digits of the hash of its identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def model_fingerprint(name: str, files: tuple[str, ...] = MODEL_FILES) -> str:
    """Return the hash of a folder's weights and configuration, or the name of a hub model.

    Args:
        files: patterns of other files to hash instead.
    """
    folder = Path(name).expanduser()
    return content_sha256(folder, files) if folder.is_dir() else name


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
