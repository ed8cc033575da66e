"""Techniques in two processes: the ranks agree, and equal a single process if nothing is drawn per rank."""

from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load_file

from tests.faults.processes import run_in_two_processes
from tests.small_training import weights
from tests.techniques.runs import FLAGS, HYPE, fixed_differences, trainer_of
from tests.tiny import tiny_model

# Without dropout and with fixed_differences these draw nothing, or the same on all ranks: two processes equal one.
COMPARED = {
    "vanilla": {},
    **{name: FLAGS[name] for name in ("Top-K Tuning", "Child-Tuning F", "RecAdam", "NoisyTune", "R-Drop")},
    "R3F": {"r3f_lambda": 0.5, "r3f_eps": 0.0},
    "LNSR": {"lnsr_lambda": 0.5},
}
# The Fisher information is computed per batch, so one process needs batches of the same size. Without decay, only
# entries that the mask keeps change.
MASKED = {"Child-Tuning D": FLAGS["Child-Tuning D"]}
DRAWING = {f"{name}, drawing": FLAGS[name] for name in ("Child-Tuning D", "Mixout", "R-Drop", "R3F", "LNSR")}


def run(folder, flags, is_drawing, batch_size):
    """Train; without draws, epsilon 1 keeps Adam from amplifying rounding differences."""
    is_masked = flags == MASKED["Child-Tuning D"]
    model = tiny_model("bert", dropout=None if is_drawing else 0.0)
    trainer = trainer_of(
        folder, flags, hype=HYPE if is_drawing else None, model=model, count=16,
        per_device_train_batch_size=batch_size, save_strategy="no", weight_decay=0.0 if is_masked else 0.1,
        adam_epsilon=1e-3 if is_drawing or is_masked else 1.0,
    )  # fmt: skip
    with nullcontext() if is_drawing else fixed_differences(trainer.model, flags):
        trainer.train()
    return trainer


@pytest.mark.slow
def test_two_processes_agree_with_each_other_and_with_one(tmp_path):
    run_in_two_processes("tests.techniques.two_processes", tmp_path)
    for name, flags in COMPARED.items():
        together = load_file(tmp_path / f"{name}.safetensors")
        for key, weight in weights(run(tmp_path / "one", flags, is_drawing=False, batch_size=4).model).items():
            torch.testing.assert_close(weight, together[key], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    start = tiny_model("bert").state_dict()
    alone = weights(run(tmp_path / "one", MASKED["Child-Tuning D"], is_drawing=False, batch_size=2).model)
    together = load_file(tmp_path / "Child-Tuning D.safetensors")
    moved = [
        torch.cat([(one[key] != start[key]).flatten() for key in alone if ".layer." in key])
        for one in (alone, together)
    ]
    assert (moved[0] == moved[1]).double().mean() > 0.999  # sums in another order may cross the threshold
