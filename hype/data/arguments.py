"""The flags that say what data a run uses."""

from dataclasses import dataclass

from hype.data.tasks import TASKS
from hype.flags import flag, require


@dataclass
class DataArguments:
    """What to train, evaluate and predict on."""

    task_name: str | None = flag(None, "Task: " + ", ".join(TASKS) + ".")
    data_dir: str | None = flag(
        None, "GLUE folder with CoLA/, SST-2/ ... (default: variable GLUE_DIR; neither: nyu-mll/glue from the hub)."
    )
    train_file: str | None = flag(None, "Own training data: csv, tsv, json, jsonl, parquet.")
    validation_file: str | None = flag(None, "Own validation data.")
    test_file: str | None = flag(None, "Own test data; labels are optional there.")
    text_columns: str | None = flag(None, "Own data: one or two text columns, separated by a comma.")
    label_column: str = flag("label", "Own data: the column of the labels.")
    encoding: str = flag("utf-8", "Own data and GLUE folder: the encoding of text files.")
    max_seq_length: int = flag(128, "Inputs are cut to this number of tokens.")
    pad_to_max_length: bool = flag(False, "Pad every batch to max_seq_length (the release's way).")
    overwrite_cache: bool = flag(False, "Tokenise again, whatever the cache holds.")
    max_train_samples: int | None = flag(None, "Use the first n training examples.")
    max_eval_samples: int | None = flag(None, "Use the first n validation examples.")
    max_predict_samples: int | None = flag(None, "Use the first n test examples.")
    low_resource: bool = flag(False, "Train on 1,000 examples drawn from a fixed seed, whatever --seed is.")

    def __post_init__(self):
        if self.task_name is not None:
            self.task_name = self.task_name.lower()
            require(self.task_name in TASKS, f"--task_name {self.task_name}: give one of {', '.join(TASKS)}")
            files = [n for n in ("train_file", "validation_file", "test_file") if getattr(self, n) is not None]
            require(not files, f"--task_name and --{' --'.join(files)} exclude each other: give one of the two")
        else:
            require(
                any((self.train_file, self.validation_file, self.test_file)),
                "neither --task_name nor --train_file/--validation_file/--test_file is given: say what to train on",
            )
        require(self.max_seq_length > 0, f"--max_seq_length {self.max_seq_length}: give a positive number")
        for split in ("train", "eval", "predict"):
            count = getattr(self, f"max_{split}_samples")
            require(count is None or count > 0, f"--max_{split}_samples {count}: give a positive number")
