"""The record of one analysis of one run on one data set: similar to run.json, and computed only once."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from hype.analysis.finished import FinishedRun
from hype.data.arguments import DataArguments
from hype.data.splits import Splits, load_splits
from hype.data.tasks import NLI_NAMES, TASKS, nli_folder
from hype.data.tokenization import tokenize
from hype.errors import InputError
from hype.files import as_json, write_output
from hype.training.identity import run_id
from hype.training.machine import describe_machine
from hype.training.record import SCHEMA, describe_data, read_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of an analysis besides runs and data sets. The batch size affects at most a result's last bits."""

    data_dir: str | None = None
    nli_dir: str | None = None
    adv_file: str | None = None
    output: Path | None = None
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    cache_dir: str | None = None
    batch_size: int = 32

    def splits(self, task_name: str, names: list[str]) -> Splits:
        """Read splits of a task: NLI sets from `nli_folder`, others from --data_dir; without it, as main.py does."""
        folder = nli_folder(self.nli_dir, self.data_dir) if task_name in NLI_NAMES else self.data_dir
        limits = {"max_train_samples": self.max_train_samples, "max_eval_samples": self.max_eval_samples}
        return load_splits(DataArguments(task_name, folder, **limits), names, self.cache_dir)


def require_dev_sets(names: Iterable[str]) -> list[str]:
    """Return the task names as a list. Raises InputError for unknown tasks and for tasks without a dev set."""
    known = [name for name, task in TASKS.items() if "validation" in task.sources]
    for name in names:
        if name not in known:
            raise InputError(f"--tasks {name}: give tasks with a dev set: {', '.join(known)}")
    return list(names)


def load_or_compute(
    analysis: str,
    target: str,
    run: FinishedRun,
    splits: Splits,
    settings: dict,
    compute: Callable[[dict[str, Dataset]], dict],
    options: Options,
) -> dict:
    """Return the record of an analysis: read it if it exists, otherwise compute and write it.

    target: name of the data set. settings: what else determines the results. compute: maps tokenized splits to
    results. The record is written to options.output, else to RUN_DIR/analysis/<analysis>-<target>-<id>.json.

    Raises:
        EnvironmentFault: the record cannot be written.
    """
    identity = {"analysis": analysis, "target": target, "run_id": run.record["run_id"], "model": run.fingerprint}
    identity |= {"max_seq_length": run.max_seq_length, **settings}
    identity |= {f"data.{split}": digest for split, digest in splits.fingerprint.items()}
    analysis_id = run_id(identity)
    path = options.output or run.folder / "analysis" / f"{analysis}-{target}-{analysis_id[:8]}.json"
    if path.exists():
        logger.warning("%s already exists: nothing is computed again", path)
        return read_record(path, "delete it and run the command again")
    started = time.perf_counter()
    results = compute(tokenize(splits, run.tokenizer, run.max_seq_length, cache_dir=options.cache_dir))
    record = {
        "schema": SCHEMA,
        "status": "finished",
        "analysis": analysis,
        "target": target,
        "analysis_id": analysis_id,
        "identity": identity,
        **{key: run.record[key] for key in ("run_id", "task", "label", "seed", "model")},
        "sample": splits.sample_text,
        "data": describe_data(splits),
        "machine": describe_machine(run.device),
        "timings": {"total_s": time.perf_counter() - started},
        "results": results,
    }
    for note in splits.notes:
        logger.warning("%s", note)
    write_output(path, as_json(record))
    return record
