"""GLUE's tasks and three NLI sets as one table: texts, labels, files, official row counts, metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HUB_ID = "nyu-mll/glue"
PARALLEL = ("s1", "s2", "labels")


@dataclass(frozen=True)
class SplitSource:
    """Where one split of a task is published, and its official size.

    Args:
        row_count: Official number of labelled rows (test: of all rows).
        paths: Alternatives, relative to the data folder; the first that exists is read. `{}` stands for s1, s2 and
            labels: three files with one text or label per line.
        submission: File name that the GLUE server expects for this split; None for splits published with labels.
    """

    row_count: int
    paths: tuple[str, ...] = ()
    submission: str | None = None

    def files(self, folder: str | Path) -> list[Path]:
        """Return the files of this split in a data folder, three if they are parallel; empty if they do not exist."""
        for path in self.paths:
            files = [Path(folder, name) for name in dict.fromkeys(path.format(part) for part in PARALLEL)]
            if all(file.is_file() for file in files):
                return files
        return []


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        name: As in `--task_name`.
        title: As in the paper.
        text_columns: The text columns of the hub's data set.
        label_names: In the order of the label ids; None for regression.
        label_words: The same labels as spelled in the files and by the GLUE server.
        metrics: All metrics of the task.
        score_metrics: The metrics whose mean is the paper's score (table 10).
        sources: Split -> where it is published.
        file_columns: Column names in the header of the files, the label column last.
        file_header: Column names of files without a header row; those of unlabelled splits have one.
        is_json: Whether the files contain JSON objects rather than unquoted tab-separated values.
        malformed_limit: Up to this many rows with the wrong number of columns, as in the published files, are skipped.
        unlabelled_word: Label of rows without a gold label in the files (-1 on the hub); such rows are skipped.
        label_range: Smallest and largest score of a regression; submissions are clipped to this range.
        spellings: Other spelling of a label, in files or on the hub -> label name.
        hub_id, hub_config, hub_revision: The data set on the hub. hub_config defaults to the task's name.
        hub_splits: Split -> its name on the hub, where that differs.
    """

    name: str
    title: str
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] | None
    label_words: tuple[str, ...] | None
    metrics: tuple[str, ...]
    score_metrics: tuple[str, ...]
    sources: Mapping[str, SplitSource] = field(default_factory=dict)
    file_columns: tuple[str, ...] = ()
    file_header: tuple[str, ...] | None = None
    is_json: bool = False
    malformed_limit: int = 0
    unlabelled_word: str | None = None
    label_range: tuple[float, float] | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    hub_id: str | None = HUB_ID
    hub_config: str | None = None
    hub_revision: str | None = None
    hub_splits: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_regression(self) -> bool:
        """Whether labels are scores, not classes."""
        return self.label_names is None

    @property
    def label_count(self) -> int:
        """Number of outputs of a head for this task: the number of classes, or 1 for regression."""
        return 1 if self.label_names is None else len(self.label_names)


BINARY = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
SENTENCE, SENTENCES, PREMISE = ("sentence",), ("sentence1", "sentence2"), ("premise", "hypothesis")
ACCURACY = {"metrics": ("accuracy",), "score_metrics": ("accuracy",)}
ACCURACY_AND_F1 = {"metrics": ("accuracy", "f1"), "score_metrics": ("f1",)}
MATTHEWS = {"metrics": ("matthews_correlation",), "score_metrics": ("matthews_correlation",)}
CORRELATIONS = {"metrics": ("pearson", "spearmanr"), "score_metrics": ("pearson", "spearmanr")}


def _files(folder: str, train: int, validation: int, test: int) -> dict[str, SplitSource]:
    """Return the sources of a GLUE task with these numbers of rows on the hub."""
    return {
        "train": SplitSource(train, (f"{folder}/train.tsv",)),
        "validation": SplitSource(validation, (f"{folder}/dev.tsv",)),
        "test": SplitSource(test, (f"{folder}/test.tsv",), f"{folder}.tsv"),
    }


