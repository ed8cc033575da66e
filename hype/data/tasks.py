"""GLUE's tasks and three NLI sets as one table: texts, labels, files, official row counts, metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HUB_ID = "nyu-mll/glue"
PARALLEL = ("s1", "s2", "labels")


@dataclass(frozen=True)
class SplitSource:
    """Where one split of a task is published, and what it holds officially.

    Args:
        paths: Alternatives, relative to the data folder; the first that exists is read. `{}` stands for s1, s2 and
            labels: three files with one text or label per line.
        text_columns: Names in the file's header.
        label_column: Name in the file's header; None if the split is published without labels.
        hub_split: Name of the split in the hub's data set.
        row_count: Official number of labelled rows (test: of all rows).
        header: Column names of a file that has no header row.
        is_json: Whether the file holds JSON objects rather than unquoted tab-separated values.
        malformed_limit: This many rows of the wrong width are skipped, since the published file itself has some.
        submission: Name of the file that the GLUE server takes for this split.
    """

    paths: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str | None
    hub_split: str
    row_count: int
    header: tuple[str, ...] | None = None
    is_json: bool = False
    malformed_limit: int = 0
    submission: str | None = None

    @property
    def alternatives(self) -> list[list[str]]:
        """For each of `paths` the files that it stands for."""
        return [[path.format(part) for part in PARALLEL] if "{}" in path else [path] for path in self.paths]


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        name: As in `--task_name`.
        title: As in the paper.
        text_columns: Names in the hub's data set.
        label_names: In the order of the label ids; None for regression.
        label_words: The same labels as the files and the GLUE server spell them.
        metrics: All metrics of the task.
        score_metrics: The paper's score is their mean (table 10).
        sources: Split -> where it is published.
        unlabelled_word: Stands for "no gold label" in the files (-1 on the hub); such rows are skipped.
        label_range: Smallest and largest score of a regression; submissions are clipped to it.
        spellings: Other spellings of labels, in files or on the hub -> label name.
        hub_id, hub_config, hub_revision: The hub's data set. hub_config defaults to the task's name.
    """

    name: str
    title: str
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] | None
    label_words: tuple[str, ...] | None
    metrics: tuple[str, ...]
    score_metrics: tuple[str, ...]
    sources: Mapping[str, SplitSource] = field(default_factory=dict)
    unlabelled_word: str | None = None
    label_range: tuple[float, float] | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    hub_id: str | None = HUB_ID
    hub_config: str | None = None
    hub_revision: str | None = None

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers, not classes."""
        return self.label_names is None

    @property
    def label_count(self) -> int:
        """Outputs of a head for this task: the number of classes, 1 for regression."""
        return 1 if self.label_names is None else len(self.label_names)


BINARY = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
SENTENCE, SENTENCES, PREMISE = ("sentence",), ("sentence1", "sentence2"), ("premise", "hypothesis")
ACCURACY = {"metrics": ("accuracy",), "score_metrics": ("accuracy",)}
ACCURACY_AND_F1 = {"metrics": ("accuracy", "f1"), "score_metrics": ("f1",)}
MATTHEWS = {"metrics": ("matthews_correlation",), "score_metrics": ("matthews_correlation",)}
CORRELATIONS = {"metrics": ("pearson", "spearmanr"), "score_metrics": ("pearson", "spearmanr")}


def _sources(folder, texts, label, row_counts, header=None, malformed_limit=0):
    """Return the sources of a GLUE task with one file for each split: train.tsv, dev.tsv, test.tsv."""
    train, validation, test = row_counts
    labelled = {"header": header, "malformed_limit": malformed_limit}
    return {
        "train": SplitSource((f"{folder}/train.tsv",), texts, label, "train", train, **labelled),
        "validation": SplitSource((f"{folder}/dev.tsv",), texts, label, "validation", validation, **labelled),
        "test": SplitSource((f"{folder}/test.tsv",), texts, None, "test", test, submission=f"{folder}.tsv"),
    }


def _mnli_sources():
    def source(name, hub_split, row_count, label="gold_label", submission=None):
        return SplitSource((f"MNLI/{name}.tsv",), SENTENCES, label, hub_split, row_count, submission=submission)

    return {
        "train": source("train", "train", 392702),
        "validation": source("dev_matched", "validation_matched", 9815),
        "validation_mismatched": source("dev_mismatched", "validation_mismatched", 9832),
        "test": source("test_matched", "test_matched", 9796, None, "MNLI-m.tsv"),
        "test_mismatched": source("test_mismatched", "test_mismatched", 9847, None, "MNLI-mm.tsv"),
    }


# Name, title, texts on the hub, labels by id, labels in the files; then texts and label in the files, and the row
# counts of train, dev and test as published on the hub.
_GLUE = (
    Task(
        "cola", "CoLA", SENTENCE, ("unacceptable", "acceptable"), BINARY, **MATTHEWS,
        sources=_sources(
            "CoLA", SENTENCE, "label", (8551, 1043, 1063), header=("source", "label", "mark", "sentence")
        ),
    ),
    Task(
        "sst2", "SST-2", SENTENCE, ("negative", "positive"), BINARY, **ACCURACY,
        sources=_sources("SST-2", SENTENCE, "label", (67349, 872, 1821)),
    ),
    Task(
        "mrpc", "MRPC", SENTENCES, ("not_equivalent", "equivalent"), BINARY, **ACCURACY_AND_F1,
        sources=_sources("MRPC", ("#1 String", "#2 String"), "Quality", (3668, 408, 1725)),
    ),
    Task(
        "stsb", "STS-B", SENTENCES, None, None, **CORRELATIONS, label_range=(0.0, 5.0),
        sources=_sources("STS-B", SENTENCES, "score", (5749, 1500, 1379)),
    ),
    # QQP's published files hold rows broken by line breaks and lost tabs (github.com/nyu-mll/GLUE-baselines/issues/5),
    # which GLUE's readers skip: fewer than one in 7,000 of train.
    Task(
        "qqp", "QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), BINARY, **ACCURACY_AND_F1,
        sources=_sources(
            "QQP", ("question1", "question2"), "is_duplicate", (363846, 40430, 390965), malformed_limit=50
        ),
    ),
    Task("mnli", "MNLI", PREMISE, NLI, NLI, **ACCURACY, sources=_mnli_sources(), unlabelled_word="-"),
    Task(
        "qnli", "QNLI", ("question", "sentence"), ENTAILMENT, ENTAILMENT, **ACCURACY,
        sources=_sources("QNLI", ("question", "sentence"), "label", (104743, 5463, 5463)),
    ),
    Task(
        "rte", "RTE", SENTENCES, ENTAILMENT, ENTAILMENT, **ACCURACY,
        sources=_sources("RTE", SENTENCES, "label", (2490, 277, 3000)),
    ),
    Task(
        "wnli", "WNLI", SENTENCES, ("not_entailment", "entailment"), BINARY, **ACCURACY,
        sources=_sources("WNLI", SENTENCES, "label", (635, 71, 146)),
    ),
    # GLUE's diagnostic set: a test set for models trained on MNLI.
    Task(
        "ax", "AX", PREMISE, NLI, NLI, **MATTHEWS,
        sources={
            "test": SplitSource(
                ("diagnostic/diagnostic.tsv", "AX/diagnostic.tsv", "AX/AX.tsv", "AX/test.tsv"), SENTENCES, None,
                "test", 1104, submission="AX.tsv",
            )
        },
    ),
)  # fmt: skip


def _snli(split, name, row_count):
    """Return SNLI 1.0 as its authors publish it, or the copies that the published study was run on."""
    copy = "SNLI/train_subset.json" if split == "train" else f"SNLI/{name}_{{}}.txt"
    paths = (f"SNLI/snli_1.0_{name}.jsonl", f"snli_1.0/snli_1.0_{name}.jsonl", copy)
    return SplitSource(paths, SENTENCES, "gold_label", split, row_count, is_json=True)


def _sick(split, name, row_count):
    """Return SICK as released for SemEval-2014; the hub's later version has 4439, 495 and 4906 rows, as table 13."""
    return SplitSource(
        (f"SICK/{name}.txt",), ("sentence_A", "sentence_B"), "entailment_judgment", split, row_count
    )  # fmt: skip


