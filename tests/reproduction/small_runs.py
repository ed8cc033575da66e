"""Runs of about a second: table 8 reduced to a tiny random BERT on the sample data."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast

from hype.reproduction.experiments import load
from hype.reproduction.runs import Overrides, RunSpec, expand
from tests.tiny import tiny_config

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample_glue"
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def write_tiny_model(folder: Path) -> Path:
    """Write a BERT of three layers without head, and a tokenizer of letters."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL.values(), *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **SPECIAL).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(tiny_config("bert", pad_token_id=0)).save_pretrained(folder)
    return folder


def overrides(model: Path, **changes) -> Overrides:
    """Reduce table 8 to four runs: vanilla and HyPe-N, two seeds."""
    settings = {
        "models": {"bert-large": str(model)}, "tasks": ("rte",), "methods": ("vanilla", "hype-n 1e-5"),
        "seeds": (1, 2), "learning_rates": (1e-3,), "max_train_samples": 48, "data_dir": str(SAMPLE),
    }  # fmt: skip
    return Overrides(**settings | changes)


def specs_in(results_dir: Path, model: Path, **changes) -> list[RunSpec]:
    return expand(load("table_8"), overrides(model, **changes), results_dir)


def argv_of(results_dir: Path, model: Path, *options: str) -> list[str]:
    """Write the command line of the same runs."""
    return [
        "table_8", "--models", f"bert-large={model}", "--tasks", "rte", "--methods", "vanilla", "hype-n 1e-5",
        "--seeds", "1", "2", "--learning_rates", "1e-3", "--max_train_samples", "48", "--data_dir", str(SAMPLE),
        "--results_dir", str(results_dir), *options,
    ]  # fmt: skip


def lasting(folder: Path) -> dict:
    """Return a run's record without what differs from attempt to attempt: times, memory, places, the commit."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in ("timings", "peak_memory_bytes", "machine", "settings"):
        del record[name]
    for metrics in record["metrics"].values():
        for name in [name for name in metrics if name.endswith(("runtime", "per_second", "per_second_mm"))]:
            del metrics[name]
    # None in a run that was never interrupted, else empty: nothing changed.
    record["changed"] = record["changed"] or None
    record["resumed_from"] = None
    return record
