"""No number that is none: a model that diverged is said to have, in the run and its record."""

import json

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import main
from hype.training.trainer import HyPeTrainer
from tests.faults.processes import Running


def break_the_loss():
    """Make the loss of the last process NaN at step 3."""
    compute = HyPeTrainer.compute_loss

    def broken(self, *args, **kwargs):
        is_last = self.args.process_index == self.args.world_size - 1
        return compute(self, *args, **kwargs) * (float("nan") if is_last and self.state.global_step == 2 else 1)

    HyPeTrainer.compute_loss = broken


def strict(path) -> dict:
    """Read JSON as other programs do: NaN is no number there."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in {path}"))


def saved(folder, tiny_folder, value, label_count=2):
    """Save the tiny model with a head of one value."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_folder, num_labels=label_count)
    model.classifier.weight.data[:] = value
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    return folder


def test_a_loss_that_is_not_finite_ends_with_3_its_step_and_a_record(argv, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(HyPeTrainer, "compute_loss", HyPeTrainer.compute_loss)  # undoes the next line at the end
    break_the_loss()
    flags = {"logging_steps": 1, "save_steps": 1, "save_total_limit": 1, "hype_type": "normal"}
    for _ in range(2):  # the second time, it is not taken for finished
        assert main.main(argv("do_train", "do_eval", **flags)) == 3
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert line.startswith("error: the loss") and line.endswith("at step 3")
    record = strict(tmp_path / "run" / "run.json")
    assert record["status"] == "diverged" and "step 3" in record["error"] and record["score"] is None
    state = strict(tmp_path / "run" / "checkpoint-2" / "trainer_state.json")
    losses = [entry["loss"] for entry in state["log_history"]]
    assert len(losses) == 2 and min(losses) > 0, "a loss that is no number was logged as 0"


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_ends_all_and_is_recorded(argv, tmp_path):
    """Without synchronised steps, the other would wait for the next batch's gradients."""
    flags = {"gradient_accumulation_steps": 2, "num_train_epochs": 2}
    running = Running(argv("do_train", **flags), tmp_path / "log", break_the_loss, world_size=2)
    assert running.wait() == [3, 3]
    record = strict(tmp_path / "run" / "run.json")
    assert record["status"] == "diverged" and "step 3" in record["error"]


def test_a_model_that_is_not_finite_gets_no_score(argv, tmp_path, capsys, tiny_folder):
    """This ended in a traceback of the JSON writer."""
    assert main.main(argv("do_eval", model_name_or_path=saved(tmp_path / "broken", tiny_folder, float("nan")))) == 3
    assert "eval_loss is nan: the model has diverged" in capsys.readouterr().err
    record = strict(tmp_path / "run" / "run.json")
    assert record["status"] == "diverged" and record["metrics"]["eval"]["eval_loss"] is None


def test_a_model_that_is_not_finite_predicts_nothing(argv, tmp_path, tiny_folder, capsys):
    flags = {"model_name_or_path": saved(tmp_path / "broken", tiny_folder, float("nan"), 1), "task_name": "stsb"}
    assert main.main(argv("do_predict", **flags)) == 3
    assert not (tmp_path / "run" / "STS-B.tsv").exists()
    assert main.main(argv("do_train", hype_type="normal", output_dir=tmp_path / "training", **flags)) == 3
    assert "not finite before the first step" in capsys.readouterr().err


def test_an_undefined_score_is_null_with_its_reason(argv, tmp_path, tiny_folder, capsys):
    """A model that gives every pair one score: no correlation."""
    model = saved(tmp_path / "constant", tiny_folder, 0, 1)
    assert main.main(argv("do_eval", model_name_or_path=model, task_name="stsb")) == 0
    record = strict(tmp_path / "run" / "run.json")
    assert record["score"] is None and record["metrics"]["eval"]["eval_pearson"] is None
    assert record["remarks"] and "undefined" in capsys.readouterr().out
