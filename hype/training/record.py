"""run.json: everything that determines a run's result, and what came out. The only source of every table."""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch

from hype.data.splits import Splits
from hype.files import model_sha256, tokenizer_sha256
from hype.training.arguments import GUIDED_SCHEDULES, Arguments
from hype.training.folder import SCHEMA as SCHEMA

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "scikit-learn", "scipy", "numpy")
# Arguments that cannot change a result: where things are read, written, logged and shown, and in what portions.
NEUTRAL = {
    "model": {
        "allow_pickle_weights", "cache_dir", "trust_remote_code", "model_name_or_path",
    },
    "data": {"data_dir", "train_file", "validation_file", "test_file", "encoding", "delimiter", "overwrite_cache"},
    "training": {
        "allow_changed", "batch_eval_metrics", "dataloader_num_workers", "dataloader_persistent_workers",
        "dataloader_pin_memory", "dataloader_prefetch_factor", "ddp_timeout", "disable_tqdm",
        "eval_accumulation_steps", "eval_delay", "eval_do_concat_batches", "eval_on_start", "eval_steps",
        "eval_strategy", "include_for_metrics", "include_num_input_tokens_seen", "log_level", "log_level_replica",
        "log_on_each_node", "logging_dir", "logging_first_step", "logging_nan_inf_filter", "logging_steps",
        "logging_strategy", "output_dir", "overwrite_output_dir", "parallelism_config", "per_device_eval_batch_size",
        "prediction_loss_only", "project", "push_to_hub", "report_to", "resume_from_checkpoint", "run_name",
        "save_model", "save_on_each_node", "save_only_model", "save_steps", "save_strategy", "save_total_limit",
        "skip_memory_metrics", "torch_empty_cache_steps", "use_liger_kernel", "warmup_ratio", "group_by_length",
        "local_rank", "do_eval",
    },
}  # fmt: skip
NEUTRAL_PREFIXES = ("hub_", "trackio_")


def identity_of(arguments: Arguments, fingerprint: dict[str, str], model: dict) -> dict:
    """Collect what determines the result: settings, the data's content, the model's, the number of processes."""
    identity = {}
    for group, values in arguments.as_dict().items():
        for name, value in values.items():
            if name not in NEUTRAL.get(group, ()) and not name.startswith(NEUTRAL_PREFIXES):
                identity[name] = value
    training = arguments.as_dict()["training"]
    if training["load_best_model_at_end"]:
        identity |= {name: training[name] for name in ("eval_strategy", "eval_steps", "save_strategy", "save_steps")}
        if training["eval_delay"]:
            identity["eval_delay"] = training["eval_delay"]
    if training["lr_scheduler_type"] in GUIDED_SCHEDULES:
        identity |= {name: training[name] for name in ("eval_strategy", "eval_steps", "eval_delay")}
    if training["use_liger_kernel"]:  # other kernels, other bits
        identity["use_liger_kernel"] = training["use_liger_kernel"]
    identity.update({f"data.{split}": digest for split, digest in fingerprint.items()})
    identity.update(model=model["fingerprint"], world_size=arguments.training.world_size)
    if "checkpoint_dir_fingerprint" in model:
        identity["checkpoint_dir_fingerprint"] = model["checkpoint_dir_fingerprint"]
    # The name of one from the hub is among the settings.
    folder = Path(arguments.model.tokenizer_name or arguments.model.model_name_or_path).expanduser()
    identity["tokenizer"] = tokenizer_sha256(folder) if folder.is_dir() else None
    return json.loads(json.dumps(identity, default=str))


def run_id_of(identity: dict) -> str:
    """Name a run by the hash of its identity (16 hexadecimal digits)."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def describe_model(name: str, config) -> dict:
    """Describe a model: name, type, revision of the hub or hash of the folder's weights and configuration."""
    return {
        "name": name,
        "model_type": config.model_type,
        "revision": getattr(config, "_commit_hash", None),
        "fingerprint": fingerprint_of(name, config),
    }


def fingerprint_of(name: str, config) -> str:
    """Return the hash of a folder's weights and configuration, or a hub model's name and revision."""
    folder = Path(name).expanduser()
    return model_sha256(folder) if folder.is_dir() else f"{name}@{getattr(config, '_commit_hash', None)}"


def describe_data(splits: Splits) -> dict:
    """Describe the data of a run: where it was read, its content's hashes, its size, what must be said of it."""
    return {
        "source": splits.source,
        "fingerprint": splits.fingerprint,
        "rows": splits.row_counts,
        "notes": splits.notes,
    }


def describe_machine(device: torch.device) -> dict:
    """Describe versions, commit, device and threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
        "git": _git_state(),
        "device": {"type": device.type, "name": name, "threads": torch.get_num_threads()},
    }


def _cpu_name() -> str:
    """Name the CPU and the instructions that torch takes there: others round otherwise, and long trainings tell."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)", info.read_text(), re.MULTILINE) if info.exists() else None
    return f"{found[1] if found else platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _git_state() -> dict | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        # The records that runs leave are no change of what makes them.
        changed = _git(root, "status", "--porcelain", "--", ".", ":(exclude)results")
        return {"commit": commit, "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *command: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, where the system can: a run in a process of many has its own."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (resets := Path("/proc/self/clear_refs")).exists():
        with contextlib.suppress(OSError):  # not every container lets a process write it
            resets.write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Return the largest memory since `reset_peak_memory`: the CUDA allocator's, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss begins with the peak of the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def method_label(arguments: Arguments, technique_names: list[str]) -> str:
    """Name the method for people: HyPe-N 1e-05 + R-Drop, dropout 0."""
    hype, model, training = arguments.hype, arguments.model, arguments.training
    names = []
    if hype.hype_type != "none":
        names.append(f"HyPe-{hype.hype_type[0].upper()} {hype.hype_eps:g}")
    names += technique_names
    if training.neftune_noise_alpha:
        names.append(f"NEFTune {training.neftune_noise_alpha:g}")
    if training.label_smoothing_factor:
        names.append(f"label smoothing {training.label_smoothing_factor:g}")
    dropout = model.dropout_rate if model.all_dropout_rate is None else model.all_dropout_rate
    return (" + ".join(names) or "vanilla") + f", dropout {'of the checkpoint' if dropout is None else f'{dropout:g}'}"