def _scitail(split, name, row_count):
    """Return SciTail 1.1 in its SNLI format, or as the Aristo leaderboard publishes dev and test."""
    return SplitSource(
        (f"SciTailV1.1/snli_format/scitail_1.0_{name}.txt", f"SciTail/{name}.jsonl"), SENTENCES, "gold_label",
        split, row_count, is_json=True,
    )  # fmt: skip


# Row counts are those of labelled rows.
_NLI_SETS = (
    Task(
        "snli", "SNLI", PREMISE, NLI, NLI, **ACCURACY, unlabelled_word="-",
        sources={
            "train": _snli("train", "train", 549367),
            "validation": _snli("validation", "dev", 9842),
            "test": _snli("test", "test", 9824),
        },
        hub_id="stanfordnlp/snli", hub_config="plain_text",
    ),
    Task(
        "sick", "SICK", ("sentence_A", "sentence_B"), NLI, tuple(name.upper() for name in NLI), **ACCURACY,
        sources={
            "train": _sick("train", "SICK_train", 4500),
            "validation": _sick("validation", "SICK_trial", 500),
            "test": _sick("test", "SICK_test_annotated", 4927),
        },
        # The set itself is a loading script, which `datasets` no longer runs; the hub converted it.
        hub_id="RobZamp/sick", hub_config="default", hub_revision="refs/convert/parquet",
    ),
    Task(
        "scitail", "SciTail", PREMISE, ("entailment", "neutral"), ("entailment", "neutral"), **ACCURACY,
        sources={
            "train": _scitail("train", "train", 23596),
            "validation": _scitail("validation", "dev", 1304),
            "test": _scitail("test", "test", 2126),
        },
        spellings={"entails": "entailment", "E": "entailment", "N": "neutral"},
        hub_id="allenai/scitail", hub_config="tsv_format",
    ),
)  # fmt: skip

