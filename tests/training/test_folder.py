"""What a run does with the folder that it finds, and with a checkpoint that is named to it."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from hype.errors import EnvironmentFault, InputError
from hype.files import write_json
from hype.training.arguments import parse
from hype.training.checkpoints import mark_complete
from hype.training.finetune import finetune
from hype.training.folder import clear, locked, plan

ONE, OTHER = {"seed": 1, "learning_rate": 0.1}, {"seed": 2, "learning_rate": 0.1}


def folder_of(path, identity=None, steps=(), **fields):
    """Make a folder with whole checkpoints and, given an identity, the record of an interrupted run."""
    path.mkdir()
    for step in steps:
        checkpoint = path / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "model.safetensors").write_text(f"weights {step}")
        mark_complete(checkpoint)
    if identity is not None:
        write_json(path / "run.json", {"status": "failed", "identity": identity, **fields})
    return path


def planned(folder, identity=ONE, resume=None, overwrite=False, allow_changed=False):
    return plan(folder, identity, resume and str(resume), overwrite, allow_changed)


@pytest.mark.parametrize("own", [None, ONE, OTHER], ids=["fresh", "failed", "failed with other settings"])
def test_a_checkpoint_of_another_run_is_refused_or_recorded(tmp_path, own):
    """It was taken after a look at its files alone, and the other run's weights became this one's."""
    checkpoint = folder_of(tmp_path / "other", OTHER, [6]) / "checkpoint-6"
    folder = folder_of(tmp_path / "run", own)
    with pytest.raises(InputError, match=r"checkpoint-6 is of another run \(seed: 2 -> 1\).*--allow_changed"):
        planned(folder, resume=checkpoint)
    found = planned(folder, resume=checkpoint, allow_changed=True)
    assert (found.checkpoint, found.resumed_from) == (str(checkpoint), str(checkpoint))
    assert found.changed == {"seed": [2, 1]}


def test_a_checkpoint_of_the_same_settings_in_another_folder_is_taken_and_recorded(tmp_path):
    checkpoint = folder_of(tmp_path / "other", ONE, [6]) / "checkpoint-6"
    found = planned(folder_of(tmp_path / "run"), resume=checkpoint)
    assert (found.checkpoint, found.changed, found.resumed_from) == (str(checkpoint), {}, str(checkpoint))


def test_a_checkpoint_that_no_record_vouches_for_is_refused_or_recorded(tmp_path):
    folder = folder_of(tmp_path / "run", steps=[6])
    for resume in ("true", folder / "checkpoint-6"):
        with pytest.raises(InputError, match=r"no run\.json beside it.*--allow_changed"):
            planned(folder, resume=resume)
    assert planned(folder, resume="true", allow_changed=True).resumed_from == str(folder / "checkpoint-6")


def test_a_runs_own_checkpoint_is_taken_with_what_went_into_it(tmp_path):
    """The same command again after --allow_changed used to call nothing changed."""
    folder = folder_of(tmp_path / "run", ONE, [3, 6], changed={"seed": [2, 1]}, resumed_from="other/checkpoint-2")
    for resume, step in ((None, 6), ("true", 6), (folder / "checkpoint-3", 3)):
        found = planned(folder, resume=resume)
        assert found.checkpoint == str(folder / f"checkpoint-{step}")
        assert (found.changed, found.resumed_from) == ({"seed": [2, 1]}, "other/checkpoint-2")
    plain = planned(folder_of(tmp_path / "plain", ONE, [3]))
    assert (plain.changed, plain.resumed_from) == ({}, None)


def test_a_finished_run_is_not_made_another_one(tmp_path):
    """Trained no step more, it was recorded under the new settings."""
    for name, steps in (("with checkpoint", [3]), ("without", [])):
        folder = folder_of(tmp_path / name, OTHER, steps)
        write_json(folder / "run.json", {"status": "finished", "identity": OTHER})
        with pytest.raises(InputError, match=r"holds a finished run.*seed: 2 -> 1.*--overwrite_output_dir"):
            planned(folder, allow_changed=True)
        assert planned(folder, OTHER).finished


def test_overwriting_leaves_nothing_of_the_old_run_but_files_of_others(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "run", ONE, [3])
    old = ("model.safetensors", "model-00001-of-00002.safetensors", "all_results.json", "README.md", "MNLI-m.tsv",
           "test_predictions.tsv", "config.json", "low_resource_indices.json")  # fmt: skip
    for name in (*old, "notes.txt", "train.tsv", "model_backup.safetensors", "my_results.json"):
        (folder / name).write_text("old")
    assert planned(folder, overwrite=True).is_to_clear and (folder / "run.json").exists()
    removed = []
    monkeypatch.setattr(Path, "unlink", lambda path: removed.append(path.name) or os.remove(path))
    clear(folder)
    assert removed[-1] == "run.json", "killed in between, it is still known for a run of ours"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model_backup.safetensors", "my_results.json", "notes.txt", "train.tsv",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["README.md", "config.json", "all_results.json", "child_tuning_mask.safetensors"])
def test_a_file_of_others_that_a_run_would_overwrite_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds {name} of another program"):
        planned(tmp_path, overwrite=True)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("flags", [{"hype_top_layers": 9}, {"max_seq_length": 3}], ids=str)
def test_a_wrong_flag_beside_overwriting_costs_no_finished_run(argv, tmp_path, flags):
    first = finetune(parse(argv("do_train")))
    with pytest.raises(InputError):
        finetune(parse(argv("do_train", "overwrite_output_dir", hype_type="normal", **flags)))
    assert (tmp_path / "run" / "model.safetensors").is_file() and finetune(parse(argv("do_train"))) == first


@pytest.mark.parametrize("left", ["", '{"train_lo'])
def test_results_that_a_full_disk_or_a_kill_has_left_half_written_stop_no_later_attempt(argv, tmp_path, left):
    finetune(parse(argv("do_train", "do_eval")))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    write_json(tmp_path / "run" / "run.json", record | {"status": "failed"})
    (tmp_path / "run" / "all_results.json").write_text(left)
    assert finetune(parse(argv("do_train", "do_eval")))["status"] == "finished"
    assert json.loads((tmp_path / "run" / "all_results.json").read_text())["eval_samples"] == 24


def test_the_model_that_a_run_starts_from_is_not_overwritten(argv, tiny_folder, tmp_path):
    model = shutil.copytree(tiny_folder, tmp_path / "run" / "start")
    flags = {"model_name_or_path": model}
    with pytest.raises(InputError, match=r"--model_name_or_path .*start lies in --output_dir"):
        finetune(parse(argv("do_train", "overwrite_output_dir", **flags)))
    assert (model / "model.safetensors").is_file()


def test_a_disk_without_room_for_the_lock_is_one_line_and_the_folder_is_free_again(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hype.training.folder.write_json", full)
        with pytest.raises(EnvironmentFault, match="No space left on device"), locked(tmp_path):
            pytest.fail("entered")
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("way", ["overwrite", "resume"])
def test_checkpoints_of_another_program_are_refused_since_rotation_would_remove_them(tmp_path, way):
    folder = folder_of(tmp_path / "run", steps=[500])
    resume = folder_of(tmp_path / "other", ONE, [6]) / "checkpoint-6" if way == "resume" else None
    with pytest.raises(InputError, match=r"checkpoint-500 of another program.*move them away"):
        planned(folder, resume=resume, overwrite=way == "overwrite", allow_changed=True)
    assert (folder / "checkpoint-500" / "model.safetensors").exists()


def test_the_record_of_a_run_names_the_other_runs_checkpoint(argv, tmp_path):
    one = {"max_steps": 2, "save_steps": 1, "output_dir": tmp_path / "one"}
    assert "resumed_from" not in finetune(parse(argv("do_train", **one)))
    flags = {"max_steps": 2, "seed": 7, "resume_from_checkpoint": tmp_path / "one" / "checkpoint-1"}
    with pytest.raises(InputError, match="is of another run"):
        finetune(parse(argv("do_train", **flags)))
    record = finetune(parse(argv("do_train", "allow_changed", **flags)))
    assert record["changed"] == {"seed": [42, 7]}
    assert record["resumed_from"] == str(tmp_path / "one" / "checkpoint-1")
