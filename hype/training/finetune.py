"""One run: arguments in, record out. Loads data and model, trains, evaluates, predicts, and writes what came out."""

import gc
import json
import logging
import math
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError

import datasets
import numpy as np
import torch
import transformers
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from safetensors import SafetensorError
from transformers import DataCollatorWithPadding, EvalPrediction, PretrainedConfig, default_data_collator, set_seed

from hype.architectures import ARCHITECTURES
from hype.data.labels import checkpoint_labels, convert_label_ids, one_digit_each
from hype.data.splits import Splits, load_splits
from hype.data.submission import write_submission
from hype.data.tasks import Task
from hype.data.tokenization import tokenize
from hype.errors import DivergedError, EnvironmentFault, InputError, RunError, as_input_error
from hype.files import sync, weights_sha256, write_failure, write_json
from hype.hub import hub_is_reachable
from hype.techniques import Technique, selected
from hype.training import machine, metrics, modeling
from hype.training import record as records
from hype.training.arguments import Arguments, RunArguments
from hype.training.card import write_card
from hype.training.checkpoints import (
    Decision,
    clear,
    decide_resume,
    has_weights,
    locked,
    require_outside,
    require_space,
)
from hype.training.interruption import StopCallback, stopping_on_signals
from hype.training.record import RECORD
from hype.training.trainer import HyPeTrainer

logger = logging.getLogger(__name__)
SPLITS_OF = {
    "do_train": ("train",),
    "do_eval": ("validation", "validation_mismatched"),
    "do_predict": ("test", "test_mismatched"),
}
# Below these shares of changed entries the noise is called weak, and in half precision refused.
WEAK_SHARE, REFUSED_SHARE = 0.9, 0.5


def finetune(arguments: Arguments) -> dict | None:
    """Do one run and return its record, which is also written to `output_dir`/run.json.

    A finished run of the same identity is not repeated; an interrupted one is resumed from its newest whole checkpoint.
    Processes other than the first return None.

    Raises:
        InputError, DivergedError, EnvironmentFault, LockedError: see `hype.errors`.
    """
    training = arguments.training
    folder, is_first = Path(training.output_dir), training.process_index == 0
    stop = StopCallback(training.save_strategy != "no" and not training.save_only_model)
    with ExitStack() as stack:
        stack.enter_context(locked(folder) if is_first else nullcontext())
        stack.enter_context(_as_run_errors(folder))
        stack.enter_context(_progress_bars(not training.disable_tqdm))
        stack.enter_context(stopping_on_signals(stop, training.world_size))
        return _finetune(arguments, folder, is_first, stop)


