"""One command, one result: twice, with full determinism, and however much is logged, evaluated, saved or loaded."""

import json

import pytest
import torch

from hype.training.trainer import HyPeTrainer
from tests.faults.processes import ALL, NOISE, finish, outcome


def require_determinism():
    """Let a run fail whose operators may be other than deterministic."""
    step = HyPeTrainer.training_step

    def checked(self, *args, **kwargs):
        assert torch.are_deterministic_algorithms_enabled()
        return step(self, *args, **kwargs)

    HyPeTrainer.training_step = checked


@pytest.mark.slow
@pytest.mark.parametrize(("switches", "prepare"), [((), None), (("full_determinism",), require_determinism)])
def test_the_same_command_in_two_processes_gives_the_same_files_and_scores(argv, tmp_path, switches, prepare):
    for name in ("one", "two"):
        command = argv(*ALL, *switches, **NOISE, output_dir=tmp_path / name)
        finish(command, tmp_path / "log", prepare)
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
    first, second = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two"))
    assert first["run_id"] == second["run_id"] and first["noise"] == second["noise"]
    # What the sameness rests on is in the record.
    assert first["machine"] == second["machine"] and first["machine"]["device"]["threads"] >= 1
    assert {"torch", "transformers", "numpy", "python"} <= first["machine"]["versions"].keys()
    assert first["settings"].get("full_determinism", False) == bool(switches)


def test_what_is_logged_evaluated_saved_and_loaded_ahead_changes_nothing(run, tmp_path):
    plain = run(*ALL, **NOISE, save_strategy="no")
    often = {
        "eval_strategy": "steps", "eval_steps": 1, "logging_steps": 1, "save_steps": 1, "save_total_limit": 2,
        "dataloader_num_workers": 2, "per_device_eval_batch_size": 3, "disable_tqdm": True,
    }  # fmt: skip
    record = run(*ALL, "eval_on_start", **NOISE, **often, output_dir=tmp_path / "often")
    assert record["run_id"] == plain["run_id"]
    first, second = outcome(tmp_path / "run"), outcome(tmp_path / "often")
    for name in ("model.safetensors", "RTE.tsv", "score", "steps"):
        assert first[name] == second[name]
