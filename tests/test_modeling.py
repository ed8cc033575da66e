"""Weights of another folder than the model's (--checkpoint_dir), and which flag a missing folder belongs to."""

import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hype.errors import InputError
from hype.parsing import parse
from hype.run import run


def save_head(folder, tiny_folder, order, label):
    """Save a model whose head numbers the labels in `order` and always answers `label`."""
    names = {"label2id": {name: i for i, name in enumerate(order)}, "id2label": dict(enumerate(order))}
    model = AutoModelForSequenceClassification.from_pretrained(tiny_folder, num_labels=len(order), **names)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([5.0 * (name == label) for name in order]))
    model.save_pretrained(folder)


def test_the_head_of_checkpoint_dir_numbers_its_labels_itself(argv, tiny_folder, tmp_path):
    """Its outputs used to be read in the order of the model's configuration."""
    orders = {"one": ["entailment", "neutral", "contradiction"], "other": ["contradiction", "neutral", "entailment"]}
    labels = []
    for name, order in orders.items():
        save_head(tmp_path / name, tiny_folder, order, "entailment")
        flags = {"task_name": "mnli", "checkpoint_dir": tmp_path / name, "output_dir": tmp_path / f"run-{name}"}
        record = run(parse(argv("do_eval", **flags)))
        labels.append((record["score"], set(record["validation_labels"])))
        assert record["label_names"] == order and record["model"]["untrained"] == []
    assert labels[0] == labels[1] and len(labels[0][1]) == 1


def test_other_weights_in_checkpoint_dir_are_another_run(argv, tiny_folder, tmp_path):
    weights = tmp_path / "weights"
    order = ["not_entailment", "entailment"]
    save_head(weights, tiny_folder, order, "entailment")
    assert "checkpoint_dir_fingerprint" not in run(parse(argv("do_eval", output_dir=tmp_path / "plain")))["identity"]
    first = run(parse(argv("do_eval", checkpoint_dir=weights)))
    assert run(parse(argv("do_eval", checkpoint_dir=weights))) == first
    save_head(weights, tiny_folder, order, "not_entailment")
    with pytest.raises(InputError, match=r"holds another run \(checkpoint_dir_fingerprint: "):
        run(parse(argv("do_eval", checkpoint_dir=weights)))


def test_checkpoint_dir_may_hold_weights_alone(argv, tiny_folder, tmp_path):
    (tmp_path / "weights").mkdir()
    shutil.copy(tiny_folder / "model.safetensors", tmp_path / "weights")
    assert run(parse(argv("do_train", max_steps=1, checkpoint_dir=tmp_path / "weights")))["status"] == "finished"


@pytest.mark.parametrize("flag", ["model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name"])
def test_a_missing_folder_is_named_with_its_flag(argv, flag):
    with pytest.raises(InputError, match=rf"--{flag} \./no/such/folder: no such folder"):
        run(parse(argv("do_train", **{flag: "./no/such/folder"})))
