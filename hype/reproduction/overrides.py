"""Settings that replace those of an experiment, and how its runs then differ from the paper's, in words."""

from dataclasses import dataclass, field
from pathlib import Path

from hype.data.tasks import NLI_NAMES, nli_folder
from hype.reproduction.experiments import Experiment, written
from hype.reproduction.hashes import Known


@dataclass(frozen=True)
class Overrides:
    """Settings that replace those of an experiment. None: as in the experiment.

    Attributes:
        models: name -> path or hub name that replaces its checkpoint, or None to keep it.
        variants: grid points as text ("hype_eps 1e-05"), for the methods that have a grid.
        learning_rates: for every task, or task -> rates.
        hype_eps: the scale of all noise.
        method_flags: method -> flags that replace its own, such as layer counts for a model of another depth.
        flags: additional flags for every run.
        known: the model and data of a study.
    """

    models: dict[str, str | None] | None = None
    tasks: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    learning_rates: tuple[float, ...] | dict[str, tuple[float, ...]] | None = None
    hype_eps: float | None = None
    max_train_samples: int | None = None
    max_analysis_samples: int | None = None
    data_dir: str | None = None
    nli_dir: str | None = None
    adv_file: str | None = None
    method_flags: dict[str, dict] = field(default_factory=dict)
    flags: dict = field(default_factory=dict)
    known: Known | None = None

    def data_dir_of(self, task: str) -> str | None:
        """Return the folder of a task's data; None: the hub."""
        return nli_folder(self.nli_dir, self.data_dir) if task in NLI_NAMES else self.data_dir

    def model_label(self, row: str) -> str:
        """Return the label of a row's model, with the checkpoint that replaces the experiment's."""
        if self.known:
            return self.known.model.name
        path = (self.models or {}).get(row)
        if path and Path(path).is_dir():
            path = "/".join(Path(path).resolve().parts[-2:])
        return f"{path} for {written(row)}" if path else written(row)

    def text(self, experiment: Experiment) -> str:
        """Describe how the runs differ from the experiment's; "" if they do not."""
        parts = []
        if self.models and (any(self.models.values()) or not set(self.models) >= set(experiment.rows)):
            parts.append(f"model {', '.join(map(self.model_label, self.models))}")
        own = {"tasks": experiment.tasks, "methods": [m.name for m in experiment.methods], "seeds": experiment.seeds}
        for name in ("tasks", "methods", "seeds", "variants", "learning_rates"):
            values = getattr(self, name)
            if values is not None and set(values) != set(own.get(name, ())):
                parts.append(f"{name.replace('_', ' ')} {_listed(values)}")
        parts += [f"{written(name)} with {_flags_text(flags)}" for name, flags in self.method_flags.items()]
        if self.hype_eps is not None:
            parts.append(f"noise of {self.hype_eps:g}")
        flags = [of_task | self.flags for of_task in experiment.flags.values()]
        is_random = any(text_of(own.get("low_resource", False)) == "true" for own in flags)  # 1,000 examples
        if self.max_train_samples is not None and not (is_random and self.max_train_samples >= 1000):
            which = "" if is_random else "the first "
            parts.append(f"at most {which}{self.max_train_samples:,} training examples")
        if self.max_analysis_samples is not None:
            parts.append(f"analysed on the first {self.max_analysis_samples:,} examples of each set")
        return "; ".join(parts + ([_flags_text(self.flags)] if self.flags else []))


def _listed(values) -> str:
    """Format 42, 43, 44 as 42-44, and values per task after the task's name."""
    if isinstance(values, dict):
        return ", ".join(f"{written(name)} {_listed(own)}" for name, own in values.items())
    if len(values) > 2 and isinstance(values[0], int) and list(values) == [*range(values[0], values[-1] + 1)]:
        return f"{values[0]}-{values[-1]}"
    return ", ".join(written(value) if isinstance(value, str) else text_of(value) for value in values)


def _flags_text(flags: dict) -> str:
    return ", ".join(f"--{name} {text_of(value)}" for name, value in flags.items())


def text_of(value) -> str:
    """Format the value of a flag."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
