"""Table 6: accuracy on the dev set of Adversarial GLUE of models fine-tuned on plain GLUE."""

from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset

from hype.analysis.finished import FinishedRun, confusion
from hype.analysis.record import Options, analysed
from hype.analysis.transfer import accuracy
from hype.data.glue import read_hub
from hype.data.splits import Splits, text_hash
from hype.data.tables import column, json_table, read_json, refuse_any, text_column
from hype.data.tasks import ENTAILMENT, NLI, SENTENCES, TASKS, SplitSource
from hype.errors import InputError

HUB_ID = "AI-Secure/adv_glue"


@dataclass(frozen=True)
class AdversarialSet:
    """One set of AdvGLUE. label_names: in the order of dev.json's ids (github.com/AI-secure/adversarial-glue).

    row_count: official size of the dev set.
    """

    task: str
    hub_config: str
    label_names: tuple[str, ...]
    row_count: int


# The keys are dev.json's.
SETS = {
    "sst2": AdversarialSet("sst2", "adv_sst2", ("negative", "positive"), 148),
    "qqp": AdversarialSet("qqp", "adv_qqp", ("not_duplicate", "duplicate"), 78),
    "mnli": AdversarialSet("mnli", "adv_mnli", NLI, 121),
    "mnli-mm": AdversarialSet("mnli", "adv_mnli_mismatched", NLI, 162),
    "qnli": AdversarialSet("qnli", "adv_qnli", ENTAILMENT, 148),
    "rte": AdversarialSet("rte", "adv_rte", ENTAILMENT, 81),
}


def targets(run: FinishedRun, names: list[str] | None) -> list[str]:
    """Return the sets of the run's task. Raises InputError for other sets, tasks without one, and other labels."""
    task = run.record["task"]
    own = [name for name, adversarial in SETS.items() if adversarial.task == task]
    if not own:
        known = ", ".join(sorted({adversarial.task for adversarial in SETS.values()}))
        raise InputError(f"{run.folder}: fine-tuned on {task}, which AdvGLUE lacks; give a run on one of {known}")
    foreign = [name for name in names or () if name not in own]
    if foreign:
        raise InputError(f"--tasks {foreign[0]}: {run.folder} was fine-tuned on {task}; give {' or '.join(own)}")
    if set(run.label_names) != set(SETS[own[0]].label_names):
        raise InputError(f"{run.folder}: its labels are {', '.join(run.label_names)}, not those of {task}")
    return list(names or own)


def analyse(run: FinishedRun, target: str, options: Options) -> dict:
    """Score a run on one set of AdvGLUE; gold and predicted labels are compared by name."""
    splits, gold = read(target, options)

    def compute(tokens):
        predicted = run.predicted_labels(tokens["validation"], options.batch_size, f"AdvGLUE {target}")
        return {"accuracy": accuracy(gold, predicted), "confusion": confusion(gold, predicted)}

    return analysed("adversarial", target, run, splits, {}, compute, options)


def read(target: str, options: Options) -> tuple[Splits, list[str]]:
    """Read one set from --adv_file, else from the hub: its texts, and the names of its gold labels."""
    adversarial = SETS[target]
    if options.adv_file:
        texts, gold = _from_file(target, Path(options.adv_file))
        source = "file"
    else:
        texts, gold, source = _from_hub(adversarial, options.cache_dir)
    texts, gold = [column[: options.max_eval_samples] for column in texts], gold[: options.max_eval_samples]
    notes = []
    if len(gold) != adversarial.row_count:
        notes.append(f"AdvGLUE {target}: {len(gold)} rows of officially {adversarial.row_count}")
    dataset = Dataset.from_dict(dict(zip(SENTENCES, texts, strict=False)))
    fingerprint = {"validation": text_hash([*texts, gold]).hexdigest()}
    return Splits(TASKS[adversarial.task], {"validation": dataset}, source, fingerprint, notes), gold


def _from_file(target: str, path: Path) -> tuple[list[list[str]], list[str]]:
    tables = read_json(path)
    if not isinstance(tables, dict) or target not in tables:
        held = f"; it has {', '.join(tables)}" if isinstance(tables, dict) else ""
        raise InputError(f"{path}: no set {target!r}{held}; give AdvGLUE's dev.json")
    table, names = json_table(path, tables[target]), SETS[target].label_names
    labels = column(path, table, "label")
    bad = [type(label) is not int or not 0 <= label < len(names) for label in labels]
    refuse_any(path, labels[bad], f"give ids from 0 to {len(names) - 1}, not")
    texts = [text_column(path, table, name).tolist() for name in TASKS[SETS[target].task].text_columns]
    return texts, [names[label] for label in labels]


def _from_hub(adversarial: AdversarialSet, cache_dir: str | None) -> tuple[list[list[str]], list[str], str]:
    """Read by the hub's own label names, which `read_hub` brings into the order of the task."""
    plain = TASKS[adversarial.task]
    source = SplitSource((), plain.text_columns, "label", "validation", adversarial.row_count)
    task = replace(plain, hub_id=HUB_ID, hub_config=adversarial.hub_config, sources={"validation": source})
    examples, name = read_hub(task, ["validation"], cache_dir, "AdvGLUE's dev.json by --adv_file")
    read = examples["validation"]
    texts = [read[name].tolist() for name in SENTENCES if name in read]
    return texts, [plain.label_names[label] for label in read["label"]], name
