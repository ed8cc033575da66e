"""GLUE folders, own files and the hub's cache become the same examples; what is unfit is refused with its place."""

import json

import datasets
import pytest
from huggingface_hub import constants

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.data.tasks import TASKS
from hype.errors import EnvironmentFault, InputError
from tests.glue_files import RTE_DEV, RTE_TRAIN, load, rte, write, write_rte


@pytest.fixture
def rte_folder(tmp_path):
    return write_rte(tmp_path)


@pytest.fixture(autouse=True)
def no_glue_dir(monkeypatch):
    monkeypatch.delenv("GLUE_DIR", raising=False)


def load_own(splits=("train", "validation"), label_names=None, **flags):
    return load_splits(DataArguments(**{k: str(v) for k, v in flags.items()}), splits, label_names=label_names)


def test_mnli_rows_without_gold_label_are_left_out_and_counted(tmp_path):
    rows = [("a", "b", "neutral"), ("c", "d", "-"), ("e", "f", "entailment")]
    lines = ["genre\tsentence1\tlabel1\tsentence2\tgold_label", *(f"x\t{a}\tneutral\t{b}\t{c}" for a, b, c in rows)]
    write(tmp_path, {f"MNLI/dev_{kind}.tsv": "\n".join(lines) for kind in ("matched", "mismatched")})
    loaded = load(tmp_path, ("validation", "validation_mismatched"), "mnli")
    for split in ("validation", "validation_mismatched"):
        expected = {"sentence1": ["a", "e"], "sentence2": ["b", "f"], "label": [1, 0], "idx": [0, 2]}
        assert loaded.splits[split][:] == expected
        assert f"{split}: 1 rows without a gold label left out, as in GLUE" in loaded.notes


