"""Short training runs of tiny models, for the tests of techniques."""

import itertools
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch

from hype.techniques import TechniqueArguments, selected
from hype.training.trainer import HyPeTrainer
from tests.small_training import arguments
from tests.tiny import tiny_batch, tiny_model

# Each technique with settings that have a visible effect within four steps.
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
TWO_FORWARDS = ("R-Drop", "R3F", "LNSR")
HYPE = {"hype_type": "normal", "hype_eps": 1e-2}


def examples(count: int, is_regression: bool) -> list[dict]:
    """Build examples of random tokens, every other one padded, with three classes or scores."""
    batch = tiny_batch(count, length=7, seed=3)
    batch["attention_mask"][::2, 5:] = 0
    batch["input_ids"][::2, 5:] = 1
    if is_regression:
        batch["labels"] = batch["labels"].float()
    return [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]


def trainer_of(folder, flags, model_type="bert", hype=None, is_regression=False, model=None, count=8, **options):
    """Build a trainer for a tiny model: four steps of two examples each, a checkpoint every two steps."""
    options = {
        "per_device_train_batch_size": 2, "lr_scheduler_type": "linear", "weight_decay": 0.1, "seed": 11,
        "save_strategy": "steps", "save_steps": 2, **options,
    }  # fmt: skip
    rows = examples(count, is_regression)
    return HyPeTrainer(
        model or tiny_model(model_type, num_labels=1 if is_regression else 3),
        arguments(folder, **options),
        train_dataset=rows,
        eval_dataset=rows,
        hype_options=hype,
        techniques=selected(TechniqueArguments(**flags), hype is not None),
    )


@contextmanager
def fixed_differences(model, flags):
    """Make the two forwards of R-Drop, R3F and LNSR differ by the same amount for every example in any batch."""
    calls = itertools.count()

    def ramp(like):
        return torch.linspace(-1.0, 1.0, like.shape[-1]).expand_as(like)

    def second_one_apart(module, args, logits):
        return logits + (next(calls) % 2) * (logits + ramp(logits))

    with ExitStack() as stack:
        stack.enter_context(patch.object(torch, "randn_like", ramp))
        if flags.keys() & {"rdrop_alpha", "r3f_lambda"}:
            stack.enter_context(model.classifier.register_forward_hook(second_one_apart))
        yield
