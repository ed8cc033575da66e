"""Table 6: accuracy of models fine-tuned on GLUE on the dev sets of Adversarial GLUE."""

from dataclasses import replace

import pandas
from datasets import Dataset

from hype.analysis.finished import FinishedRun
from hype.analysis.record import Options, load_or_compute
from hype.analysis.transfer import agreement
from hype.data.glue import read_hub
from hype.data.splits import Splits, text_hash
from hype.data.tables import column, read_json, records_table, refuse_any, text_examples
from hype.data.tasks import SENTENCES, TASKS, SplitSource, Task
from hype.errors import InputError

HUB_ID = "AI-Secure/adv_glue"


def _set(task_name: str, hub_config: str, row_count: int) -> Task:
    sources = {"validation": SplitSource(row_count)}
    return replace(TASKS[task_name], hub_id=HUB_ID, hub_config=hub_config, hub_splits={}, sources=sources)


# Keys as in dev.json, whose label ids are those of GLUE (github.com/AI-secure/adversarial-glue).
SETS = {
    "sst2": _set("sst2", "adv_sst2", 148),
    "qqp": _set("qqp", "adv_qqp", 78),
    "mnli": _set("mnli", "adv_mnli", 121),
    "mnli-mm": _set("mnli", "adv_mnli_mismatched", 162),
    "qnli": _set("qnli", "adv_qnli", 148),
    "rte": _set("rte", "adv_rte", 81),
}


def targets(run: FinishedRun, names: list[str] | None) -> list[str]:
    """Return AdvGLUE's sets for the run's task. Raises InputError for other sets, and for tasks without one."""
    task = run.record["task"]
    own = [name for name, of_set in SETS.items() if of_set.name == task]
    if not own:
        known = ", ".join(sorted({of_set.name for of_set in SETS.values()}))
        raise InputError(f"{run.folder}: fine-tuned on {task}, which AdvGLUE lacks; give a run on one of {known}")
    foreign = [name for name in names or () if name not in own]
    if foreign:
        raise InputError(f"--tasks {foreign[0]}: {run.folder} was fine-tuned on {task}; give {' or '.join(own)}")
    return list(names or own)


def analyse(run: FinishedRun, target: str, options: Options) -> dict:
    """Score a run on one set of AdvGLUE; gold and predicted labels are compared by name."""
    splits, gold = read(target, options)

    def compute(tokens):
        return agreement(gold, run.predicted_labels(tokens["validation"], options.batch_size, f"AdvGLUE {target}"))

    return load_or_compute("adversarial", target, run, splits, {}, compute, options)


def read(target: str, options: Options) -> tuple[Splits, list[str]]:
    """Read one set from --adv_file, else from the hub; return its texts and the names of its gold labels."""
    task, source = SETS[target], "file"
    if options.adv_file:
        examples = _read_file(target, options.adv_file)
    else:
        tables, source = read_hub(task, ["validation"], options.cache_dir, "AdvGLUE's dev.json with --adv_file")
        examples = tables["validation"]
    examples = examples.iloc[: options.max_eval_samples]
    texts = examples.filter(SENTENCES).to_dict("list")
    gold = [task.label_names[i] for i in examples["label"]]
    row_count = task.sources["validation"].row_count
    notes = [f"AdvGLUE {target}: {len(gold)} rows of officially {row_count}"] if len(gold) != row_count else []
    fingerprint = {"validation": text_hash([*texts.values(), gold]).hexdigest()}
    return Splits(task, {"validation": Dataset.from_dict(texts)}, source, fingerprint, notes), gold


def _read_file(target: str, path: str) -> pandas.DataFrame:
    sets, task = read_json(path), SETS[target]
    if not isinstance(sets, dict) or target not in sets:
        held = f"; it has {', '.join(sets)}" if isinstance(sets, dict) else ""
        raise InputError(f"{path}: no set {target!r}{held}; give AdvGLUE's dev.json")
    table = records_table(path, sets[target])
    ids = column(path, table, "label")
    bad = [type(i) is not int or not 0 <= i < task.label_count for i in ids]
    refuse_any(path, ids[bad], f"expected label ids from 0 to {task.label_count - 1}; found")
    return text_examples(path, table, task.text_columns).assign(label=ids)
