"""What each of two ranks does: train, and write what test_distributed.py compares."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.small_training import padded, rows_of_lengths, weights
from tests.training.test_distributed import LENGTHS, RESUMED, TRAININGS, RecordingCallback, build


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
