"""Two processes on one machine (gloo): separate noise and dropout, the same update as one process, exact resuming."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback

from hype import HyPeCallback
from hype.training.trainer import HyPeTrainer
from tests.faults.processes import run_in_two_processes
from tests.small_training import arguments, assert_equal_weights, rows, rows_of_lengths, weights
from tests.tiny import tiny_model

pytestmark = pytest.mark.slow
NOISE = {"hype_type": "normal", "hype_eps": 0.1}
# name -> Trainer, HyPe options, dropout, further arguments
TRAININGS = {
    "noised": (HyPeTrainer, NOISE, 0.1, {}),
    "callback": (Trainer, NOISE, 0.1, {}),
    "grouped": (HyPeTrainer, NOISE, 0.1, {"train_sampling_strategy": "group_by_length"}),
    "accumulated": (HyPeTrainer, None, 0.0, {"optim": "sgd", "learning_rate": 0.1, "gradient_accumulation_steps": 2}),
}
RESUMED = ("noised", "callback", "grouped")
LENGTHS = (4, 9, 3, 12, 7, 7, 5, 10, 3, 6, 8, 11, 4)


class RecordingCallback(TrainerCallback):
    """Record noise, dropout masks and inputs of every step; `hype` returns the HyPe of the training."""

    def __init__(self):
        self.record = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.register_forward_pre_hook(self.inputs, with_kwargs=True)
        model.dropout.register_forward_hook(self.mask)

    def on_step_begin(self, args, state, control, **kwargs):
        self.step, self.draw = state.global_step, 0
        if self.hype() is not None:
            self.hype().observer = self.noise

    def inputs(self, module, args, kwargs):
        self.record[f"step {self.step} inputs"] = kwargs["input_ids"].clone()

    def mask(self, module, args, output):
        self.record[f"step {self.step} mask"] = output != 0

    def noise(self, clean, noised):
        self.record[f"step {self.step} noise {self.draw}"] = (noised - clean).detach()
        self.draw += 1


def build(name, folder, batch_size, *callbacks):
    """Build the trainer of an entry in TRAININGS and a function that returns its HyPe once it trains."""
    trainer_class, noise, dropout, changes = TRAININGS[name]
    args = arguments(
        folder, max_steps=6, per_device_train_batch_size=batch_size, save_strategy="steps", save_steps=3, **changes
    )
    options = {"args": args, "train_dataset": rows(32), "model": tiny_model("bert", dropout=dropout)}
    if trainer_class is HyPeTrainer:
        trainer = HyPeTrainer(**options, hype_options=noise, callbacks=list(callbacks))
        return trainer, lambda: trainer.hype
    callback = HyPeCallback(**noise)
    return Trainer(**options, callbacks=[callback, *callbacks]), lambda: callback.hype


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run all of TRAININGS in two processes; return the folder with the files of each rank."""
    folder = tmp_path_factory.mktemp("two_ranks")
    run_in_two_processes("tests.two_ranks", folder)
    return folder


def both(folder, name, kind):
    return [load_file(folder / f"{name}-{kind}-{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", ["noised", "callback"])
def test_ranks_draw_different_noise(folder, name):
    first, second = both(folder, name, "record")
    keys = [key for key in first if "noise" in key]
    assert len(keys) == 6 * 3
    for key in keys:
        a, b = first[key].flatten(), second[key].flatten()
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / a.numel() ** 0.5
        assert a.std().item() == pytest.approx(0.1, rel=0.2) and b.std().item() == pytest.approx(0.1, rel=0.2)


def test_ranks_drop_out_different_entries(folder):
    first, second = both(folder, "noised", "record")
    masks = [torch.cat([record[f"step {step} mask"] for step in range(6)]) for record in (first, second)]
    assert not torch.equal(*masks)


@pytest.mark.parametrize("name", TRAININGS)
def test_ranks_see_different_examples_and_end_with_the_same_weights(folder, name):
    records = both(folder, name, "record")
    for step in range(6):
        a, b = (record[f"step {step} inputs"].tolist() for record in records)
        assert not [row for row in a if row in b]
    assert_equal_weights(*both(folder, name, "weights"))


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_training_equals_an_uninterrupted_one(folder, name):
    straight, resumed = both(folder, name, "weights"), both(folder, name, "resumed")
    assert_equal_weights(resumed[0], straight[0])
    assert_equal_weights(resumed[1], straight[1])


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(folder, tmp_path):
    alone, _ = build("accumulated", tmp_path, 8)
    alone.train()
    together = load_file(folder / "accumulated-weights-0.safetensors")
    for key, value in weights(alone.model).items():
        torch.testing.assert_close(value, together[key], rtol=0, atol=1e-6)


def test_predictions_of_two_processes_are_in_the_order_of_the_data(folder):
    model = tiny_model("bert").eval()
    model.load_state_dict(load_file(folder / "accumulated-weights-0.safetensors"))
    data = rows_of_lengths(LENGTHS)
    with torch.no_grad():
        expected = torch.cat([model(torch.tensor([row["input_ids"]])).logits for row in data])
    for predicted in both(folder, "last", "predicted"):
        torch.testing.assert_close(predicted["logits"], expected, rtol=0, atol=1e-5)


def test_the_noise_of_rank_0_is_that_of_a_single_process(folder, tmp_path):
    recording = RecordingCallback()
    trainer, recording.hype = build("noised", tmp_path, 4, recording)
    trainer.train()
    first = load_file(folder / "noised-record-0.safetensors")
    for key in [key for key in first if "noise" in key]:
        torch.testing.assert_close(recording.record[key], first[key], rtol=0, atol=1e-5)
