"""The state of a run, from its folder or a study's published records: finished, failed, still to do."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from hype.errors import InputError
from hype.files import weight_files, write_json, write_output
from hype.reproduction.runs import KEY_LENGTH, RunSpec
from hype.text_tables import counted
from hype.training.record import RECORD, SCHEMA, DamagedRecordError, read_record
from hype.training.run_folder import LOCK

MISSING, RUNNING, INTERRUPTED, FINISHED, FAILED, DIVERGED, DAMAGED = (
    "missing", "running", "interrupted", "finished", "failed", "diverged", "damaged",
)  # fmt: skip
PUBLISHED = "runs.jsonl"
RETRY = "--retry_failed repeats it"
# Fields of a record that are published, besides parts of its timings, model, data and analyses.
PUBLISHED_FIELDS = (
    "schema", "run_id", "status", "label", "task", "seed", "sample", "identity", "dtype", "steps", "score",
    "score_name", "majority_score", "remarks", "predictions", "noise", "techniques", "machine", "peak_memory_bytes",
)  # fmt: skip
# Fields that reports need from a finished run and from an analysis, with their types.
NUMBER = (int, float, type(None))
NEEDED_OF_RUN = {"run_id": str, "identity": dict, "timings": dict, "score": NUMBER, "majority_score": NUMBER}
NEEDED_OF_ANALYSIS = {"run_id": str, "identity": dict, "results": dict}


@dataclass(frozen=True)
class State:
    """The state of a run.

    Attributes:
        status: one of the above. A run with a score but without a requested analysis is missing, or interrupted if its
            model exists.
        record: of a run with a score: the complete one, or its published line.
        analyses: target -> record of its analysis.
    """

    status: str
    record: dict | None = None
    error: str | None = None
    analyses: dict = field(default_factory=dict)

    def is_to_do(self, retry: bool) -> bool:
        """Return whether the run is to be done. retry: even if it failed, diverged or is damaged."""
        return self.status in (MISSING, RUNNING, INTERRUPTED) or (retry and self.status != FINISHED)


def counts_text(states: Collection[State]) -> str:
    """Return the number of runs, and of those with each status."""
    counts = Counter(state.status for state in states)
    return f"{counted(len(states), 'run')}: " + ", ".join(f"{count} {status}" for status, count in counts.items())


def state_of(spec: RunSpec, published: dict[str, dict] | None = None) -> State:
    """Read the state of a run from its files or else from its published line.

    Raises:
        InputError: a file cannot be read, or was written by another version.
    """
    line = finished = (published or {}).get(spec.key)
    try:
        record = read_whole(spec.folder / RECORD, NEEDED_OF_RUN)
        finished = record if record and record["status"] == FINISHED else line
        analyses, failure = _analyses(spec, line), _failure(spec)
    except DamagedRecordError as error:
        return State(DAMAGED, finished, str(error))
    is_analysed = spec.analysis is None or len(analyses) == len(spec.analysis.targets)
    if finished and is_analysed:
        return State(FINISHED, finished, analyses=analyses)
    if failure:
        return State(failure["status"], finished, failure["error"], analyses)
    if finished:
        return State(INTERRUPTED if weight_files(spec.folder) else MISSING, finished, analyses=analyses)
    if record is None:
        return State(MISSING)
    if record["status"] in (FAILED, DIVERGED):
        return State(record["status"], error=record.get("error") or "")
    return State(RUNNING if _is_held(spec.folder) else INTERRUPTED)


def _analyses(spec: RunSpec, line: dict | None) -> dict[str, dict]:
    published = (line or {}).get("analyses", {})
    found = {}
    for target in spec.analysis.targets if spec.analysis else ():
        record = read_whole(spec.analysis.path(target), NEEDED_OF_ANALYSIS) or published.get(spec.analysis.key(target))
        if record is not None:
            found[target] = record
    return found


def _is_held(folder: Path) -> bool:
    """Return whether a live process holds a run."""
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a read-only folder
        return False


def read_whole(path: Path, needed: dict) -> dict | None:
    """Read a record, None if there is none; raise DamagedRecordError if it is finished but incomplete.

    Raises also what `read_record` raises.
    """
    if not path.exists():
        return None
    record = read_record(path, remedy=RETRY)
    wrong = [name for name, kind in needed.items() if not isinstance(record.get(name), kind)]
    if record["status"] == FINISHED and wrong:
        raise DamagedRecordError(f"{path}: damaged ({wrong[0]} is missing or has no valid value); {RETRY}")
    return record


def write_failure(spec: RunSpec, status: str, error: str) -> None:
    """Save the error that ended an attempt."""
    spec.failure_path.parent.mkdir(parents=True, exist_ok=True)
    write_json(spec.failure_path, {"status": status, "error": error, "command": spec.command})


def _failure(spec: RunSpec) -> dict | None:
    try:
        content = json.loads(spec.failure_path.read_text(encoding="utf-8"))
        return {name: content[name] for name in ("status", "error")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedRecordError(f"{spec.failure_path}: damaged; {RETRY}") from None


def read_published(path: Path) -> dict[str, dict]:
    """Read a study's runs.jsonl into a dict from `RunSpec.key` to line; empty if there is no file.

    Raises:
        InputError: a line is damaged, has another schema, or appears twice.
    """
    lines: dict[str, dict] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return lines
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}; restore it") from None
    for number, row in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):  # not at U+2028
        try:
            line = json.loads(row)
            key = line["name"][-KEY_LENGTH:]
            if any(not isinstance(line.get(name), kind) for name, kind in NEEDED_OF_RUN.items()):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path}, line {number}: damaged; restore the file") from None
        if line.get("schema") != SCHEMA:
            raise InputError(f"{path}, line {number}: schema {line.get('schema')}; this version reads {SCHEMA}")
        if key in lines:
            raise InputError(f"{path}, line {number}: a second line of {line['name']}; remove one")
        lines[key] = line
    return lines


def published_line(name: str, record: dict, analyses: dict[str, dict]) -> dict:
    """Reduce the record of a finished run to what is published.

    Args:
        analyses: `Analysis.key` -> its record.
    """
    line = {"name": name} | {field: record.get(field) for field in PUBLISHED_FIELDS if record.get(field) is not None}
    line |= {"score": record["score"], "majority_score": record["majority_score"]}
    line["model"] = {field: record["model"].get(field) for field in ("name", "model_type", "parameter_count")}
    line["model"]["name"] = "/".join(Path(line["model"]["name"]).parts[-2:])  # without the local path
    line["data"] = {"source": record["data"]["source"], "rows": record["data"]["rows"]}
    times = ("train_s", "total_s", "first_step")
    line["timings"] = {field: round(record["timings"][field], 1) for field in times if field in record["timings"]}
    if analyses:
        line["analyses"] = {key: _analysis_line(analysis) for key, analysis in sorted(analyses.items())}
    return line


def _analysis_line(record: dict) -> dict:
    results = {
        name: record["results"][name] for name in ("layers", "accuracy", "confusion") if name in record["results"]
    }
    names = ("analysis", "target", "label", "seed")
    return {name: record[name] for name in names} | {"rows": record["data"]["rows"], "results": results}


def publish(specs: Iterable[RunSpec], path: Path) -> tuple[int, list[str]]:
    """Add finished runs to a study's runs.jsonl; return its length and which runs are left out, and why.

    Runs and analyses must come from a clean git tree. A run with several specs (one for each analysis) is one line,
    whose analyses must be of the same weights.

    Raises:
        InputError: see `read_published`. EnvironmentFault: the file cannot be written.
    """
    lines, left_out = read_published(path), {}
    for spec in specs:
        state = state_of(spec)
        if state.record is None:
            continue
        records = (state.record, *state.analyses.values())
        analyses = {spec.analysis.key(target): record for target, record in state.analyses.items()}
        line = published_line(spec.folder.name, state.record, analyses)
        before = lines.get(spec.key, line)
        trees = [record["machine"]["git"] for record in records]
        if not all(tree and not tree["dirty"] for tree in trees):
            left_out[spec.folder.name] = "run or analysed outside of git, or with uncommitted changes"
        elif len({record["model"]["weights_sha256"] for record in records}) > 1:
            left_out[spec.folder.name] = "analysed with other weights than the run's; remove its analyses"
        elif any(before.get(name) != line.get(name) for name in ("score", "predictions")):
            left_out[spec.folder.name] = "published before with another result; remove one of the two"
        else:
            published = before.get("analyses", {}) | line.get("analyses", {})
            lines[spec.key] = line | ({"analyses": published} if published else {})
    write_lines(path, lines.values())
    return len(lines), [f"{name}: {reason}" for name, reason in left_out.items()]


def write_lines(path: Path, lines: Iterable[dict]) -> None:
    """Write runs.jsonl, a line per run, sorted by name."""
    texts = [json.dumps(line, ensure_ascii=False) for line in sorted(lines, key=lambda line: line["name"])]
    write_output(path, "".join(f"{text}\n" for text in texts))


def estimated_seconds(states: dict[RunSpec, State], retry: bool) -> dict[RunSpec, float | None]:
    """Estimate the time of each run to do from finished ones of the same model, data and task; None without any."""
    times: dict[tuple, list[float]] = {}
    for spec, state in states.items():
        if state.record and "total_s" in state.record["timings"] and "first_step" not in state.record["timings"]:
            times.setdefault((spec.model, spec.data, spec.task), []).append(state.record["timings"]["total_s"])
    means = {key: sum(values) / len(values) for key, values in times.items()}
    to_do = [spec for spec, state in states.items() if state.is_to_do(retry)]
    return {spec: means.get((spec.model, spec.data, spec.task)) for spec in to_do}
