"""GLUE's tasks and three NLI sets as data: texts, labels, files, metrics. `data` reads them, `metrics` scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HUB_ID = "nyu-mll/glue"


@dataclass(frozen=True)
class Form:
    """One of several forms in which the files of a split are published.

    paths: alternatives, relative to the folder, each of one file or of three parallel ones. reader: a key of
    sources.FORM_READERS. label_words: as in Task. header: as in SplitSource. where: a column and the value by which
    one file's rows of this split are told from the others'.
    """

    paths: tuple[tuple[str, ...], ...]
    reader: str
    text_columns: tuple[str, ...]
    label_column: str
    label_words: tuple[str, ...]
    header: tuple[str, ...] | None = None
    where: tuple[str, str] | None = None


@dataclass(frozen=True)
class SplitSource:
    """Where one split of a task stands, and what it holds officially.

    paths: alternatives, relative to the GLUE folder; the first that exists is read.
    text_columns, label_column: names in the file's header; no label_column: the split is published without labels.
    header: the column names of a file that has no header row.
    row_count: official number of labelled (test: of all) rows.
    malformed_limit: up to so many rows of the wrong width are left out, where the published file itself has some.
    submission: file that the GLUE server takes for this split. forms: instead of paths; the first that exists is read.
    """

    paths: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str | None
    hub_split: str
    row_count: int
    header: tuple[str, ...] | None = None
    malformed_limit: int = 0
    submission: str | None = None
    forms: tuple[Form, ...] = ()


@dataclass(frozen=True)
class Task:
    """One task.

    text_columns: names in the hub's data set. label_names: in the order of the label ids; None: regression.
    label_words: the same labels as the folder's files and the GLUE server spell them. unlabelled_word: stands for
    "no gold label"; such rows are left out (the hub's -1 too). label_range: a regression's submission is clipped to it.
    score_metrics: the paper's score is their mean (table 10). hub_config: the name in the hub's data set, else the
    task's. hub_label_words: the labels as the hub spells them, where it holds words and no ids.
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
    hub_config: str | None = None
    hub_revision: str | None = None
    hub_label_words: tuple[str, ...] | None = None

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


def _in_folders(folders, *names):
    """Return the alternatives of a form: the same files in each of these folders."""
    return tuple(tuple(f"{folder}{name}" for name in names) for folder in folders)


_SNLI_FOLDERS = ("SNLI/", "snli_1.0/", "")


def _snli_forms(split: str) -> tuple[Form, ...]:
    original = f"snli_1.0_{split}"
    parallel = [(f"{split}_s1.txt", f"{split}_s2.txt", f"{split}_labels.txt")]
    parallel.append((f"s1.{split}", f"s2.{split}", f"labels.{split}"))
    return (
        Form(_in_folders(_SNLI_FOLDERS, f"{original}.jsonl"), "json", SENTENCES, "gold_label", NLI),
        Form(_in_folders(_SNLI_FOLDERS, f"{original}.txt"), "tsv", SENTENCES, "gold_label", NLI),
        *(Form(_in_folders(_SNLI_FOLDERS, *names), "lines", SENTENCES, "label", NLI) for names in parallel),
        Form(_in_folders(_SNLI_FOLDERS, f"{split}.tsv"), "gold_last_tsv", SENTENCES, "gold_label", NLI),
        Form(_in_folders(_SNLI_FOLDERS, f"{split}_subset.json"), "json_object", ("text_a", "text_b"), "label", NLI),
    )


_SICK_FOLDERS = ("SICK/", "")
_SICK_WORDS = tuple(name.upper() for name in NLI)


def _sick_forms(semeval_name: str, semeval_set: str) -> tuple[Form, ...]:
    texts = ("sentence_A", "sentence_B")
    return (
        Form(_in_folders(_SICK_FOLDERS, semeval_name), "tsv", texts, "entailment_judgment", _SICK_WORDS),
        Form(
            _in_folders(_SICK_FOLDERS, "SICK.txt"), "tsv", texts, "entailment_label", _SICK_WORDS,
            where=("SemEval_set", semeval_set),
        ),
    )  # fmt: skip


_SCITAIL_FOLDERS = ("SciTail/", "SciTailV1.1/", "")
_SCITAIL = ("entailment", "neutral")


def _scitail_forms(split: str) -> tuple[Form, ...]:
    original = f"snli_format/scitail_1.0_{split}.txt"
    columns = ("premise", "hypothesis", "label")
    return (
        Form(_in_folders(_SCITAIL_FOLDERS, f"{split}.jsonl"), "json", SENTENCES, "gold_label", ("E", "N")),
        Form(_in_folders(_SCITAIL_FOLDERS, original), "json", SENTENCES, "gold_label", _SCITAIL),
        Form(
            _in_folders(_SCITAIL_FOLDERS, f"tsv_format/scitail_1.0_{split}.tsv"), "tsv", columns[:2], "label",
            ("entails", "neutral"), columns,
        ),
    )  # fmt: skip


def _nli_sources(row_counts, forms):
    """Return the sources of an NLI set: its train, validation and test rows, all labelled."""
    return {
        split: SplitSource((), SENTENCES, "label", split, row_count, forms=of_split)
        for split, row_count, of_split in zip(("train", "validation", "test"), row_counts, forms, strict=True)
    }


# Row counts: labelled rows of SNLI 1.0, SciTail 1.1, and SICK as released for SemEval-2014. The later SICK.txt, which
# the hub holds, has 4439, 495 and 4906 rows: table 13's.
_NLI_SETS = (
    Task(
        "snli", "SNLI", ("premise", "hypothesis"), NLI, NLI, **ACCURACY, unlabelled_word="-",
        sources=_nli_sources((549367, 9842, 9824), [_snli_forms(split) for split in ("train", "dev", "test")]),
        hub_id="stanfordnlp/snli", hub_config="plain_text",
    ),
    Task(
        "sick", "SICK", ("sentence_A", "sentence_B"), NLI, _SICK_WORDS, **ACCURACY,
        sources=_nli_sources(
            (4500, 500, 4927),
            [
                _sick_forms("SICK_train.txt", "TRAIN"),
                _sick_forms("SICK_trial.txt", "TRIAL"),
                _sick_forms("SICK_test_annotated.txt", "TEST"),
            ],
        ),
        # The set itself is a loading script, which `datasets` no longer runs; the hub converted it.
        hub_id="RobZamp/sick", hub_config="default", hub_revision="refs/convert/parquet",
    ),
    Task(
        "scitail", "SciTail", ("premise", "hypothesis"), _SCITAIL, _SCITAIL, **ACCURACY,
        sources=_nli_sources((23596, 1304, 2126), [_scitail_forms(split) for split in ("train", "dev", "test")]),
        hub_id="allenai/scitail", hub_config="tsv_format", hub_label_words=("entails", "neutral"),
    ),
)  # fmt: skip

TASKS: dict[str, Task] = {task.name: task for task in (*_GLUE, *_NLI_SETS)}
NLI_NAMES = tuple(task.name for task in _NLI_SETS)


def sample_text(folder: str | Path) -> str | None:
    """Return what a folder's file SAMPLE says of its data: that they are no benchmark's. None: it has no such file."""
    marker = Path(folder, "SAMPLE")
    return marker.read_text(encoding="utf-8").strip() if marker.is_file() else None


def holds(folder: str, name: str) -> bool:
    """Return whether a folder has any file of an NLI set, in whichever form."""
    forms = [form for source in TASKS[name].sources.values() for form in source.forms]
    return any(Path(folder, path).is_file() for form in forms for paths in form.paths for path in paths)


def nli_folder(nli_dir: str | None, data_dir: str | None) -> str | None:
    """Return the folder of the NLI sets: their own, else the GLUE folder where it holds SNLI; else None."""
    if nli_dir is None and data_dir is not None:
        return data_dir if holds(data_dir, "snli") else None
    return nli_dir


def own_task(text_columns: tuple[str, ...], label_names: tuple[str, ...] | None) -> Task:
    """Return the task of a user's own files: accuracy for classes, correlations for regression (no label_names)."""
    scores = CORRELATIONS if label_names is None else ACCURACY
    return Task("own", "own data", text_columns, label_names, label_names, **scores, hub_id=None)
