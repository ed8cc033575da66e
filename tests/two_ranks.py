"""What each of two ranks does: train, and write what test_distributed.py compares."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from tests.small_training import padded, rows_of_lengths, weights
from tests.training.test_distributed import LENGTHS, RESUMED, TRAININGS, build


class RecordingCallback(TrainerCallback):
    """Record noise, dropout masks and inputs of every step."""

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


def main(folder: Path) -> None:
    for name in TRAININGS:
        recording = RecordingCallback()
        trainer, recording.hype = build(name, folder / name, 4, recording)
        rank = trainer.args.process_index
        trainer.train()
        save_file(recording.record, folder / f"{name}-record-{rank}.safetensors")
        save_file(weights(trainer.model), folder / f"{name}-weights-{rank}.safetensors")
        if name in RESUMED:
            again, _ = build(name, folder / name, 4)
            again.train(resume_from_checkpoint=str(folder / name / "checkpoint-3"))
            save_file(weights(again.model), folder / f"{name}-resumed-{rank}.safetensors")
    trainer.data_collator = padded
    predicted = trainer.predict(rows_of_lengths(LENGTHS)).predictions
    save_file({"logits": torch.tensor(predicted)}, folder / f"last-predicted-{rank}.safetensors")
