"""What a run does with an existing folder, and with a checkpoint that it is given."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from hype.errors import EnvironmentFault, InputError
from hype.files import write_json
from hype.training.checkpoints import mark_complete
from hype.training.finetune import finetune
from hype.training.parser import parse
from hype.training.record import provenance
from hype.training.resume import Decision, decide_resume
from hype.training.run_folder import clear, locked
from tests.training.test_checkpoints import damage

ONE, OTHER = {"seed": 1, "learning_rate": 0.1}, {"seed": 2, "learning_rate": 0.1}


def record_of(identity, device="cpu", world_size=1, revision=None, **fields):
    """Build the part of a record that the decision reads."""
    machine = {"device": {"type": device}, "world_size": world_size}
    fixed = {"schema": 2, "identity": identity, "machine": machine, "model": {"revision": revision}}
    return {**fixed, "changed": None, "resumed_from": None, **fields}


def folder_of(path, identity=None, steps=(), marked=None, status="failed", **fields):
    """Create a folder with complete checkpoints (of the run `marked`) and, given an identity, the record of a run."""
    path.mkdir()
    for step in steps:
        checkpoint = path / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "model.safetensors").write_text(f"weights {step}")
        mark_complete(checkpoint, provenance(record_of(marked) if marked else record_of(identity, **fields)))
    if identity is not None:
        write_json(path / "run.json", record_of(identity, status=status, **fields))
    return path


def decided(folder, identity=ONE, resume=None, **options):
    flags = [f"--{name}" for name in ("overwrite_output_dir", "allow_changed") if options.pop(name, False)]
    flags += ["--resume_from_checkpoint", str(resume)] if resume else []
    arguments = parse(["--model_name_or_path", "m", "--task_name", "rte", "--output_dir", str(folder), *flags])
    return decide_resume(arguments, folder, record_of(identity, **options))


CHANGED = {"changed": {"seed": [2, 1]}, "resumed_from": "elsewhere/checkpoint-2"}
RUN = {"identity": ONE, "steps": [3, 6]}
OTHER_RUN = {"identity": OTHER, "steps": [3, 6]}
FAILED, OTHER_FAILED = {"identity": ONE}, {"identity": OTHER}  # before their first checkpoint
FINISHED, OTHER_FINISHED = {**RUN, "status": "finished"}, {**OTHER_RUN, "status": "finished"}
ALLOWED, FOREIGN = {"allow_changed": True}, {"resume": "other/checkpoint-6"}
REFUSED = r"holds another run \(seed: 2 -> 1\): .*--overwrite_output_dir .*--allow_changed to resume"
REFUSED_FINISHED = r"holds another run \(seed: 2 -> 1\), which is finished: .*--overwrite_output_dir"
NOT_WHOLE = "--resume_from_checkpoint .*: no complete checkpoint"
# What the folder `run` holds, what is asked for, and the refusal (a pattern) or fields of the decision. Another folder,
# `other`, holds checkpoint 6 of run ONE.
TABLE = {
    "an empty folder": ({}, {}, {"checkpoint": None, "finished": None}),
    "this run, failed early": (FAILED, {}, {"checkpoint": None}),
    "another run, failed early": (OTHER_FAILED, {}, {"checkpoint": None, "changed": None}),
    "this run": (RUN, {}, {"checkpoint": "run/checkpoint-6", "changed": None, "resumed_from": None}),
    "this run by its newest": (RUN, {"resume": "true"}, {"checkpoint": "run/checkpoint-6"}),
    "this run by name": (RUN, {"resume": "run/checkpoint-3"}, {"checkpoint": "run/checkpoint-3", "resumed_from": None}),
    "this run with changes": ({**RUN, **CHANGED}, {}, {"checkpoint": "run/checkpoint-6", **CHANGED}),
    "this run with changes, killed before it saved any checkpoint": ({**RUN, "marked": OTHER, **CHANGED}, {}, REFUSED),
    "the same, allowed again": (
        {**RUN, "marked": OTHER, **CHANGED}, ALLOWED, {"checkpoint": "run/checkpoint-6", "changed": {"seed": [2, 1]}},
    ),
    "this run, overwritten": (RUN, {"overwrite_output_dir": True}, {"checkpoint": None}),
    "another run": (OTHER_RUN, {}, REFUSED),
    "another run for the second time": (
        {**OTHER_RUN, "changed": {"seed": [3, 2]}}, ALLOWED, {"changed": {"seed": [3, 1]}},
    ),
    "another run, allowed": (OTHER_RUN, ALLOWED, {"checkpoint": "run/checkpoint-6", "changed": {"seed": [2, 1]}}),
    "finished": (FINISHED, {}, {"checkpoint": None}),
    "finished, other": (OTHER_FINISHED, {}, REFUSED_FINISHED),
    "finished, with test data": (
        {**FINISHED, "identity": {**ONE, "data.test": "a" * 64}}, {}, r"data.test: given -> default"
    ),
    "finished, other, allowed": (OTHER_FINISHED, ALLOWED, REFUSED_FINISHED),
    "finished, other, resumed": (OTHER_FINISHED, {"resume": "true"}, REFUSED),
    "finished, other, resumed, allowed": (
        OTHER_FINISHED, {"resume": "true", **ALLOWED}, {"checkpoint": "run/checkpoint-6", "changed": {"seed": [2, 1]}},
    ),
    "nothing to resume": (FAILED, {"resume": "true"}, NOT_WHOLE),
    "a checkpoint that is not there": (RUN, {"resume": "run/checkpoint-9"}, NOT_WHOLE),
    "a foreign checkpoint": (
        {}, FOREIGN, {"checkpoint": FOREIGN["resume"], "changed": None, "resumed_from": FOREIGN["resume"]},
    ),
    "a foreign checkpoint after a failure": (OTHER_FAILED, FOREIGN, {"checkpoint": FOREIGN["resume"], "changed": None}),
    "a foreign checkpoint of another run": (
        {}, {**FOREIGN, "identity": OTHER}, r"checkpoint-6 belongs to another run \(seed: 1 -> 2\).*--allow_changed",
    ),
    "a foreign checkpoint of another run, allowed": (
        {}, {**FOREIGN, **ALLOWED, "identity": OTHER}, {"changed": {"seed": [1, 2]}, "resumed_from": FOREIGN["resume"]},
    ),
    "a foreign checkpoint in the folder of another run": (OTHER_RUN, FOREIGN, REFUSED),
    "another device": (RUN, {"device": "cuda"}, r"device: cpu -> cuda.*--allow_changed"),
    "another number of processes": (RUN, {"world_size": 2}, r"world_size: 1 -> 2.*--allow_changed"),
    "another revision": (RUN, {"revision": "a"}, r"revision: default -> a.*--allow_changed"),
    "another device, allowed": (RUN, {"device": "cuda", **ALLOWED}, {"changed": {"device": ["cpu", "cuda"]}}),
    "finished on another device": (FINISHED, {"device": "cuda"}, {"checkpoint": None}),
}  # fmt: skip


@pytest.mark.parametrize(("held", "asked", "outcome"), TABLE.values(), ids=TABLE)
def test_the_folder_and_the_command_decide(tmp_path, monkeypatch, held, asked, outcome):
    """Once, a run took over another run's weights, and a finished run was recorded under settings it never had."""
    monkeypatch.chdir(tmp_path)
    folder_of(Path("other"), steps=[6], marked=ONE)
    folder = folder_of(Path("run"), **held)
    if isinstance(outcome, str):
        with pytest.raises(InputError, match=outcome):
            decided(folder, **asked)
        return
    found = decided(folder, **asked)._asdict()
    assert (found["finished"] is not None) == (held.get("status") == "finished" and found["checkpoint"] is None)
    found["checkpoint"] = found["checkpoint"] and str(found["checkpoint"])
    assert {name: found[name] for name in outcome} == outcome