def test_malformed_rows_of_qqp_are_left_out_and_named(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    write(tmp_path, {"QQP/train.tsv": header + "0\t1\t2\ta\tb\t1\n1\t1\t2\tbroken\n2\t1\t2\tc\td\t0\n"})
    loaded = load(tmp_path, ["train"], "qqp")
    assert loaded.splits["train"]["label"][:] == [1, 0]
    assert "train: 1 malformed rows left out, as in GLUE (row 3)" in loaded.notes


@pytest.mark.parametrize("path", ["diagnostic/diagnostic.tsv", "AX/AX.tsv"])
def test_ax_is_found_under_either_name(tmp_path, path):
    write(tmp_path, {path: "index\tsentence1\tsentence2\n0\ta\tb\n"})
    assert load(tmp_path, ["test", "test_mismatched"], "ax").splits["test"]["sentence2"][:] == ["b"]
    with pytest.raises(InputError, match="AX has no train data; it has test"):
        load(tmp_path, ["train"], "ax")


BAD_ROWS = {
    "too long": ("1\ta\tb\tentailment\tmore", ["row 3", "5 columns where the file has 4"]),
    "too short": ("1\ta\tentailment", ["row 3", "3 columns where the file has 4"]),
    "unknown label": ("1\ta\tb\tneutral", ["'label'", "row 3: 'neutral'", "entailment, not_entailment"]),
    "number as label": ("1\ta\tb\t0", ["row 3: '0'"]),
    "no label": ("1\ta\tb\t", ["row 3: ''"]),
    "unlabelled": ("1\ta\tb\t-1", ["row 3: '-1'"]),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_of_a_glue_folder_is_refused_with_its_place(tmp_path, case):
    row, parts = BAD_ROWS[case]
    write(tmp_path, {"RTE/train.tsv": rte(RTE_TRAIN[:1]) + row + "\n"})
    with pytest.raises(InputError) as caught:
        load(tmp_path, ["train"])
    for part in ["RTE/train.tsv", *parts]:
        assert part in str(caught.value)


def test_a_missing_folder_file_or_column_is_refused_with_what_is_needed(tmp_path):
    with pytest.raises(InputError, match=r"--data_dir .*absent: no such folder.*CoLA/, RTE/"):
        load(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no RTE/train.tsv; give the GLUE folder by --data_dir or GLUE_DIR"):
        load(tmp_path)
    write(tmp_path, {"RTE/train.tsv": "index\tsentence1\tlabel\n0\ta\tentailment\n"})
    with pytest.raises(InputError, match="no column 'sentence2'; its columns are index, sentence1, label"):
        load(tmp_path)


OWN = {
    "csv": "id,headline,body,label\n7,None,NA,0\n8,null,,1\n",
    "tsv": "id\theadline\tbody\tlabel\n7\tNone\tNA\t0\n8\tnull\t\t1\n",
    "json": json.dumps(
        [dict(id=7, headline="None", body="NA", label=0), dict(id=8, headline="null", body="", label=1)]
    ),
}


@pytest.mark.parametrize("extension", OWN)
def test_own_files_keep_texts_as_they_stand(tmp_path, extension):
    path = write(tmp_path, {f"a.{extension}": OWN[extension]}) / f"a.{extension}"
    loaded = load_own(["train"], train_file=path)
    assert loaded.splits["train"][:] == {
        "sentence1": ["None", "null"],
        "sentence2": ["NA", ""],
        "label": [0, 1],
        "idx": [0, 1],
    }
    assert loaded.task.label_names == ("0", "1")
    assert loaded.source == "files"
    assert "texts are the columns headline, body; --text_columns names others" in loaded.notes


def test_text_columns_may_be_named(tmp_path):
    path = write(tmp_path, {"a.csv": OWN["csv"]}) / "a.csv"
    loaded = load_own(["train"], train_file=path, text_columns="body")
    assert loaded.splits["train"].column_names == ["sentence1", "label", "idx"]
    assert loaded.splits["train"]["sentence1"][:] == ["NA", ""]
    for wrong in ("a,b,c", "body,body", "body,label"):
        with pytest.raises(InputError, match="--text_columns"):
            load_own(["train"], train_file=path, text_columns=wrong)
    with pytest.raises(InputError, match="no column 'absent'"):
        load_own(["train"], train_file=path, text_columns="absent")


def test_the_columns_of_run_glue_are_preferred(tmp_path):
    path = write(tmp_path, {"a.csv": "x,sentence2,sentence1,gold\n1,b,a,no\n2,d,c,yes\n"}) / "a.csv"
    train = load_own(["train"], train_file=path, label_column="gold").splits["train"]
    assert (train["sentence1"][:], train["sentence2"][:]) == (["a", "c"], ["b", "d"])


def test_classes_come_from_the_training_file_and_others_are_refused(tmp_path):
    write(tmp_path, {"train.csv": "t,label\na,yes\nb,no\n", "dev.jsonl": '{"t": "c", "label": "yes"}\n'})
    flags = {"train_file": tmp_path / "train.csv", "validation_file": tmp_path / "dev.jsonl"}
    loaded = load_own(["validation"], **flags)
    assert loaded.task.label_names == ("no", "yes")
    assert list(loaded.splits) == ["validation"]
    assert loaded.splits["validation"]["label"][:] == [1]
    write(tmp_path, {"dev.jsonl": '{"t": "c", "label": "maybe"}\n'})
    with pytest.raises(InputError, match=r"training data are no, yes, not: row 1: 'maybe'"):
        load_own(["validation"], **flags)


def test_decimal_points_everywhere_make_a_regression_and_it_is_said(tmp_path):
    path = write(tmp_path, {"a.csv": "t,label\na,0.0\nb,1.5\n"}) / "a.csv"
    loaded = load_own(["train"], train_file=path)
    assert loaded.task.is_regression
    assert loaded.splits["train"].features["label"].dtype == "float32"
    assert any("regression" in note for note in loaded.notes)


def test_a_test_file_needs_no_labels(tmp_path):
    unlabelled = {"a.csv": "t\nx\n", "b.csv": "t,label\nx,\ny,\n", "c.json": '[{"t": "x", "label": -1}]'}
    write(tmp_path, {"train.csv": "t,label\na,yes\nb,no\n", "d.csv": "t,label\nx,yes\n", **unlabelled})
    for name in (*unlabelled, "d.csv"):
        test = load_own(["test"], train_file=tmp_path / "train.csv", test_file=tmp_path / name).splits["test"]
        assert ("label" in test.column_names) == (name == "d.csv")


def test_without_training_file_the_checkpoint_names_the_classes(tmp_path):
    write(tmp_path, {"test.csv": "t\nx\n", "dev.csv": "t,label\nx,yes\ny,yes\n"})
    names = ["no", "yes"]
    assert load_own(["test"], names, test_file=tmp_path / "test.csv").task.label_names == ("no", "yes")
    assert load_own(["test"], [], test_file=tmp_path / "test.csv").task.is_regression
    dev = load_own(["validation"], names, validation_file=tmp_path / "dev.csv")
    assert dev.splits["validation"]["label"][:] == [1, 1]
    with pytest.raises(InputError, match="give --train_file too"):
        load_own(["test"], test_file=tmp_path / "test.csv")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("t,label\na,0\nb,1.0\n", ["row 3: '1.0'", "whole numbers"]),
        ("t,label\na,0\nb,\n", ["row 3: ''", "missing"]),
        ("t,label\na,\nb,\n", ["row 2: ''", "missing"]),
        ("t,label\na,0\nb,-1\n", ["row 3: '-1'"]),
        ("t,gold\na,0\nb,1\n", ["no column 'label'", "t, gold"]),
        ("id,label\n1,0\n2,1\n", ["no text column", "--text_columns"]),
    ],
)
def test_unfit_own_files_are_refused(tmp_path, content, parts):
    path = write(tmp_path, {"own.csv": content}) / "own.csv"
    with pytest.raises(InputError) as caught:
        load_own(["train"], train_file=path)
    for part in ["own.csv", *parts]:
        assert part in str(caught.value)


def test_a_number_among_texts_is_refused(tmp_path):
    path = write(tmp_path, {"own.jsonl": '{"t": "a", "label": 0}\n{"t": 5, "label": 1}\n'}) / "own.jsonl"
    with pytest.raises(InputError, match="column 't': give texts, not: row 2: 5"):
        load_own(["train"], train_file=path)


def test_a_split_without_file_names_its_flag(tmp_path):
    path = write(tmp_path, {"a.csv": OWN["csv"]}) / "a.csv"
    with pytest.raises(InputError, match="no test data: give --test_file"):
        load_own(["train", "validation_mismatched", "test"], train_file=path)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The cache of `datasets` as a download of nyu-mll/glue leaves it, and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache = tmp_path / "cache"
    names = list(TASKS["rte"].label_names)
    features = datasets.Features(
        sentence1=datasets.Value("string"),
        sentence2=datasets.Value("string"),
        label=datasets.ClassLabel(names=names),
        idx=datasets.Value("int32"),
    )
    files = {}
    for split, rows in {"train": RTE_TRAIN, "validation": RTE_DEV, "test": RTE_DEV}.items():
        columns = dict(zip(("sentence1", "sentence2", "label"), map(list, zip(*rows, strict=True)), strict=True))
        columns["label"] = [-1] * 2 if split == "test" else [names.index(label) for label in columns["label"]]
        files[split] = str(tmp_path / f"{split}.parquet")
        datasets.Dataset.from_dict({**columns, "idx": [0, 1]}, features).to_parquet(files[split])
    datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "made"))
    made = next(path.parent for path in (tmp_path / "made").rglob("parquet-train.arrow"))
    revision = cache / "nyu-mll___glue" / "rte" / "0.0.0" / ("c" * 40)
    revision.mkdir(parents=True)
    for path in made.iterdir():
        content = path.read_bytes()
        if path.suffix == ".json":
            info = {**json.loads(content), "dataset_name": "glue", "config_name": "rte", "builder_name": "parquet"}
            content = json.dumps(info).encode()
        (revision / path.name.replace("parquet-", "glue-")).write_bytes(content)
    return cache


