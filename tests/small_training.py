"""Short training runs of tiny models on rows of random tokens."""

import functools
import gc

import torch
from datasets import Dataset, concatenate_datasets
from transformers import TrainingArguments

from tests.tiny import tiny_batch


def rows(count: int, seed: int = 0, length: int = 9) -> Dataset:
    """Build `count` labelled rows of equal length."""
    batch = tiny_batch(count, length, seed)
    return Dataset.from_dict({name: values.tolist() for name, values in batch.items()})


@functools.cache
def set_imports_aside() -> None:
    """Freeze imported objects: Trainer's garbage collection at each start takes half a second over all of them."""
    gc.freeze()


def arguments(output_dir, **changes) -> TrainingArguments:
    """Build arguments for a silent training run on the CPU that saves nothing by default."""
    set_imports_aside()
    options = {
        "max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "lr_scheduler_type": "constant",
        "logging_steps": 1, "logging_nan_inf_filter": False, "save_strategy": "no", "report_to": "none",
        "disable_tqdm": True, "use_cpu": True, "seed": 0,
    }  # fmt: skip
    return TrainingArguments(output_dir=str(output_dir), **{**options, **changes})


def rows_of_lengths(lengths) -> Dataset:
    """Build one labelled row for each length."""
    return concatenate_datasets([rows(1, seed, length) for seed, length in enumerate(lengths)])


def padded(examples: list[dict]) -> dict[str, torch.Tensor]:
    """Collate rows of unequal length; the padding token is 1, with attention mask 0."""
    columns = {name: [torch.tensor(example[name]) for example in examples] for name in examples[0]}
    batch = {
        name: torch.nn.utils.rnn.pad_sequence(columns[name], batch_first=True, padding_value=padding)
        for name, padding in (("input_ids", 1), ("attention_mask", 0))
    }
    return {**batch, "labels": torch.stack(columns["labels"])}


def weights(model) -> dict[str, torch.Tensor]:
    """Copy the model's weights."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_equal_weights(actual: dict, expected: dict) -> None:
    """Compare bit for bit."""
    assert actual.keys() == expected.keys()
    different = [name for name, value in expected.items() if not torch.equal(actual[name], value)]
    assert different == []