@pytest.mark.parametrize("record", [None, "", '{"schema": 2, "sta'], ids=["missing", "empty", "cut"])
def test_whole_checkpoints_make_up_for_a_lost_record(tmp_path, caplog, record):
    """The user used to be sent through three refusals."""
    folder = folder_of(tmp_path / "run", steps=[3, 6], marked=ONE)
    if record is not None:
        (folder / "run.json").write_text(record)
    assert decided(folder).checkpoint == folder / "checkpoint-6"
    assert "run.json is missing or damaged" in caplog.text and "checkpoint-6" in caplog.text
    with pytest.raises(InputError, match=r"holds another run \(seed: 1 -> 2\)"):
        decided(folder, OTHER)
    assert decided(folder, OTHER, overwrite_output_dir=True).checkpoint is None


def test_a_checkpoint_of_a_trainer_outside_of_main_is_refused(tmp_path):
    folder = folder_of(tmp_path / "run", steps=[3], marked=ONE)
    mark_complete(folder / "checkpoint-3", {})
    with pytest.raises(InputError, match=r"checkpoint-3 names no run"):
        decided(folder)


@pytest.mark.parametrize("identity", [None, ONE], ids=["no record", "with record"])
def test_a_damaged_checkpoint_that_is_asked_for_is_refused_and_nothing_starts_in_silence(tmp_path, identity):
    folder = folder_of(tmp_path / "run", identity, [3], marked=ONE)
    (folder / "checkpoint-3" / "model.safetensors").write_text("altered")
    for resume in ("true", folder / "checkpoint-3"):
        with pytest.raises(InputError, match=NOT_WHOLE):
            decided(folder, resume=resume)


def test_a_damaged_record_without_checkpoints_names_the_flag_that_works(tmp_path):
    folder = folder_of(tmp_path / "run")
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: damaged.*--overwrite_output_dir"):
        decided(folder)
    assert decided(folder, overwrite_output_dir=True) == Decision()


