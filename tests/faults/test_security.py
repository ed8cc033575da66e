"""Input of unknown origin: no code runs, nothing is written outside of the folder, no secret is kept."""

import io
import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import main
from hype.training.checkpoints import mark_complete
from hype.training.record import provenance


class Payload:
    """Once unpickled, it has left a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def trace(tmp_path):
    """Return the file that the payload leaves; it works, and must not be there in the end."""
    path = tmp_path / "code was run"
    pickle.loads(pickle.dumps(Payload(path)))
    path.unlink()
    yield path
    assert not path.exists()


@pytest.fixture
def model(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


def refusal(capsys, argv) -> str:
    """Run a command that must end with 2; return its one line."""
    assert main.main(argv) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err.rstrip().split("\n")[-1]


@pytest.mark.parametrize("wrap", [torch.save, pickle.dump], ids=["torch.save", "pickle"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_code_in_place_of_weights_is_refused_with_and_without_the_flag(argv, capsys, model, trace, name, wrap):
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    with (model / name).open("wb") as file:
        wrap({**weights, "payload": Payload(trace)}, file)
    line = refusal(capsys, argv("do_train", model_name_or_path=model))
    assert name == "model.safetensors" or "--allow_pickle_weights" in line
    assert "cannot load" in refusal(capsys, argv("do_train", "allow_pickle_weights", model_name_or_path=model))


def test_plain_pickled_weights_need_the_flag_and_are_the_same(argv, run, capsys, model, tiny_folder, tmp_path):
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    flags = {"max_steps": 1, "save_strategy": "no"}
    line = refusal(capsys, argv("do_train", model_name_or_path=model, **flags))
    assert "pickle" in line and "--allow_pickle_weights" in line
    for folder, source in (("pickled", model), ("safe", tiny_folder)):
        flags |= {"model_name_or_path": source, "output_dir": tmp_path / folder}
        run("do_train", "allow_pickle_weights", **flags)
    first, second = (load_file(tmp_path / folder / "model.safetensors") for folder in ("pickled", "safe"))
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_a_configuration_cannot_name_pickled_weights(argv, capsys, model, trace):
    torch.save({"payload": Payload(trace)}, model / "weights.bin")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "transformers_weights": "weights.bin"}))
    assert "--allow_pickle_weights" in refusal(capsys, argv("do_train", model_name_or_path=model))


def test_code_in_a_checkpoint_is_refused_or_never_read(argv, run, capsys, tmp_path, trace):
    flags, original = {"max_steps": 3, "save_steps": 2}, tmp_path / "original"
    record = run("do_train", **flags, output_dir=original)
    shutil.rmtree(original / "checkpoint-3")
    (original / "run.json").write_text(json.dumps({**record, "status": "running"}))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        folder = shutil.copytree(original, tmp_path / name)
        torch.save({"payload": Payload(trace)}, folder / "checkpoint-2" / name)
        mark_complete(folder / "checkpoint-2", provenance(record))  # as an attacker would
        command = argv("do_train", **flags, output_dir=folder)
        if name == "training_args.bin":
            assert main.main(command) == 0
        else:
            assert "contains code" in refusal(capsys, command)


OWN_CODE = {
    "config.json": {"auto_map": {"AutoConfig": "own.Own"}, "model_type": "own"},
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["own.Own"] * 2}, "tokenizer_class": "OwnTokenizer"},
}


@pytest.mark.parametrize("place", OWN_CODE)
def test_code_beside_a_model_is_not_run_and_nobody_is_asked(argv, capsys, model, trace, place, monkeypatch):
    (model / "own.py").write_text(f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass Own: pass\n")
    settings = json.loads((model / place).read_text())
    (model / place).write_text(json.dumps({**settings, **OWN_CODE[place]}))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    code = main.main(argv("do_train", model_name_or_path=model, max_steps=1))
    error = capsys.readouterr().err
    assert sys.stdin.read() == "y\n" * 9 and "Traceback" not in error
    assert (code, "--trust_remote_code" in error) == (2, True) or (place, code) == ("tokenizer_config.json", 0)


@pytest.mark.parametrize(
    "flags",
    [
        {"task_name": "../rte"}, {"task_name": "rte/../../x"}, {"task_name": "rte; touch x"}, {"task_name": "rte\n"},
        {"model_name_or_path": "../x"}, {"model_name_or_path": "a/../../x"}, {"model_name_or_path": "$(touch x)"},
        {"hype_type": "__import__('os').system('touch x')"}, {"learning_rate": "1e-3*2"}, {"seed": "1;2"},
    ],
)  # fmt: skip
def test_names_lead_nowhere_and_are_not_evaluated(argv, capsys, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hype.hub.hub_is_reachable", lambda: False)
    command = argv("do_train", **flags)
    pairs = dict(zip([name.removeprefix("--") for name in command[:-1:2]], command[1:-1:2], strict=True))
    (tmp_path / "flags.json").write_text(json.dumps(pairs))
    for arguments in (command, [str(tmp_path / "flags.json"), "--do_train"]):
        assert main.main(arguments) in (2, 4)
        assert "Traceback" not in capsys.readouterr().err
    # Nothing but the run's own folder, its cache, and what was here.
    assert {path.name for path in tmp_path.iterdir()} <= {"flags.json", "run", "cache"}


def test_a_run_name_is_no_path(run, tmp_path):
    before = {path.name for path in tmp_path.parent.iterdir()}
    run("do_train", max_steps=1, run_name="../../evil", project="../evil")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "cache"}
    assert {path.name for path in tmp_path.parent.iterdir()} == before


def test_a_secret_is_in_no_file(argv, tmp_path, monkeypatch, caplog, capsys):
    secret = "hf_secretsecret"
    monkeypatch.setenv("HF_TOKEN", secret)
    flags = {"token": secret, "hub_token": secret, "max_steps": 2, "save_steps": 1}
    assert main.main(argv("do_train", "do_eval", "do_predict", **flags)) == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "training_args.bin" for path in files)
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []
    captured = capsys.readouterr()
    assert secret not in captured.out + captured.err + caplog.text