def _finetune(arguments: Arguments, folder: Path, is_first: bool, stop: StopCallback) -> dict | None:
    training = arguments.training
    started = time.perf_counter()
    machine.reset_peak_memory(training.device)

    # Data, and the order of its labels in the model's head
    splits, config, label_names, order_note = load_data(arguments)
    task = splits.task
    techniques = selected(
        arguments.techniques, hype_is_on=arguments.hype.hype_type != "none" and arguments.hype.hype_eps > 0
    )
    record = records.new_record(arguments, splits, config, label_names, [technique.name for technique in techniques])

    # Start, resume, or leave a finished run alone
    decision = _decide_on_first_process(arguments, folder, record)
    if decision.finished is not None:
        logger.warning("%s is finished already: nothing is run again", folder)
        if training.do_train and training.save_model and not has_weights(folder):
            logger.warning("%s: its model is not there; --overwrite_output_dir trains it again", folder)
        return decision.finished if is_first else None
    record.update(changed=decision.changed, resumed_from=decision.resumed_from)

    # Tokens, model and Trainer; the folder stays as it is until they are there
    trainer, tokens, new_parameters = build_trainer(arguments, splits, config, label_names, techniques)
    trainer.provenance = records.provenance(record)
    training.reported = {"method": record["label"], **asdict(arguments.hype)}
    trainer.add_callback(stop)
    record["model"]["parameter_count"] = sum(parameter.numel() for parameter in trainer.model.parameters())
    record["model"]["untrained"] = [] if training.do_train else new_parameters
    if order_note and not training.do_train and not new_parameters:  # a head that is trained learns its order
        splits.notes.append(order_note)
    record["dtype"] = str(trainer.model.dtype).removeprefix("torch.")
    if is_first:
        logger.info("%s", describe_run(arguments, record, config))
        if record["model"]["untrained"]:
            logger.warning("%s", untrained_text(record["model"]))
        for note in splits.notes:
            logger.warning("%s", note)
    record["timings"]["load_s"] = time.perf_counter() - started
    if training.do_train:
        record["noise"] = measured_noise(trainer, arguments)
    if is_first:
        if decision.is_to_clear:
            clear(folder)
        (folder / "all_results.json").unlink(missing_ok=True)  # Trainer would add to that of an earlier attempt

    with recorded(record, folder if is_first else None):
        # Train
        if training.do_train:
            require_space(folder, _bytes_needed(trainer, has_checkpoint=decision.checkpoint is not None))
            if splits.low_resource_indices is not None and is_first:
                write_json(folder / "low_resource_indices.json", splits.low_resource_indices)
            if decision.checkpoint is not None:  # which rotation may remove meanwhile
                state = json.loads((decision.checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
                record["timings"]["first_step"] = state["global_step"]
            result = trainer.train(resume_from_checkpoint=decision.checkpoint and str(decision.checkpoint))
            record["timings"]["train_s"] = result.metrics["train_runtime"]
            record["steps"] = result.global_step
            record["techniques"] = {technique.name: technique.facts() for technique in techniques}
            record["metrics"]["train"] = {**result.metrics, "train_samples": len(tokens["train"])}
            if training.save_model:
                trainer.save_model()
                if is_first:
                    sync(folder)
                    record["model"]["weights_sha256"] = weights_sha256(folder)
            trainer.save_metrics("train", record["metrics"]["train"])
            trainer.save_state()

        # Evaluate
        if training.do_eval:
            start = time.perf_counter()
            scores = trainer.evaluate()
            scorer = trainer.compute_metrics
            record.update(predictions=scorer.predictions, remarks=scorer.remarks)
            scores["eval_samples"] = len(tokens["validation"])
            if "validation_mismatched" in tokens:
                mismatched = trainer.evaluate(tokens["validation_mismatched"])
                record["remarks"] |= {f"{name}_mm": remark for name, remark in scorer.remarks.items()}
                scores |= {f"{name}_mm": value for name, value in mismatched.items()}
                scores["eval_samples_mm"] = len(tokens["validation_mismatched"])
            trainer.save_metrics("eval", scores)
            record["metrics"]["eval"] = scores
            record["score"] = metrics.score(task, {name.removeprefix("eval_"): v for name, v in scores.items()})
            record["score_name"] = " and ".join(task.score_metrics)
            record["majority_score"] = metrics.majority_score(task, splits.splits["validation"]["label"])
            record["timings"]["eval_s"] = time.perf_counter() - start
            _require_finite(scores)

        # Predict: the files that the GLUE server takes; test data that has labels is scored, too
        if training.do_predict:
            record["submissions"] = []
            for split in [split for split in SPLITS_OF["do_predict"] if split in tokens]:
                output = trainer.predict(_without_labels(tokens[split])).predictions
                if not np.isfinite(output).all():
                    raise DivergedError(f"the model's outputs for the {split} set are not finite")
                predictions = labels_of(output, task, label_names)
                if "label" in tokens[split].column_names:
                    scores = metrics.compute(task, predictions, splits.splits[split]["label"])
                    scores = {f"{split}_{name}": value for name, value in scores.items()}
                    record["metrics"][split] = {**scores, f"{split}_samples": len(predictions)}
                    trainer.save_metrics(split, record["metrics"][split])
                if is_first:
                    written = write_submission(task, split, predictions, folder)
                    record["submissions"].append(str(written.path))
                    if written.warning:
                        logger.warning("%s", written.warning)

        # Write
        record["timings"]["total_s"] = time.perf_counter() - started
        record["peak_memory_bytes"] = machine.peak_memory_bytes(training.device)
        if is_first and training.do_train and training.save_model:
            write_card(folder, record)
    return record if is_first else None


def load_data(arguments: Arguments) -> tuple[Splits, PretrainedConfig, list[str] | None, str | None]:
    """Read what the flags ask for.

    Returns:
        The splits, the model's configuration with the task's labels, the labels in the order of the model's head (None:
        regression), and a note if the checkpoint does not state that order (see `modeling.head_labels`).
    """
    model, training = arguments.model, arguments.training
    if training.n_gpu > 1:  # Trainer would spread each batch over them
        raise InputError("several GPUs are visible to one process: start torchrun, or set CUDA_VISIBLE_DEVICES to one")
    wanted = [split for switch, splits in SPLITS_OF.items() if getattr(training, switch) for split in splits]
    if not wanted:
        raise InputError("nothing to do: pass --do_train, --do_eval or --do_predict")
    config = modeling.load_config(model)
    if (weights_config := modeling.load_weights_config(model)) is not None:
        config.id2label, config.label2id = weights_config.id2label, weights_config.label2id
    # Own test files without training data take their labels from a checkpoint that is fine-tuned already.
    known_labels = () if config.num_labels == 1 else checkpoint_labels(config.label2id)
    with training.main_process_first(desc="reading data"):
        splits = load_splits(arguments.data, wanted, model.cache_dir, known_labels)
    task = splits.task
    label_names, order_note = modeling.head_labels(model, config, task)
    if training.label_smoothing_factor and label_names is None:
        raise InputError(
            f"--label_smoothing_factor {training.label_smoothing_factor:g}: {task.name} has scores, no classes to "
            "smooth; leave the flag out"
        )
    config.finetuning_task = task.name
    modeling.set_labels(config, label_names)
    return splits, config, label_names, order_note


def build_trainer(
    arguments: Arguments, splits: Splits, config, label_names: list[str] | None, techniques: list[Technique]
) -> tuple[HyPeTrainer, dict[str, Dataset], list[str]]:
    """Tokenize the data, load the model and build its Trainer.

    Returns:
        The Trainer, the tokenized splits (labels numbered as the model's head), and the names of the parameters that
        the checkpoint does not have.
    """
    data, training = arguments.data, arguments.training
    tokenizer = modeling.load_tokenizer(arguments.model, config)
    with training.main_process_first(desc="tokenizing"):
        tokens = tokenize(
            splits, tokenizer, data.max_seq_length, data.pad_to_max_length, data.overwrite_cache,
            arguments.model.cache_dir,
        )  # fmt: skip
    batch_size = training.train_batch_size * training.world_size
    if training.do_train and training.dataloader_drop_last and len(tokens["train"]) < batch_size:
        raise InputError(
            f"--dataloader_drop_last leaves nothing of {len(tokens['train'])} training examples in batches of "
            f"{batch_size}: lower --per_device_train_batch_size"
        )
    if training.push_to_hub and not hub_is_reachable():
        raise EnvironmentFault("--push_to_hub: the hub cannot be reached; leave the flag out and upload later")
    tokens = {name: _in_model_order(rows, splits.task, label_names) for name, rows in tokens.items()}
    # Seeded here, so that the head of a run does not depend on what was done before.
    set_seed(training.seed)
    model, new_parameters = modeling.load_model(arguments.model, config, tokenizer, is_trained=training.do_train)
    with as_input_error("the flags of training"):
        trainer = HyPeTrainer(
            model=model,
            args=training,
            train_dataset=tokens.get("train"),
            eval_dataset=tokens.get("validation"),
            data_collator=default_data_collator if data.pad_to_max_length else DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            compute_metrics=Scorer(splits.task, label_names),
            preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
            hype_options=arguments.hype_options(),
            techniques=techniques,
            optimizer_semantics=training.optimizer_semantics,
        )
    return trainer, tokens, new_parameters


class Scorer:
    """Compute the task's metrics from the model's outputs, and keep the predictions and remarks of the last call."""

    def __init__(self, task: Task, label_names: list[str] | None):
        self.task, self.label_names = task, label_names
        self.predictions, self.remarks = None, {}

    def __call__(self, output: EvalPrediction) -> dict[str, float | None]:
        """Return the metrics."""
        labels, predictions = output.label_ids, labels_of(output.predictions, self.task, self.label_names)
        if self.label_names is not None:
            labels = convert_label_ids(labels, self.label_names, self.task.label_names)
            # Two runs can be compared example by example; scores need no comparing.
            self.predictions = one_digit_each(predictions, len(self.label_names))
        self.remarks = metrics.remarks(self.task, predictions, labels)
        return metrics.compute(self.task, predictions, labels)


def labels_of(outputs: np.ndarray, task: Task, label_names: list[str] | None) -> np.ndarray:
    """Turn the model's outputs into the task's label ids, or scores."""
    if label_names is None:
        return outputs.squeeze(-1)
    return convert_label_ids(outputs.argmax(-1), label_names, task.label_names)


def _in_model_order(rows: Dataset, task: Task, label_names: list[str] | None) -> Dataset:
    """Number the labels as the model's head does."""
    if "label" not in rows.column_names or label_names is None or list(label_names) == list(task.label_names):
        return rows
    ids = convert_label_ids(rows["label"][:], task.label_names, label_names)
    return rows.remove_columns("label").add_column("label", ids)


def _without_labels(rows: Dataset) -> Dataset:
    return rows.select_columns([name for name in rows.column_names if name != "label"])


def _decide_on_first_process(arguments: Arguments, folder: Path, record: dict) -> Decision:
    """Decide on the first process, for all of them."""
    training, outcome = arguments.training, [None]
    if training.process_index == 0:
        try:
            if training.overwrite_output_dir:
                names = ("model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name")
                require_outside(folder, {name: getattr(arguments.model, name) for name in names})
            outcome = [
                decide_resume(
                    folder,
                    record["identity"],
                    records.environment(record),
                    training.resume_from_checkpoint,
                    training.overwrite_output_dir,
                    training.allow_changed,
                )
            ]
        except RunError as error:
            outcome = [error]
    if training.world_size > 1:
        broadcast_object_list(outcome)
    if isinstance(outcome[0], RunError):
        raise outcome[0]
    return outcome[0]


def describe_run(arguments: Arguments, record: dict, config) -> str:
    """Say in one line what is run: method, dropout, model, task, examples, steps, device."""
    training, rows = arguments.training, record["data"]["rows"]
    architecture = ARCHITECTURES.get(config.model_type)
    rates = {getattr(config, name) for name in (architecture.hidden_dropouts if architecture else ())}
    dropout = " and ".join(f"{rate:g}" for rate in sorted(rates)) or "of the checkpoint"
    is_vanilla = training.do_train and arguments.hype.hype_type == "none"
    labels = record["label_names"]
    steps = f"{step_count(training, rows['train'])} steps" if training.do_train else "no training"
    return ", ".join(
        (
            record["label"].rpartition(", ")[0] + " (--hype_type normal adds HyPe)" * is_vanilla,
            f"hidden dropout {dropout}",
            Path(record["model"]["name"]).name,
            f"{record['task']} ({'regression' if labels is None else f'{len(labels)} classes'}, "
            + ", ".join(f"{count:,} {split}" for split, count in rows.items())
            + " examples)",
            steps,
            f"{record['machine']['device']['type']}",
        )
    )


def step_count(training: RunArguments, row_count: int) -> int:
    """Return the number of updates of a training, as Trainer counts them."""
    if training.max_steps > 0:
        return training.max_steps
    count = row_count / (training.train_batch_size * training.world_size)
    batches = math.floor(count) if training.dataloader_drop_last else math.ceil(count)
    return math.ceil(training.num_train_epochs * max(math.ceil(batches / training.gradient_accumulation_steps), 1))


def measured_noise(trainer: HyPeTrainer, arguments: Arguments) -> dict | None:
    """Measure the noise before training.

    Raises:
        InputError: the dtype rounds most of it away, or it makes the model's outputs overflow.
        DivergedError: the outputs are not finite even without it.
    """
    hype = arguments.hype
    try:
        noise = trainer.measure_noise()
    except ValueError as error:
        raise InputError(str(error)) from error
    if noise is None:
        return None
    if not noise.pop("is_finite"):
        raise DivergedError("the model's outputs are not finite before the first step")
    if not math.isfinite(noise["logit_change"]):
        raise InputError(f"--hype_eps {hype.hype_eps:g}: the model's outputs overflow; give a smaller scale")
    weakest = min(noise["layers"], key=lambda layer: layer["changed"])
    snr = "infinite" if weakest["snr_db"] is None else f"{weakest['snr_db']:.0f} dB"
    effect = (
        f"{hype.hype_type} noise of eps {hype.hype_eps:g} changes {weakest['changed']:.1%} of the entries of "
        f"{weakest['dtype']} hidden states (signal to noise {snr}) and a logit by {noise['logit_change']:.1e}"
    )
    is_half = weakest["dtype"] in ("float16", "bfloat16")
    if is_half and weakest["changed"] < REFUSED_SHARE and not hype.allow_vanishing_noise:
        raise InputError(f"{effect}: train in float32, raise --hype_eps, or pass --allow_vanishing_noise")
    logger.log(logging.WARNING if weakest["changed"] < WEAK_SHARE else logging.INFO, "%s", effect)
    lowest = min((layer["snr_db"] for layer in noise["layers"] if layer["snr_db"] is not None), default=0)
    if lowest < 0:
        logger.warning(
            "--hype_eps %g: the noise is stronger than the hidden states (signal to noise down to %.0f dB); the paper "
            "uses 1e-5 to 1e-4",
            hype.hype_eps,
            lowest,
        )
    return noise


@contextmanager
def recorded(record: dict, folder: Path | None):
    """Keep the record of the run that the block does in `folder` (None: not the first process)."""

    def write(**changes):
        record.update(changes)
        if folder is not None:
            write_json(folder / RECORD, record)

    write(status="running")
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        status = "diverged" if isinstance(error, DivergedError) else "interrupted" if interrupted else "failed"
        try:
            write(status=status, error=f"{type(error).__name__}: {error}")
        except RuntimeError:  # torch raises the death of a loader process from a signal handler too, once, anywhere
            write()
        raise
    write(status="finished")


def _bytes_needed(trainer: HyPeTrainer, has_checkpoint: bool) -> int:
    """Estimate what a training writes: the new checkpoint and the one that it replaces, and the model."""
    training = trainer.args
    weights = sum(parameter.numel() * parameter.element_size() for parameter in trainer.model.parameters())
    checkpoint = weights * (3 if "adam" in training.optim and not training.save_only_model else 1)
    checkpoint_count = 0 if training.save_strategy == "no" else 2 - has_checkpoint
    return checkpoint_count * checkpoint + training.save_model * weights


def _require_finite(scores: dict) -> None:
    bad = [name for name, value in scores.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        shown = f"the evaluation's {bad[0]} is {scores[bad[0]]}: the model has diverged"
        scores.update(dict.fromkeys(bad))  # JSON has no NaN
        raise DivergedError(shown)


@contextmanager
def _as_run_errors(folder: Path):
    """Raise errors of libraries that the user can do something about as errors that say what."""
    try:
        yield
    except RunError:
        raise
    except torch.OutOfMemoryError as error:
        raise EnvironmentFault("out of memory: lower --per_device_train_batch_size or --max_seq_length") from error
    except KeyError as error:
        if "metric_for_best_model" not in str(error):
            raise
        raise InputError(f"--metric_for_best_model: {error.args[0]}") from error
    except UnpicklingError as error:
        raise InputError(f"{folder}: a checkpoint contains code and is not of this project; remove it") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if reason := write_failure(error):
            raise EnvironmentFault(
                f"cannot write {getattr(error, 'filename', None) or folder} ({reason}): make room or choose another "
                "folder; the same command resumes from the newest whole checkpoint"
            ) from error
        raise


@contextmanager
def _progress_bars(are_shown: bool):
    """Hide the bars of tokenizing, loading and saving, too, where those of training are hidden."""
    bars = transformers.utils.logging
    hide_models, hide_data = bars.is_progress_bar_enabled(), not datasets.are_progress_bars_disabled()
    if are_shown:
        hide_models = hide_data = False
    if hide_models:
        bars.disable_progress_bar()
    if hide_data:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if hide_models:
            bars.enable_progress_bar()
        if hide_data:
            datasets.enable_progress_bars()


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
    lines = [f"{record['task']}: {record['label']}, seed {record['seed']}, {record['model']['name']}"]
    if record["score_name"] is not None:
        score = "undefined" if record["score"] is None else f"{100 * record['score']:.2f}"
        line = f"  {record['score_name']} {score} on {record['data']['rows']['validation']} validation examples"
        majority = record["majority_score"]
        lines.append(line if majority is None else f"{line} (majority class {100 * majority:.2f})")
    for split in SPLITS_OF["do_predict"]:
        for name, value in record["metrics"].get(split, {}).items():
            if not name.endswith("_samples"):
                shown = "undefined" if value is None else f"{100 * value:.2f}"
                lines.append(f"  {name} {shown} on {record['data']['rows'][split]} test examples")
    if record["sample"]:
        lines.append(f"  {record['sample']}")
    if record["model"]["untrained"]:
        lines.append(f"  {untrained_text(record['model'])}")
    lines += [f"  {path}" for path in record["submissions"] or ()]
    lines.append(f"  {Path(record['settings']['output_dir']) / RECORD}")
    return "\n".join(lines)


def untrained_text(model: dict) -> str:
    """Say that a model (of a record) is used without ever having been fine-tuned."""
    return (
        f"{model['name']} has no {', '.join(model['untrained'])}: random here, and not trained, so that scores and "
        "predictions mean nothing; pass --do_train, or the folder of a fine-tuned model"
    )
