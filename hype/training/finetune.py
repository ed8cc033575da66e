"""One run: arguments in, record out. Loads, measures the noise, trains, saves, evaluates, predicts."""

import gc
import logging
import math
import time
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError

from hype.errors import DivergedError, EnvironmentFault, InputError, RunError
from hype.training import record as records
from hype.training.arguments import Arguments
from hype.training.card import write_card
from hype.training.folder import RECORD, clear, has_weights, locked, require_space, write_failure
from hype.training.interruption import stopping_between_steps
from hype.training.job import Job, untrained_text

logger = logging.getLogger(__name__)


def finetune(arguments: Arguments) -> dict | None:
    """Do one run and return its record, which is also written to `output_dir`/run.json.

    A finished run of the same identity is not repeated; an interrupted one goes on from its newest whole checkpoint.
    Processes other than the first return None.

    Raises:
        InputError, DivergedError, EnvironmentFault, LockedError: see `hype.errors`.
    """
    training = arguments.training
    folder = Path(training.output_dir)
    with locked(folder) if training.process_index == 0 else nullcontext():
        try:
            return _finetune(arguments, folder)
        except RunError:
            raise
        except torch.OutOfMemoryError as error:
            raise EnvironmentFault("out of memory: lower --per_device_train_batch_size or --max_seq_length") from error
        except KeyError as error:
            if "metric_for_best_model" not in str(error):
                raise
            raise InputError(f"--metric_for_best_model: {error.args[0]}") from error
        except UnpicklingError as error:
            raise InputError(f"{folder}: a checkpoint holds code; remove it, it is not of a run of ours") from error
        except (OSError, SafetensorError, RuntimeError) as error:
            if reason := write_failure(error):
                raise EnvironmentFault(
                    f"cannot write {getattr(error, 'filename', None) or folder} ({reason}): make room or choose "
                    "another folder; the same command goes on from the newest whole checkpoint"
                ) from error
            raise


def _finetune(arguments: Arguments, folder: Path) -> dict | None:
    started = time.perf_counter()
    records.reset_peak_memory(arguments.training.device)
    job = Job(arguments, folder)
    planned = job.plan()
    if planned.finished is not None:
        logger.warning("%s is finished already: nothing is run again", folder)
        if arguments.training.do_train and arguments.training.save_model and not has_weights(folder):
            logger.warning("%s: its model is not there; --overwrite_output_dir makes it anew", folder)
        return planned.finished if job.is_first else None
    job.build()
    if job.is_first:
        if planned.is_to_clear:
            clear(folder)
        # Trainer adds to it, whatever of it an earlier attempt has left.
        (folder / "all_results.json").unlink(missing_ok=True)
    job.record.update(status="running", changed=planned.changed or None)
    if planned.resumed_from is not None:
        job.record["resumed_from"] = planned.resumed_from
    job.write_record()
    try:
        require_space(folder, _bytes_needed(job, planned.checkpoint is not None))
        with stopping_between_steps(job.trainer):
            job.train(planned.checkpoint)
        job.evaluate()
        _require_finite(job.record["metrics"].get("eval", {}))
        job.predict()
    except BaseException as error:
        status = "diverged" if isinstance(error, DivergedError) else "failed"
        job.record.update(status=status, error=f"{type(error).__name__}: {error}")
        try:
            job.write_record()
        except RuntimeError:  # torch raises the death of a loader process from a signal handler too, once, anywhere
            job.write_record()
        raise
    job.record["timings"]["total_s"] = time.perf_counter() - started
    job.record["peak_memory_bytes"] = records.peak_memory_bytes(arguments.training.device)
    job.record["status"] = "finished"
    if job.is_first and arguments.training.do_train and arguments.training.save_model:
        write_card(folder, job.record)
    job.write_record()
    return job.record if job.is_first else None


def _bytes_needed(job: Job, has_checkpoint: bool) -> int:
    """Estimate what a run writes: the new checkpoint and the one that it replaces, and the model."""
    training = job.arguments.training
    if not training.do_train:
        return 0
    weights = sum(parameter.numel() * parameter.element_size() for parameter in job.model.parameters())
    checkpoint = weights * (3 if "adam" in training.optim and not training.save_only_model else 1)
    checkpoint_count = 0 if training.save_strategy == "no" else 2 - has_checkpoint
    return checkpoint_count * checkpoint + training.save_model * weights


def _require_finite(scores: dict) -> None:
    bad = [name for name, value in scores.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        shown = f"the evaluation's {bad[0]} is {scores[bad[0]]}: the model has diverged"
        scores.update(dict.fromkeys(bad))
        raise DivergedError(shown)


def leave_process_group() -> None:
    """Leave the process group of torchrun once a finished run is written; without one do nothing.

    The Trainer's cycles hold the group, and with it gloo's threads, beyond its end: a thread that lets go of its last
    tensor while the interpreter shuts down aborts the process, and a finished run ends in SIGABRT.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def summary(record: dict) -> str:
    """Format a record for people: the result, what it is a result of, where the files are."""
    folder = record["arguments"]["training"]["output_dir"]
    lines = [f"{record['task']}: {record['label']}, seed {record['seed']}, {record['model']['name']}"]
    if "score" in record:
        score = "undefined" if record["score"] is None else f"{100 * record['score']:.2f}"
        line = f"  {record['score_name']} {score} on {record['data']['rows']['validation']} validation examples"
        majority = record["majority_score"]
        lines.append(line if majority is None else f"{line} (majority class {100 * majority:.2f})")
    if record["sample"]:
        lines.append(f"  {record['sample']}")
    if untrained := record["model"].get("untrained"):  # records of older commits have none
        lines.append(f"  {untrained_text(record['model']['name'], untrained)}")
    lines += [f"  {path}" for path in record.get("predictions", ())]
    lines.append(f"  {Path(folder) / RECORD}")
    return "\n".join(lines)
