"""Short trainings of tiny models, for the tests of techniques."""

import itertools
from contextlib import contextmanager
from unittest.mock import patch

import torch
from transformers import TrainingArguments

from hype.techniques import TechniqueArguments, selected
from hype.training.trainer import HyPeTrainer
from tests.tiny import tiny_batch, tiny_model

# Each technique with settings that visibly act within four steps.
FLAGS = {
    "Top-K Tuning": {"top_k_layers": 1},
    "Child-Tuning F": {"mode": "ChildTuning-F", "reserve_p": 0.3},
    "Child-Tuning D": {"mode": "ChildTuning-D", "reserve_p": 0.3},
    "Mixout": {"mixout_p": 0.7},
    "RecAdam": {"recadam": True, "recadam_anneal_t0": 2, "recadam_gamma": 20.0},
    "NoisyTune": {"noise_lambda": 0.15},
    "R-Drop": {"rdrop_alpha": 0.5},
    "R3F": {"r3f_lambda": 0.5},
    "LNSR": {"lnsr_lambda": 0.5},
}
HYPE = {"hype_type": "normal", "hype_eps": 1e-2}


def examples(count: int, is_regression: bool) -> list[dict]:
    """Make examples of random tokens, every other one padded, with three classes or scores."""
    batch = tiny_batch(count, length=7, seed=3)
    batch["attention_mask"][::2, 5:] = 0
    batch["input_ids"][::2, 5:] = 1
    labels = batch["labels"].float() if is_regression else batch["labels"]
    rows = zip(batch["input_ids"], batch["attention_mask"], labels, strict=True)
    return [{"input_ids": ids, "attention_mask": mask, "labels": label} for ids, mask, label in rows]


def trainer_of(folder, flags, model_type="bert", hype=None, is_regression=False, model=None, count=8, **options):
    """Build a trainer of a tiny model: four steps of two examples, a checkpoint after two."""
    model = model or tiny_model(model_type, num_labels=1 if is_regression else 3)
    arguments = TrainingArguments(
        output_dir=str(folder),
        **{
            "max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "seed": 11,
            "weight_decay": 0.1, "disable_tqdm": True, "report_to": "none", "use_cpu": True, "logging_steps": 1,
            "save_strategy": "steps", "dataloader_pin_memory": False, **options,
        },
    )  # fmt: skip
    rows = examples(count, is_regression)
    techniques = selected(TechniqueArguments(**flags), hype is not None)
    return HyPeTrainer(
        model, arguments, train_dataset=rows, eval_dataset=rows, hype_options=hype, techniques=techniques
    )


@contextmanager
def fixed_differences(model, flags):
    """Have two forwards of R-Drop, R3F and LNSR differ by what is the same for every example, in whatever batch."""
    calls = itertools.count()

    def ramp(like):
        return torch.linspace(-1.0, 1.0, like.shape[-1]).expand_as(like)

    def second_one_apart(module, args, logits):
        return logits + (next(calls) % 2) * (logits + ramp(logits))

    is_of_logits = flags.keys() & {"rdrop_alpha", "r3f_lambda"}
    handles = [model.classifier.register_forward_hook(second_one_apart)] if is_of_logits else []
    with patch.object(torch, "randn_like", ramp):
        yield
    for handle in handles:
        handle.remove()


def weights_of(trainer) -> dict[str, torch.Tensor]:
    """Copy the model's parameters."""
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def assert_equal_weights(first: dict, second: dict) -> None:
    """Require equal names and equal bits."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
