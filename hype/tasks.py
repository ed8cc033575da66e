"""GLUE's tasks as data: texts, labels, files, metrics. It reads nothing; `data` reads, `metrics` scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field

HUB_ID = "nyu-mll/glue"


@dataclass(frozen=True)
class SplitSource:
    """Where one split of a task stands, and what it holds officially.

    paths: alternatives, relative to the GLUE folder; the first that exists is read.
    text_columns, label_column: names in the file's header; no label_column: the split is published without labels.
    header: the column names of a file that has no header row.
    row_count: official number of labelled (test: of all) rows.
    malformed_limit: up to so many rows of the wrong width are left out, where the published file itself has some.
    submission: file that the GLUE server takes for this split.
    """

    paths: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str | None
    hub_split: str
    row_count: int
    header: tuple[str, ...] | None = None
    malformed_limit: int = 0
    submission: str | None = None


@dataclass(frozen=True)
class Task:
    """One task.

    text_columns: names in the hub's data set. label_names: in the order of the label ids; None: regression.
    label_words: the same labels as the folder's files and the GLUE server spell them. unlabelled_word: stands for
    "no gold label"; such rows are left out. label_range: a regression's submission is clipped to it.
    score_metrics: the paper's score is their mean (table 10).
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
    hub_id: str | None = HUB_ID

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
SENTENCES = ("sentence1", "sentence2")
ACCURACY = {"metrics": ("accuracy",), "score_metrics": ("accuracy",)}
ACCURACY_AND_F1 = {"metrics": ("accuracy", "f1"), "score_metrics": ("f1",)}
MATTHEWS = {"metrics": ("matthews_correlation",), "score_metrics": ("matthews_correlation",)}
CORRELATIONS = {"metrics": ("pearson", "spearmanr"), "score_metrics": ("pearson", "spearmanr")}


def _sources(folder, text_columns, label_column, row_counts, header=None, malformed_limit=0):
    """Return the sources of a task with one file for each split: train.tsv, dev.tsv, test.tsv."""
    train, validation, test = row_counts
    return {
        "train": SplitSource(
            (f"{folder}/train.tsv",), text_columns, label_column, "train", train, header, malformed_limit
        ),
        "validation": SplitSource(
            (f"{folder}/dev.tsv",), text_columns, label_column, "validation", validation, header, malformed_limit
        ),
        "test": SplitSource(
            (f"{folder}/test.tsv",), text_columns, None, "test", test, submission=f"{folder}.tsv"
        ),
    }  # fmt: skip


# Row counts: GLUE's files as published on the hub (nyu-mll/glue).
_GLUE = (
    Task(
        "cola", "CoLA", ("sentence",), ("unacceptable", "acceptable"), BINARY, **MATTHEWS,
        sources=_sources(
            "CoLA", ("sentence",), "label", (8551, 1043, 1063), header=("source", "label", "mark", "sentence")
        ),
    ),
    Task(
        "sst2", "SST-2", ("sentence",), ("negative", "positive"), BINARY, **ACCURACY,
        sources=_sources("SST-2", ("sentence",), "label", (67349, 872, 1821)),
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
    # which GLUE's readers drop: fewer than one in 7,000 of train.
    Task(
        "qqp", "QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), BINARY, **ACCURACY_AND_F1,
        sources=_sources(
            "QQP", ("question1", "question2"), "is_duplicate", (363846, 40430, 390965), malformed_limit=50
        ),
    ),
    Task(
        "mnli", "MNLI", ("premise", "hypothesis"), NLI, NLI, **ACCURACY, unlabelled_word="-",
        sources={
            "train": SplitSource(("MNLI/train.tsv",), SENTENCES, "gold_label", "train", 392702),
            "validation": SplitSource(
                ("MNLI/dev_matched.tsv",), SENTENCES, "gold_label", "validation_matched", 9815
            ),
            "validation_mismatched": SplitSource(
                ("MNLI/dev_mismatched.tsv",), SENTENCES, "gold_label", "validation_mismatched", 9832
            ),
            "test": SplitSource(
                ("MNLI/test_matched.tsv",), SENTENCES, None, "test_matched", 9796, submission="MNLI-m.tsv"
            ),
            "test_mismatched": SplitSource(
                ("MNLI/test_mismatched.tsv",), SENTENCES, None, "test_mismatched", 9847, submission="MNLI-mm.tsv"
            ),
        },
    ),
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
        "ax", "AX", ("premise", "hypothesis"), NLI, NLI, **MATTHEWS,
        sources={
            "test": SplitSource(
                ("diagnostic/diagnostic.tsv", "AX/diagnostic.tsv", "AX/AX.tsv", "AX/test.tsv"), SENTENCES, None,
                "test", 1104, submission="AX.tsv",
            )
        },
    ),
)  # fmt: skip

TASKS: dict[str, Task] = {task.name: task for task in _GLUE}


def own_task(text_columns: tuple[str, ...], label_names: tuple[str, ...] | None) -> Task:
    """Return the task of a user's own files: accuracy for classes, correlations for regression (no label_names)."""
    scores = CORRELATIONS if label_names is None else ACCURACY
    return Task("own", "own data", text_columns, label_names, label_names, **scores, hub_id=None)
