"""Complete checkpoints are told from incomplete and damaged ones."""

import json
import shutil

import pytest

from hype.files import write_json
from hype.training.checkpoints import MARKER, is_complete, last_complete
from hype.training.run_folder import clear
from hype.training.trainer import HyPeTrainer
from tests.small_training import arguments, assert_equal_weights, rows, weights
from tests.tiny import tiny_model


def trainer_of(folder, **changes):
    args = arguments(folder, **{"save_strategy": "steps", "save_steps": 2, **changes})
    data, noise = rows(20), {"hype_eps": 0.1}
    return HyPeTrainer(tiny_model("bert"), args, train_dataset=data, eval_dataset=data, hype_options=noise)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a run with checkpoints 2 and 4."""
    folder = tmp_path_factory.mktemp("finished")
    trainer_of(folder).train()
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def damage(path, kind):
    """Delete a file, empty it, cut it in half, or flip one bit."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if kind == "delete":
        path.unlink()
    elif kind == "flip":
        content[middle] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: {"empty": 0, "cut": middle}[kind]])


def test_checkpoints_are_ordered_by_their_number(folder):
    shutil.copytree(folder / "checkpoint-4", folder / "checkpoint-10")
    assert last_complete(folder) == folder / "checkpoint-10"


@pytest.mark.parametrize("kind", ["delete", "empty", "cut", "flip"])
def test_a_damaged_checkpoint_is_left_aside_with_a_warning(kind, folder, caplog):
    for path in list((folder / "checkpoint-4").iterdir()):
        content = path.read_bytes()
        damage(path, kind)
        caplog.clear()
        assert last_complete(folder) == folder / "checkpoint-2", path.name
        assert "checkpoint-4 is ignored" in caplog.text
        path.write_bytes(content)
    assert last_complete(folder) == folder / "checkpoint-4"
    for step in (2, 4):
        damage(folder / f"checkpoint-{step}" / "model.safetensors", kind)
    assert last_complete(folder) is None


@pytest.mark.parametrize("content", ["[]", '{"files": {"config.json": {}}}', '{"files": {}}'])
def test_a_marker_of_another_form_is_no_marker(content, folder):
    (folder / "checkpoint-4" / MARKER).write_text(content)
    assert not is_complete(folder / "checkpoint-4")


@pytest.mark.parametrize(
    "place",
    ["transformers.Trainer._save_optimizer_and_scheduler", "hype.training.trainer.mark_complete"],
    ids=["before it is written", "before it is marked"],
)
def test_the_only_whole_checkpoint_outlives_a_failing_save(tmp_path, monkeypatch, place):
    def full(*args):
        raise OSError("no space left on device")

    trainer_of(tmp_path, max_steps=2).train()
    monkeypatch.setattr(place, full)
    with pytest.raises(OSError, match="no space left"):
        trainer_of(tmp_path, save_total_limit=1).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert (tmp_path / "checkpoint-4" / "model.safetensors").is_file()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-2"


def test_older_checkpoints_go_when_a_new_one_is_whole_and_folders_that_only_look_like_them_stay(tmp_path):
    copies = {tmp_path / "checkpoint-best-backup", tmp_path / "checkpoint-5-old"}
    for copy in copies:
        copy.mkdir()
    trainer_of(tmp_path, save_total_limit=1, save_steps=1).train()
    assert {*tmp_path.iterdir()} == {tmp_path / "checkpoint-4", *copies} and is_complete(tmp_path / "checkpoint-4")
    clear(tmp_path)
    assert {*tmp_path.iterdir()} == copies


def test_a_checkpoint_of_a_later_step_does_not_outlive_the_new_one(folder):
    shutil.move(folder / "checkpoint-4", folder / "checkpoint-9")
    trainer_of(folder, save_total_limit=1).train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    assert last_complete(folder) == folder / "checkpoint-4"


def best_at_2(folder, **changes):
    options = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, **changes}
    trainer = trainer_of(folder, metric_for_best_model="eval_score", greater_is_better=True, **options)
    trainer.compute_metrics = lambda predictions: {"score": float(trainer.state.global_step == 2)}
    return trainer


def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path):
    trainer = best_at_2(tmp_path, save_total_limit=1)
    trainer.train()
    best = type(trainer.model).from_pretrained(tmp_path / "checkpoint-2")
    assert is_complete(tmp_path / "checkpoint-2")
    assert_equal_weights(weights(trainer.model), weights(best))


def test_the_best_checkpoint_is_found_in_a_folder_that_was_moved(tmp_path):
    first = best_at_2(tmp_path / "old")
    first.train()
    (tmp_path / "old").rename(tmp_path / "new")
    resumed = best_at_2(tmp_path / "new")
    resumed.train(resume_from_checkpoint=str(tmp_path / "new" / "checkpoint-4"))
    assert_equal_weights(weights(resumed.model), weights(first.model))


def test_content_that_is_no_json_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
