"""GLUE folders, NLI sets and the hub's cache give the same examples; bad data is refused with its place."""

import json
from collections import Counter
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from hype.data.arguments import DataArguments
from hype.data.splits import load_splits
from hype.data.tasks import NLI_NAMES, TASKS
from hype.errors import EnvironmentFault, InputError
from hype.reproduction.experiments import load_study
from tests.glue_files import NLI_ROWS, RTE_DEV, RTE_TRAIN, load, put_on_hub, rte, snli_jsonl, write, write_rte

REAL_NLI = Path(__file__).parents[2] / "../shared/nli_data"


@pytest.fixture
def rte_folder(tmp_path):
    return write_rte(tmp_path)


@pytest.fixture(autouse=True)
def no_glue_dir(monkeypatch):
    monkeypatch.delenv("GLUE_DIR", raising=False)


def test_mnli_rows_without_gold_label_are_skipped_and_counted(tmp_path):
    rows = [("a", "b", "neutral"), ("c", "d", "-"), ("e", "f", "entailment")]
    lines = ["genre\tsentence1\tlabel1\tsentence2\tgold_label", *(f"x\t{a}\tneutral\t{b}\t{c}" for a, b, c in rows)]
    write(tmp_path, {f"MNLI/dev_{kind}.tsv": "\n".join(lines) for kind in ("matched", "mismatched")})
    loaded = load(tmp_path, ("validation", "validation_mismatched"), "mnli")
    for split in ("validation", "validation_mismatched"):
        expected = {"sentence1": ["a", "e"], "sentence2": ["b", "f"], "label": [1, 0]}
        assert loaded.splits[split][:] == expected
        assert f"{split}: 1 row without a gold label skipped, as in GLUE" in loaded.notes


def test_malformed_rows_of_qqp_are_skipped_and_named(tmp_path):
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    write(tmp_path, {"QQP/train.tsv": header + "0\t1\t2\ta\tb\t1\n1\t1\t2\tbroken\n2\t1\t2\tc\td\t0\n"})
    loaded = load(tmp_path, ["train"], "qqp")
    assert loaded.splits["train"]["label"][:] == [1, 0]
    assert "train: 1 malformed row skipped, as in GLUE (row 3)" in loaded.notes


@pytest.mark.parametrize("path", ["diagnostic/diagnostic.tsv", "AX/AX.tsv"])
def test_ax_is_found_under_either_name(tmp_path, path):
    write(tmp_path, {path: "index\tsentence1\tsentence2\n0\ta\tb\n"})
    assert load(tmp_path, ["test", "test_mismatched"], "ax").splits["test"]["sentence2"][:] == ["b"]
    with pytest.raises(InputError, match="AX has no train data; it has test"):
        load(tmp_path, ["train"], "ax")


