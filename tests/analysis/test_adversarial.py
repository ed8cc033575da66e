"""AdvGLUE: its counts, and labels matched by name between file, hub and model."""

import json
from collections import Counter
from pathlib import Path

import datasets
import pytest

from hype.analysis.adversarial import SETS, analyse, read, targets
from hype.analysis.record import Options
from hype.data.tasks import TASKS
from hype.errors import InputError
from tests.analysis.test_transfer import always
from tests.glue_files import put_on_hub

REAL = Path(__file__).parents[2] / "../shared/adv_glue"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/adv_glue")
# From the README of the real file: numbers of rows and of each label.
REAL_COUNTS = {
    "sst2": (148, {"negative": 72, "positive": 76}),
    "qqp": (78, {"not_duplicate": 46, "duplicate": 32}),
    "mnli": (121, {"entailment": 32, "neutral": 39, "contradiction": 50}),
    "mnli-mm": (162, {"entailment": 60, "neutral": 45, "contradiction": 57}),
    "qnli": (148, {"entailment": 74, "not_entailment": 74}),
    "rte": (81, {"entailment": 35, "not_entailment": 46}),
}


@needs_real
@pytest.mark.parametrize("file", ["dev.json", "dev_ann.json"])
def test_the_738_real_rows_have_their_readmes_labels(file):
    """dev_ann.json has the same texts, with further columns that differ from row to row."""
    for target, (rows, labels) in REAL_COUNTS.items():
        splits, gold = read(target, Options(adv_file=str(REAL / file)))
        assert (splits.row_counts, Counter(gold)) == ({"validation": rows}, labels)
        assert splits.notes == []
        assert SETS[target].sources["validation"].row_count == rows
    assert sum(rows for rows, _ in REAL_COUNTS.values()) == 738


def adv_file(folder, **changes):
    rows = [("a b", "c", 0), ("d", "e f", 1), ("g", "h", 1)]
    fields = {name: SETS[name].text_columns for name in SETS}
    content = {
        name: [{"idx": i, **dict(zip(columns, row[:2], strict=False)), "label": row[2]} for i, row in enumerate(rows)]
        for name, columns in fields.items()
    }
    path = folder / "dev.json"
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return Options(adv_file=str(path))


@pytest.mark.parametrize("task", ["sst2", "qqp", "mnli", "qnli", "rte"])
def test_accuracy_does_not_depend_on_the_order_of_the_models_labels(task, make_run, tmp_path):
    names = TASKS[task].label_names[::-1]
    run = make_run(task=task, label_names=names, change=always(TASKS[task].label_names[1], names))
    for target in targets(run, None):
        record = analyse(run, target, adv_file(tmp_path))
        assert record["results"]["accuracy"] == pytest.approx(2 / 3)
        assert record["data"]["notes"] == [f"AdvGLUE {target}: 3 rows of officially {REAL_COUNTS[target][0]}"]


def test_the_hubs_labels_are_understood_by_its_names(monkeypatch):
    """The stand-in for the hub has RTE's labels in reverse order."""
    columns = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "label": [0, 1, 1], "idx": [0, 1, 2]}
    names = datasets.ClassLabel(names=["not_entailment", "entailment"])
    dataset = datasets.Dataset.from_dict(columns).cast_column("label", names)
    put_on_hub(monkeypatch, "AI-Secure/adv_glue", "adv_rte", "validation", dataset)
    splits, gold = read("rte", Options(max_eval_samples=2))
    assert gold == ["not_entailment", "entailment"]
    assert splits.splits["validation"]["sentence2"][:] == ["d", "e"]
    assert splits.source == "AI-Secure/adv_glue@0"


BAD = {
    "no such set": ({"rte": [{"label": 1}]}, "sst2", "'sst2'"),
    "a label of no one": ({"sst2": [{"sentence": "a", "label": 2}]}, "sst2", "from 0 to 1; found: row 1: 2"),
    "a label that is no id": ({"sst2": [{"sentence": "a", "label": True}]}, "sst2", "row 1: True"),
    "no table": ({"sst2": {"sentence": "a"}}, "sst2", "no column 'label'"),
    "other columns": ({"rte": [{"sentence": "a", "label": 1}]}, "rte", "no column 'sentence1'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_dev_json_is_refused(name, tmp_path):
    content, target, message = BAD[name]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(target, Options(adv_file=str(path)))


def test_only_the_sets_of_the_runs_task_are_scored(make_run):
    assert targets(make_run("mnli"), None) == ["mnli", "mnli-mm"]
    with pytest.raises(InputError, match="AdvGLUE lacks"):
        targets(make_run("cola", task="cola"), None)
    with pytest.raises(InputError, match="fine-tuned on rte"):
        targets(make_run("rte", task="rte"), ["sst2"])
