"""The flags that select a run's data."""

import logging
from dataclasses import dataclass

from hype.data.tasks import ALIASES, TASKS
from hype.flags import flag, require

logger = logging.getLogger(__name__)
FILE_FLAGS = {"train": "train_file", "validation": "validation_file", "test": "test_file"}


@dataclass
class DataArguments:
    """What to train, evaluate and predict on."""

    task_name: str | None = flag(None, "Task: " + ", ".join(TASKS) + ".")
    data_dir: str | None = flag(
        None, "GLUE folder with CoLA/, SST-2/ ... Default: the variable GLUE_DIR, else nyu-mll/glue from the hub."
    )
    train_file: str | None = flag(None, "Your own training data (csv, tsv, json, jsonl or parquet).")
    validation_file: str | None = flag(None, "Your own validation data.")
    test_file: str | None = flag(None, "Your own test data; scored if it has labels.")
    text_columns: str | None = flag(None, "One or two text columns of your own files, separated by a comma.")
    label_column: str = flag("label", "The label column of your own files.")
    do_regression: bool | None = flag(
        None,
        "Whether your labels are scores (true) or classes (false). Default: scores if all are numbers and some have a "
        "decimal point.",
    )
    delimiter: str | None = flag(None, "Column delimiter of your own csv and tsv files, such as ';' or tab.")
    encoding: str = flag("utf-8", "Text encoding of your own files and of the GLUE folder.")
    max_seq_length: int = flag(128, "Truncate inputs to this number of tokens.")
    pad_to_max_length: bool = flag(False, "Pad every batch to max_seq_length, as the release does.")
    overwrite_cache: bool = flag(False, "Tokenize again, ignoring the cache.")
    max_train_samples: int | None = flag(None, "Use the first n training examples.")
    max_eval_samples: int | None = flag(None, "Use the first n validation examples.")
    max_predict_samples: int | None = flag(None, "Use the first n test examples.")
    low_resource: bool = flag(False, "Train on 1,000 examples drawn with a fixed seed, independent of --seed.")

    def __post_init__(self):
        files = [name for name in FILE_FLAGS.values() if getattr(self, name) is not None]
        if self.task_name is not None:
            self._resolve_task_name()
            require(not files, f"--task_name and --{' --'.join(files)} exclude each other: give one of the two")
            for name in ("text_columns", "label_column", "do_regression", "delimiter"):
                is_default = getattr(self, name) == getattr(DataArguments, name)
                require(is_default, f"--{name} is for your own files; leave it out with --task_name")
        else:
            message = "neither --task_name nor --train_file/--validation_file/--test_file is given"
            require(bool(files), f"{message}: give one of them")
            require(self.data_dir is None, "--data_dir is for --task_name; leave it out with your own files")
        if self.delimiter in ("tab", "\\t"):
            self.delimiter = "\t"
        is_delimiter = self.delimiter is None or (len(self.delimiter) == 1 and self.delimiter not in '"\r\n\0')
        require(is_delimiter, f"--delimiter {self.delimiter}: give one character, or tab")

    def _resolve_task_name(self):
        name = self.task_name.lower()
        if name in ALIASES:
            logger.warning("--task_name %s: taken as %s", name, ALIASES[name])
        self.task_name = ALIASES.get(name, name)
        require(self.task_name in TASKS, f"--task_name {self.task_name}: give one of {', '.join(TASKS)}")