def test_the_hubs_cache_gives_the_same_data_as_the_folder(hub_cache, rte_folder):
    splits = ("train", "validation", "test")
    cached = load_splits(DataArguments(task_name="rte"), splits, cache_dir=str(hub_cache))
    folder = load(rte_folder, splits)
    assert cached.source == f"nyu-mll/glue@{'c' * 40}"
    assert cached.fingerprint == folder.fingerprint
    for split in splits:
        assert cached.splits[split][:] == folder.splits[split][:]


def test_datasets_is_offline_while_it_reads_its_cache_and_no_longer(hub_cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    modes = []
    build = datasets.load_dataset_builder

    def record_mode(*arguments, **settings):
        modes.append(datasets.config.HF_HUB_OFFLINE)
        return build(*arguments, **settings)

    monkeypatch.setattr(datasets, "load_dataset_builder", record_mode)
    load_splits(DataArguments(task_name="rte"), ["train"], cache_dir=str(hub_cache))
    assert (modes, datasets.config.HF_HUB_OFFLINE) == ([True], False)


def test_a_local_folder_never_asks_the_hub(rte_folder, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("hype.hub.hub_is_reachable", refuse)
    load(rte_folder)
    with pytest.raises(AssertionError, match="the hub was asked"):
        load_splits(DataArguments(task_name="rte"), ["train"])


def test_an_unreachable_hub_is_a_fault_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentFault) as caught:
        load_splits(DataArguments(task_name="rte"), ["train"], cache_dir=str(tmp_path))
    for part in ("nyu-mll/glue", "--data_dir", "GLUE_DIR"):
        assert part in str(caught.value)