def test_a_finished_run_whose_weights_have_changed_is_not_called_finished(argv, tmp_path):
    """It used to be reported as "finished already", with exit code 0."""
    command = argv("do_train", max_steps=1)
    finetune(parse(command))
    weights = tmp_path / "run" / "model.safetensors"
    shutil.copy(weights, tmp_path / "run" / "model_backup.safetensors")
    assert finetune(parse(command))["status"] == "finished", "another file is no part of the weights"
    damage(weights, "flip")
    with pytest.raises(InputError, match=rf"{tmp_path / 'run'}: .*--overwrite_output_dir"):
        finetune(parse(command))


def test_what_a_killed_write_has_left_goes_with_the_next_start(tmp_path):
    for name in (".run.json.4711.tmp", ".notes.tmp"):
        (tmp_path / name).write_text("{")
    with locked(tmp_path):
        assert [path.name for path in tmp_path.glob(".*.tmp")] == [".notes.tmp"], "of another program"


def test_overwriting_leaves_nothing_of_the_old_run_but_files_of_others(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "run", ONE, [3])
    old = ("model.safetensors", "model-00001-of-00002.safetensors", "all_results.json", "README.md", "MNLI-m.tsv",
           "test_predictions.tsv", "test_results.json", "config.json", "low_resource_indices.json")  # fmt: skip
    for name in (*old, "notes.txt", "train.tsv", "model_backup.safetensors", "my_results.json"):
        (folder / name).write_text("old")
    assert decided(folder, overwrite_output_dir=True) == Decision() and (folder / "run.json").exists()
    removed = []
    monkeypatch.setattr(Path, "unlink", lambda path: removed.append(path.name) or os.remove(path))
    clear(folder)
    assert removed[-1] == "run.json", "killed in between, it is still known to be a run"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model_backup.safetensors", "my_results.json", "notes.txt", "train.tsv",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_a_folder_of_another_program_is_refused_unless_its_files_can_stay_and_the_user_insists(tmp_path, name):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"contains files of another program \(thesis\.txt"):
        decided(tmp_path)
    assert decided(tmp_path, overwrite_output_dir=True) == Decision()
    (tmp_path / name).write_text("a run would overwrite it")
    with pytest.raises(InputError, match=rf"contains files of another program \({name}"):
        decided(tmp_path, overwrite_output_dir=True)


@pytest.mark.parametrize("flags", [{"hype_top_layers": 9}, {"max_seq_length": 3}], ids=str)
def test_a_wrong_flag_beside_overwriting_costs_no_finished_run(run, tmp_path, flags):
    first = run("do_train")
    with pytest.raises(InputError):
        run("do_train", "overwrite_output_dir", hype_type="normal", **flags)
    assert (tmp_path / "run" / "model.safetensors").is_file() and run("do_train") == first


def test_results_that_a_full_disk_or_a_kill_has_left_half_written_stop_no_later_attempt(run, tmp_path):
    run("do_train", "do_eval")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    write_json(tmp_path / "run" / "run.json", record | {"status": "failed"})
    (tmp_path / "run" / "all_results.json").write_text('{"train_lo')
    assert run("do_train", "do_eval")["status"] == "finished"
    assert json.loads((tmp_path / "run" / "all_results.json").read_text())["eval_samples"] == 24


def test_the_model_that_a_run_starts_from_is_not_overwritten(run, tiny_folder, tmp_path):
    model = shutil.copytree(tiny_folder, tmp_path / "run" / "start")
    flags = {"model_name_or_path": model}
    with pytest.raises(InputError, match=r"--model_name_or_path .*start is inside --output_dir"):
        run("do_train", "overwrite_output_dir", **flags)
    assert (model / "model.safetensors").is_file()


def test_a_disk_without_room_for_the_lock_is_one_line_and_the_folder_is_free_again(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hype.training.run_folder.write_json", full)
        with pytest.raises(EnvironmentFault, match="No space left on device"), locked(tmp_path):
            pytest.fail("entered")
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("way", ["overwrite", "resume"])
def test_checkpoints_of_another_program_are_refused_since_rotation_would_remove_them(tmp_path, way):
    (tmp_path / "run" / "checkpoint-500").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint-500" / "model.safetensors").write_text("weights")
    folder = tmp_path / "run"
    resume = folder_of(tmp_path / "other", steps=[6], marked=ONE) / "checkpoint-6" if way == "resume" else None
    with pytest.raises(InputError, match=r"of another program \(checkpoint-500\).*move them away"):
        decided(folder, resume=resume, overwrite_output_dir=way == "overwrite", allow_changed=True)
    assert (folder / "checkpoint-500" / "model.safetensors").exists()


def test_the_record_of_a_run_names_the_other_runs_checkpoint(run, tmp_path):
    one = {"max_steps": 2, "save_steps": 1, "output_dir": tmp_path / "one"}
    assert run("do_train", **one)["resumed_from"] is None
    flags = {"max_steps": 2, "seed": 7, "resume_from_checkpoint": tmp_path / "one" / "checkpoint-1"}
    with pytest.raises(InputError, match="belongs to another run"):
        run("do_train", **flags)
    record = run("do_train", "allow_changed", **flags)
    assert record["changed"] == {"seed": [None, 7]}
    assert record["resumed_from"] == str(tmp_path / "one" / "checkpoint-1")
