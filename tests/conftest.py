"""Fixtures: one seed for every test, the published numbers, and for complete runs a tiny model and sample data."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

from tests.tiny import SAMPLE

# Models this small are slower on more threads, and records are bit-equal only with the same number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_configure(config):
    """Hide GPUs, on which records are not bit-equal, except from tests that are named: pytest tests/gpu."""
    if not any("tests/gpu" in name for name in config.args):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def seeded():
    """Seed every generator: torch's seed, which is HyPe's default seed, is a random number in a new process."""
    set_seed(0)


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def word_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Build a word-level tokenizer with BERT's special tokens over the words of a GLUE folder's RTE task."""
    text = (folder / "RTE" / "train.tsv").read_text(encoding="utf-8").lower()
    words = SPECIAL + sorted(set(re.findall(r"\w+|[^\w\s]", text)))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


@pytest.fixture(scope="session")
def vectors() -> dict:
    """Return the published numbers with which noise, techniques and optimisers are compared."""
    return json.loads((Path(__file__).parent / "data" / "technique_vectors.json").read_text())


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Return a folder with a random two-layer BERT without a head, and its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny_bert")
    tokenizer = word_tokenizer(SAMPLE)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def argv(tiny_folder, tmp_path, monkeypatch):
    """Return a function that builds the command line of a short RTE run on the sample; flags override its defaults."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def build(*switches: str, **flags) -> list[str]:
        data_dir = SAMPLE if flags.get("task_name", "rte") else None
        values = {
            "model_name_or_path": tiny_folder, "task_name": "rte", "data_dir": data_dir, "output_dir": tmp_path / "run",
            "max_train_samples": 48, "max_eval_samples": 24, "max_predict_samples": 8, "max_seq_length": 32,
            "num_train_epochs": 1, "learning_rate": 1e-3, "cache_dir": tmp_path / "cache", "use_cpu": True, **flags,
        }  # fmt: skip
        pairs = [(f"--{name}", str(value)) for name, value in values.items() if value is not None]
        return [part for pair in pairs for part in pair] + [f"--{switch}" for switch in switches]

    return build


@pytest.fixture
def run(argv):
    """Return a function that does such a run and returns its record."""
    from hype.training.finetune import finetune  # slow to import, and not needed by the tests of the method itself
    from hype.training.parser import parse

    return lambda *switches, **flags: finetune(parse(argv(*switches, **flags)))