# Name, title, text columns on the hub, label names by id, labels in the files; then the files and their columns.
_TASKS = (
    Task(
        "cola", "CoLA", SENTENCE, ("unacceptable", "acceptable"), BINARY, **MATTHEWS,
        sources=_files("CoLA", 8551, 1043, 1063), file_columns=("sentence", "label"),
        file_header=("source", "label", "mark", "sentence"),
    ),
    Task(
        "sst2", "SST-2", SENTENCE, ("negative", "positive"), BINARY, **ACCURACY,
        sources=_files("SST-2", 67349, 872, 1821), file_columns=("sentence", "label"),
    ),
    Task(
        "mrpc", "MRPC", SENTENCES, ("not_equivalent", "equivalent"), BINARY, **ACCURACY_AND_F1,
        sources=_files("MRPC", 3668, 408, 1725), file_columns=("#1 String", "#2 String", "Quality"),
    ),
    Task(
        "stsb", "STS-B", SENTENCES, None, None, **CORRELATIONS, label_range=(0.0, 5.0),
        sources=_files("STS-B", 5749, 1500, 1379), file_columns=(*SENTENCES, "score"),
    ),
    # QQP's published files have rows broken by line breaks and lost tabs (github.com/nyu-mll/GLUE-baselines/issues/5),
    # which GLUE's readers skip: fewer than one in 7,000 training rows.
    Task(
        "qqp", "QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), BINARY, **ACCURACY_AND_F1,
        sources=_files("QQP", 363846, 40430, 390965), file_columns=("question1", "question2", "is_duplicate"),
        malformed_limit=50,
    ),
    Task(
        "mnli", "MNLI", PREMISE, NLI, NLI, **ACCURACY,
        sources={
            "train": SplitSource(392702, ("MNLI/train.tsv",)),
            "validation": SplitSource(9815, ("MNLI/dev_matched.tsv",)),
            "validation_mismatched": SplitSource(9832, ("MNLI/dev_mismatched.tsv",)),
            "test": SplitSource(9796, ("MNLI/test_matched.tsv",), "MNLI-m.tsv"),
            "test_mismatched": SplitSource(9847, ("MNLI/test_mismatched.tsv",), "MNLI-mm.tsv"),
        },
        file_columns=(*SENTENCES, "gold_label"), unlabelled_word="-",
        hub_splits={"validation": "validation_matched", "test": "test_matched"},
    ),
    Task(
        "qnli", "QNLI", ("question", "sentence"), ENTAILMENT, ENTAILMENT, **ACCURACY,
        sources=_files("QNLI", 104743, 5463, 5463), file_columns=("question", "sentence", "label"),
    ),
    Task(
        "rte", "RTE", SENTENCES, ENTAILMENT, ENTAILMENT, **ACCURACY,
        sources=_files("RTE", 2490, 277, 3000), file_columns=(*SENTENCES, "label"),
    ),
    Task(
        "wnli", "WNLI", SENTENCES, ("not_entailment", "entailment"), BINARY, **ACCURACY,
        sources=_files("WNLI", 635, 71, 146), file_columns=(*SENTENCES, "label"),
    ),
    # GLUE's diagnostic set: a test set for models trained on MNLI.
    Task(
        "ax", "AX", PREMISE, NLI, NLI, **MATTHEWS,
        sources={"test": SplitSource(
            1104, ("diagnostic/diagnostic.tsv", "AX/diagnostic.tsv", "AX/AX.tsv", "AX/test.tsv"), "AX.tsv"
        )},
        file_columns=(*SENTENCES, "label"),
    ),
    # SNLI 1.0 as published by its authors, or the copies used for the published study. Counts: labelled rows only.
    Task(
        "snli", "SNLI", PREMISE, NLI, NLI, **ACCURACY,
        sources={
            "train": SplitSource(
                549367, ("SNLI/snli_1.0_train.jsonl", "snli_1.0/snli_1.0_train.jsonl", "SNLI/train_subset.json")
            ),
            "validation": SplitSource(
                9842, ("SNLI/snli_1.0_dev.jsonl", "snli_1.0/snli_1.0_dev.jsonl", "SNLI/dev_{}.txt")
            ),
            "test": SplitSource(
                9824, ("SNLI/snli_1.0_test.jsonl", "snli_1.0/snli_1.0_test.jsonl", "SNLI/test_{}.txt")
            ),
        },
        file_columns=(*SENTENCES, "gold_label"), is_json=True, unlabelled_word="-",
        hub_id="stanfordnlp/snli", hub_config="plain_text",
    ),
    # SICK as released for SemEval-2014; the hub's later version has 4439, 495 and 4906 rows, as in table 13.
    Task(
        "sick", "SICK", ("sentence_A", "sentence_B"), NLI, tuple(name.upper() for name in NLI), **ACCURACY,
        sources={
            "train": SplitSource(4500, ("SICK/SICK_train.txt",)),
            "validation": SplitSource(500, ("SICK/SICK_trial.txt",)),
            "test": SplitSource(4927, ("SICK/SICK_test_annotated.txt",)),
        },
        file_columns=("sentence_A", "sentence_B", "entailment_judgment"),
        # The data set is a loading script, which `datasets` no longer runs; this is the hub's parquet conversion.
        hub_id="RobZamp/sick", hub_config="default", hub_revision="refs/convert/parquet",
    ),
    # SciTail 1.1 in its SNLI format, or as the Aristo leaderboard publishes dev and test.
    Task(
        "scitail", "SciTail", PREMISE, ("entailment", "neutral"), ("entailment", "neutral"), **ACCURACY,
        sources={
            "train": SplitSource(23596, ("SciTailV1.1/snli_format/scitail_1.0_train.txt", "SciTail/train.jsonl")),
            "validation": SplitSource(1304, ("SciTailV1.1/snli_format/scitail_1.0_dev.txt", "SciTail/dev.jsonl")),
            "test": SplitSource(2126, ("SciTailV1.1/snli_format/scitail_1.0_test.txt", "SciTail/test.jsonl")),
        },
        file_columns=(*SENTENCES, "gold_label"), is_json=True,
        spellings={"entails": "entailment", "E": "entailment", "N": "neutral"},
        hub_id="allenai/scitail", hub_config="tsv_format",
    ),
)  # fmt: skip
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
NLI_NAMES = ("snli", "sick", "scitail")
# Task names of transformers' older GLUE processors and of the data folders.
ALIASES = {"sst-2": "sst2", "sts-b": "stsb", "mnli-mm": "mnli"}


def own_task(text_columns: tuple[str, ...], label_names: tuple[str, ...] | None) -> Task:
    """Return the task of a user's own files: accuracy for classes, correlations for regression (no label_names)."""
    scores = CORRELATIONS if label_names is None else ACCURACY
    return Task("own", "own data", text_columns, label_names, label_names, **scores, hub_id=None)


def holds(folder: str | Path, task_name: str) -> bool:
    """Return whether a folder contains any split of a task."""
    return any(source.files(folder) for source in TASKS[task_name].sources.values())


def nli_folder(nli_dir: str | None, data_dir: str | None) -> str | None:
    """Return the folder of the NLI sets: `nli_dir`, else `data_dir` if it contains SNLI, else None."""
    if nli_dir is None and data_dir is not None:
        return data_dir if holds(data_dir, "snli") else None
    return nli_dir


def sample_text(folder: str | Path) -> str | None:
    """Return the text of a folder's SAMPLE file, which marks data that is not a benchmark, or None without one."""
    marker = Path(folder, "SAMPLE")
    return marker.read_text(encoding="utf-8").strip() if marker.is_file() else None
