"""Scores of models with known predictions, on data sets whose labels have other names."""

import json
import shutil

import numpy as np
import pytest
import torch

from hype.analysis.record import Options
from hype.analysis.transfer import TARGETS, analyse, targets
from hype.data.tasks import NLI
from hype.errors import InputError
from tests.glue_files import write

# paper.md, table 7: SciTail's contradiction counts as neutral, QQP's duplicate is entailment; neutral is our decision.
MEANS = {
    "scitail": {"entailment": "entailment", "neutral": "neutral", "contradiction": "neutral"},
    "qqp": {"entailment": "duplicate", "contradiction": "not_duplicate", "neutral": "not_duplicate"},
    "sick": dict(zip(NLI, NLI, strict=True)),
}
PAIRS = [("a b", "c"), ("d e", "f g"), ("h", "i j k"), ("l m n", "o")]
GOLD = ["entailment", "neutral", "contradiction", "entailment"]
LETTERS = {"entailment": "E", "neutral": "N"}


def nli_folder(folder):
    """Write the four pairs in every set; SciTail's and QQP's labels are GOLD renamed by the map."""
    header = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
    sick = "".join(f"1\t{a}\t{b}\t3\t{gold.upper()}\n" for (a, b), gold in zip(PAIRS, GOLD, strict=True))
    rows = [{"sentence1": a, "sentence2": b} for a, b in PAIRS]
    snli = "\n".join(json.dumps({**row, "gold_label": gold}) for row, gold in zip(rows, [*GOLD[:3], "-"], strict=True))
    scitail = [LETTERS[MEANS["scitail"][gold]] for gold in GOLD]
    tsv = [f"{a}\t{b}\t{gold}\n" for (a, b), gold in zip(PAIRS, GOLD, strict=True)]
    qqp = [f"{a}\t{b}\t{int(gold == 'entailment')}\n" for (a, b), gold in zip(PAIRS, GOLD, strict=True)]
    mnli = "sentence1\tsentence2\tgold_label\n"
    return write(folder, {
        "SICK/SICK_trial.txt": header + sick,
        "SNLI/snli_1.0_dev.jsonl": snli,
        "SciTail/dev.jsonl": "\n".join(json.dumps({**r, "gold_label": w}) for r, w in zip(rows, scitail, strict=True)),
        "QQP/dev.tsv": "question1\tquestion2\tis_duplicate\n" + "".join(qqp),
        "MNLI/dev_matched.tsv": mnli + "".join(tsv),
        "MNLI/dev_mismatched.tsv": mnli + "".join(tsv[:3]),
    })  # fmt: skip


@pytest.mark.parametrize("held", [("SNLI", "SICK", "SciTail"), ()])
def test_without_a_folder_of_their_own_the_three_sets_are_the_glue_folders_or_the_hubs(held, tmp_path, monkeypatch):
    folder = nli_folder(tmp_path)
    for name in {"SNLI", "SICK", "SciTail"} - set(held):
        shutil.rmtree(folder / name)
    asked = []
    monkeypatch.setattr("hype.data.splits.read_hub", lambda task, *_: asked.append(task.name) or ({}, "hub"))
    for name, split in dict.fromkeys(TARGETS.values()):
        Options(data_dir=str(folder)).splits(name, [split])
    assert asked == ([] if held else ["snli", "sick", "scitail"])


def always(label, names):
    """Return a function that changes a model's head to predict one label for any input."""

    def change(model):
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([float(name == label) for name in names]))

    return change


@pytest.mark.parametrize("label", NLI)
def test_all_sets_are_scored_by_label_name_whatever_the_order_of_the_head(label, make_run, tmp_path):
    folder = str(nli_folder(tmp_path / "data"))
    order = ("contradiction", "entailment", "neutral")
    run = make_run(task="snli", label_names=order, change=always(label, order))
    options = Options(data_dir=folder, nli_dir=folder)
    gold = {
        "snli": GOLD[:3], "sick": GOLD, "scitail": [MEANS["scitail"][name] for name in GOLD],
        "qqp": [MEANS["qqp"][name] for name in GOLD], "mnli": GOLD, "mnli-mm": GOLD[:3],
    }  # fmt: skip
    assert targets(run, None) == list(gold)
    for target, names in gold.items():
        record = analyse(run, target, options)
        right = MEANS.get(target, MEANS["sick"])[label]
        assert record["results"]["accuracy"] == pytest.approx(np.mean([name == right for name in names]))
        assert record["results"]["confusion"] == {name: {label: names.count(name)} for name in dict.fromkeys(names)}
        assert record["data"]["rows"] == {TARGETS[target][1]: len(names)}


def test_runs_without_the_three_labels_and_unknown_sets_are_refused(make_run):
    with pytest.raises(InputError, match="mnli or snli"):
        targets(make_run(task="rte"), None)
    with pytest.raises(InputError, match="nonsense"):
        targets(make_run("mnli"), ["snli", "nonsense"])
