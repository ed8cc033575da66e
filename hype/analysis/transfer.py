"""Table 7: a model fine-tuned on 5,000 examples of MNLI or SNLI, scored on other data sets of sentence pairs."""

from collections import Counter, defaultdict

from hype.analysis.finished import FinishedRun
from hype.analysis.record import Options, load_or_compute
from hype.data.tasks import NLI, TASKS
from hype.errors import InputError

# Data set -> task and split.
TARGETS = {
    "snli": ("snli", "validation"),
    "sick": ("sick", "validation"),
    "scitail": ("scitail", "validation"),
    "qqp": ("qqp", "validation"),
    "mnli": ("mnli", "validation"),
    "mnli-mm": ("mnli", "validation_mismatched"),
}
# Appendix C.2. The paper does not say what a predicted neutral means for QQP; here, every label but entailment counts
# as not_duplicate. The record's confusion counts allow other mappings.
LABEL_MAPS = {
    "scitail": {"entailment": "entailment", "neutral": "neutral", "contradiction": "neutral"},
    "qqp": {"entailment": "duplicate", "neutral": "not_duplicate", "contradiction": "not_duplicate"},
}


def targets(run: FinishedRun, names: list[str] | None) -> list[str]:
    """Return the sets to score. Raises InputError for unknown sets and for a run without the three NLI labels."""
    if set(run.label_names or ()) != set(NLI):
        raise InputError(f"{run.folder}: fine-tuned on {run.record['task']}; give a run on mnli or snli")
    unknown = [name for name in names or () if name not in TARGETS]
    if unknown:
        raise InputError(f"--tasks {unknown[0]}: give some of {', '.join(TARGETS)}")
    return list(names or TARGETS)


def analyse(run: FinishedRun, target: str, options: Options) -> dict:
    """Score a run on the dev set of `target`, by accuracy."""
    task_name, split = TARGETS[target]
    splits = options.splits(task_name, [split])
    label_map = LABEL_MAPS.get(target, {name: name for name in NLI})
    gold = [TASKS[task_name].label_names[i] for i in splits.splits[split]["label"]]

    def compute(tokens):
        return agreement(gold, run.predicted_labels(tokens[split], options.batch_size, target), label_map)

    return load_or_compute("transfer", target, run, splits, {"label_map": label_map}, compute, options)


def agreement(gold: list[str], predicted: list[str], label_map: dict[str, str] | None = None) -> dict:
    """Return the accuracy after renaming by `label_map`, and confusion counts before it, {gold: {predicted: count}}."""
    confusion, right_count = defaultdict(Counter), 0
    for label, name in zip(gold, predicted, strict=True):
        confusion[label][name] += 1
        right_count += label == (label_map or {}).get(name, name)
    return {"accuracy": right_count / len(gold), "confusion": confusion}