def test_a_missing_folder_file_or_column_is_refused_with_what_is_needed(tmp_path):
    with pytest.raises(InputError, match=r"--data_dir .*absent: no such folder.*CoLA/, RTE/"):
        load(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no RTE/train.tsv; give the folder .*--data_dir or GLUE_DIR"):
        load(tmp_path)
    write(tmp_path, {"RTE/train.tsv": "index\tsentence1\tlabel\n0\ta\tentailment\n"})
    with pytest.raises(InputError, match=r"no column 'sentence2' among index, sentence1, label .*row 1"):
        load(tmp_path)


@pytest.mark.parametrize("task", ["rte", "RTE"])
def test_the_tasks_own_folder_stands_for_the_one_that_holds_it(rte_folder, monkeypatch, task):
    write(rte_folder, {"SAMPLE": "a sample"})
    loaded = load(rte_folder / "RTE", ["train"], task)
    assert loaded.fingerprint == load(rte_folder, ["train"]).fingerprint
    assert loaded.sample_text == "a sample"
    monkeypatch.chdir(rte_folder / "RTE")
    monkeypatch.setenv("HOME", str(rte_folder))
    for folder in (".", "~/RTE"):
        assert load(folder, ["train"]).row_counts == {"train": 2}
    with pytest.raises(InputError, match=r"no MRPC/train\.tsv"):
        load(rte_folder / "RTE", ["train"], "mrpc")


def sick(rows):
    header = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"]
    lines = [header, *([str(i), a, b, "3.5", label.upper()] for i, (a, b, label) in enumerate(rows))]
    return "".join("\t".join(line) + "\n" for line in lines)


SUBSET = {i: {"text_a": a, "text_b": b, "label": gold} for i, (a, b, gold) in enumerate(NLI_ROWS)}
SCITAIL_ROWS = [NLI_ROWS[0], NLI_ROWS[2]]
FORMS = {
    "SNLI": ("snli", "SNLI/snli_1.0_train.jsonl", snli_jsonl(NLI_ROWS), NLI_ROWS),
    "SNLI as unpacked": ("snli", "snli_1.0/snli_1.0_train.jsonl", snli_jsonl(NLI_ROWS), NLI_ROWS),
    "SNLI, subset of the study": ("snli", "SNLI/train_subset.json", json.dumps(SUBSET), NLI_ROWS),
    "SICK": ("sick", "SICK/SICK_train.txt", sick(NLI_ROWS), NLI_ROWS),
    "SciTail": (
        "scitail", "SciTailV1.1/snli_format/scitail_1.0_train.txt", snli_jsonl(SCITAIL_ROWS), SCITAIL_ROWS,
    ),
    "SciTail, letters": (
        "scitail", "SciTail/train.jsonl",
        snli_jsonl([(a, b, label[0].upper()) for a, b, label in SCITAIL_ROWS]), SCITAIL_ROWS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_published_form_of_an_nli_set_gives_the_same_rows(name, tmp_path):
    task, path, content, rows = FORMS[name]
    dataset = load(write(tmp_path, {path: content}), ["train"], task).splits["train"]
    labels = [TASKS[task].label_names[i] for i in dataset["label"]]
    assert list(zip(dataset["sentence1"], dataset["sentence2"], labels, strict=True)) == rows


def test_parallel_files_of_snli_are_read_line_by_line(tmp_path):
    files = {
        "SNLI/dev_s1.txt": "A. \nB. \n",
        "SNLI/dev_s2.txt": "C. \nD. \n",
        "SNLI/dev_labels.txt": "neutral\nentailment\n",
    }
    dataset = load(write(tmp_path, files), ["validation"], "snli").splits["validation"]
    assert (dataset["sentence1"][:], dataset["sentence2"][:], dataset["label"][:]) == (
        ["A. ", "B. "], ["C. ", "D. "], [1, 0]
    )  # fmt: skip
    write(tmp_path, {"SNLI/dev_s2.txt": "C. \n"})
    with pytest.raises(InputError, match=r"'sentence2'.*row 2: nan"):
        load(tmp_path, ["validation"], "snli")
    (tmp_path / "SNLI/dev_s2.txt").unlink()
    with pytest.raises(InputError, match=r"no SNLI/snli_1.0_dev\.jsonl"):
        load(tmp_path, ["validation"], "snli")


RTE_ROWS, MAYBE = rte(RTE_TRAIN[:1]), [*NLI_ROWS, ("A.", "B.", "maybe")]


@pytest.mark.parametrize(
    ("task", "path", "content", "message"),
    [
        ("rte", "RTE/train.tsv", RTE_ROWS + "1\ta\tb\tentailment\tmore\n", "row 3: 5 columns .* has 4"),
        (
            "rte", "RTE/train.tsv", RTE_ROWS + "1\ta\tb\tneutral\n",
            "column 'label': expected one of entailment, not_entailment; found: row 3: 'neutral'",
        ),
        ("snli", "SNLI/snli_1.0_train.jsonl", snli_jsonl(MAYBE), "row 4: 'maybe'"),
        ("scitail", "SciTail/train.jsonl", snli_jsonl([(None, "B.", "N")]), "row 1: None"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_place(tmp_path, task, path, content, message):
    with pytest.raises(InputError, match=f"{path}.*{message}"):
        load(write(tmp_path, {path: content}), ["train"], task)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The cache of `datasets` as after a download of nyu-mll/glue, with the hub unreachable."""
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


def test_an_unreachable_hub_is_a_fault_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentFault) as caught:
        load_splits(DataArguments(task_name="rte"), ["train"], cache_dir=str(tmp_path))
    for part in ("nyu-mll/glue", "--data_dir", "GLUE_DIR"):
        assert part in str(caught.value)


PAIRS = {"premise": ["A.", "B."], "hypothesis": ["C.", "D."]}


@pytest.mark.parametrize(
    ("task", "columns", "names", "expected"),
    [
        ("snli", {**PAIRS, "label": [-1, 2]}, None, ["contradiction"]),
        ("sick", {"sentence_A": ["A."], "sentence_B": ["B."], "label": [1]}, None, ["neutral"]),
        ("scitail", {**PAIRS, "label": ["neutral", "entails"]}, None, ["neutral", "entailment"]),
        ("snli", {**PAIRS, "label": [0, 1]}, ["neutral", "contradiction", "entailment"], ["neutral", "contradiction"]),
        ("snli", {**PAIRS, "label": [0, 1]}, ["a", "b", "c"], None),
        ("sick", {"sentence_A": ["A."], "sentence_B": ["B."], "label": [-1]}, None, None),
        ("mnli", {**PAIRS, "label": [0, 2]}, None, ["entailment", "contradiction"]),
    ],
)
def test_the_hubs_words_ids_and_missing_labels_are_understood(monkeypatch, task, columns, names, expected):
    dataset = datasets.Dataset.from_dict(columns)
    if names:
        dataset = dataset.cast_column("label", datasets.ClassLabel(names=names))
    split = "validation_matched" if task == "mnli" else "validation"
    put_on_hub(monkeypatch, TASKS[task].hub_id, TASKS[task].hub_config or task, split, dataset)
    if expected is None:
        with pytest.raises(InputError, match=rf"{TASKS[task].hub_id}, column 'label': expected .*; found: row 0"):
            load_splits(DataArguments(task_name=task), ["validation"])
    else:
        loaded = load_splits(DataArguments(task_name=task), ["validation"]).splits["validation"]
        assert [TASKS[task].label_names[i] for i in loaded["label"]] == expected


def test_the_variables_folder_is_passed_over_for_a_set_that_is_not_glues(tmp_path, monkeypatch):
    """GLUE_DIR need not contain the NLI sets, but a folder passed as --data_dir must."""
    asked = []
    monkeypatch.setattr("hype.data.splits.read_hub", lambda task, *_: asked.append(task.name) or ({}, "hub"))
    monkeypatch.setenv("GLUE_DIR", str(tmp_path))
    load_splits(DataArguments(task_name="snli"), ["validation"])
    assert asked == ["snli"]
    for data in (DataArguments(task_name="rte"), DataArguments(task_name="snli", data_dir=str(tmp_path))):
        with pytest.raises(InputError, match=str(tmp_path)):
            load_splits(data, ["validation"])
    write(tmp_path, {"SICK/SICK_trial.txt": ""})
    with pytest.raises(InputError, match=r"SICK_trial\.txt"):
        load_splits(DataArguments(task_name="sick"), ["validation"])


# Label counts from the README of the files: entailment, neutral, contradiction.
REAL_COUNTS = {
    ("snli", "train"): (2981, 2994, 3024),
    ("snli", "validation"): (3329, 3235, 3278),
    ("snli", "test"): (3368, 3219, 3237),
    ("sick", "train"): (1299, 2536, 665),
    ("sick", "validation"): (144, 282, 74),
    ("sick", "test"): (1414, 2793, 720),
    ("scitail", "validation"): (657, 647),
    ("scitail", "test"): (842, 1284),
}


@pytest.mark.skipif(not REAL_NLI.is_dir(), reason="needs the real NLI files in ../shared/nli_data")
@pytest.mark.parametrize(("task", "split"), REAL_COUNTS)
def test_the_real_files_have_their_readmes_counts(task, split):
    counts = Counter(load(REAL_NLI, [split], task).splits[split]["label"][:])
    assert tuple(counts[i] for i in range(TASKS[task].label_count)) == REAL_COUNTS[task, split]


@pytest.mark.skipif(not REAL_NLI.is_dir(), reason="needs the real NLI files in ../shared/nli_data")
@pytest.mark.parametrize("name", ["snli, first 5000", *(f"{task}, dev first 1000" for task in NLI_NAMES)])
def test_the_real_files_are_those_of_the_published_study(name):
    expected = load_study("decisive").data[name]
    task, limit = name.split(", ")
    flag = "max_eval_samples" if limit.startswith("dev") else "max_train_samples"
    assert load(REAL_NLI, expected, task, **{flag: int(limit.split()[-1])}).fingerprint == expected