TASKS: dict[str, Task] = {task.name: task for task in (*_GLUE, *_NLI_SETS)}
NLI_NAMES = tuple(task.name for task in _NLI_SETS)
# Names of transformers' older GLUE processors and of the data folders.
ALIASES = {"sst-2": "sst2", "sts-b": "stsb", "mnli-mm": "mnli"}


def own_task(text_columns: tuple[str, ...], label_names: tuple[str, ...] | None) -> Task:
    """Return the task of a user's own files: accuracy for classes, correlations for regression (no label_names)."""
    scores = CORRELATIONS if label_names is None else ACCURACY
    return Task("own", "own data", text_columns, label_names, label_names, **scores, hub_id=None)


def task_files(task_name: str) -> list[str]:
    """Return all places in a data folder where the splits of a task may be found."""
    return [file for source in TASKS[task_name].sources.values() for files in source.alternatives for file in files]


def holds(folder: str | Path, task_name: str) -> bool:
    """Return whether a folder has any file of a task."""
    return any(Path(folder, path).is_file() for path in task_files(task_name))


def nli_folder(nli_dir: str | None, data_dir: str | None) -> str | None:
    """Return the folder of the NLI sets: their own, else the GLUE folder if it holds SNLI, else None."""
    if nli_dir is None and data_dir is not None:
        return data_dir if holds(data_dir, "snli") else None
    return nli_dir


def sample_text(folder: str | Path) -> str | None:
    """Return the text of a folder's SAMPLE file, which marks data that is no benchmark; None without such a file."""
    marker = Path(folder, "SAMPLE")
    return marker.read_text(encoding="utf-8").strip() if marker.is_file() else None
