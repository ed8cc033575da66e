"""One run, from arguments to record: load data and model, train, evaluate, predict, and write the results."""

import logging
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import datasets
import numpy as np
import transformers
from datasets import Dataset
from huggingface_hub import HfApi
from transformers import DataCollatorWithPadding, PretrainedConfig, TrainerState, default_data_collator, set_seed

from hype.data.labels import checkpoint_labels, convert_label_ids
from hype.data.splits import Splits, load_splits
from hype.data.submission import write_submission
from hype.data.tasks import Task
from hype.data.tokenization import tokenize
from hype.errors import DivergedError, EnvironmentFault, InputError, as_input_error
from hype.files import sync, weight_files, weights_sha256, write_json
from hype.hub import hub_is_reachable
from hype.optimizers import LegacyAdamW
from hype.techniques import Technique, selected
from hype.training import machine, metrics, modeling
from hype.training import record as records
from hype.training.arguments import Arguments
from hype.training.card import write_card
from hype.training.faults import as_run_errors
from hype.training.interruption import StopCallback, stopping_on_signals
from hype.training.length_order import in_given_order, longest_first
from hype.training.metrics import Scorer
from hype.training.noise_check import check_noise
from hype.training.record import recorded
from hype.training.resume import decide_resume, on_first_process
from hype.training.run_folder import clear, locked, require_space
from hype.training.summary import announce
from hype.training.trainer import HyPeTrainer

logger = logging.getLogger(__name__)
SPLITS_BY_FLAG = {
    "do_train": ("train",),
    "do_eval": ("validation", "validation_mismatched"),
    "do_predict": ("test", "test_mismatched"),
}


def finetune(arguments: Arguments) -> dict | None:
    """Execute one run and return its record, which is also written to `output_dir`/run.json.

    A finished run of the same identity is not repeated; an interrupted one resumes from its newest complete checkpoint.
    Processes other than the first return None.

    Raises:
        InputError, DivergedError, EnvironmentFault, LockedError: see `hype.errors`.
    """
    training = arguments.training
    folder, is_first = Path(training.output_dir), training.process_index == 0
    stop = StopCallback(training.save_strategy != "no" and not training.save_only_model)
    lock = locked(folder) if is_first else nullcontext()
    with lock, as_run_errors(folder), stopping_on_signals(stop, training.world_size):
        return _finetune(arguments, folder, is_first, stop)


def _finetune(arguments: Arguments, folder: Path, is_first: bool, stop: StopCallback) -> dict | None:
    training = arguments.training
    started = time.perf_counter()
    machine.reset_peak_memory(training.device)
    if training.disable_tqdm:  # which by itself hides only Trainer's bars
        transformers.utils.logging.disable_progress_bar()
        datasets.disable_progress_bars()

    # Data, and the order of its labels in the model's head
    splits, config, label_names = load_data(arguments)
    techniques = selected(
        arguments.techniques, hype_is_on=arguments.hype.hype_type != "none" and arguments.hype.hype_eps > 0
    )
    record = records.new_record(arguments, splits, config, label_names, [technique.name for technique in techniques])

    # Start, resume, or leave a finished run alone
    decision = on_first_process(training, lambda: decide_resume(arguments, folder, record))
    if decision.finished is not None:
        logger.warning("%s: the run is already finished and is not repeated", folder)
        if training.do_train and training.save_model and not weight_files(folder):
            logger.warning("%s: the model is missing; pass --overwrite_output_dir to train it again", folder)
        if training.push_to_hub:
            logger.warning("%s is not uploaded now; hf upload REPOSITORY %s . uploads it", folder, folder)
        return decision.finished if is_first else None
    record.update(changed=decision.changed, resumed_from=decision.resumed_from)

    # Tokens, model and Trainer; the folder is left unchanged until they exist
    trainer, tokens, new_parameters = build_trainer(arguments, splits, config, label_names, techniques)
    trainer.provenance = records.provenance(record)
    trainer.add_callback(stop)
    record["model"]["parameter_count"] = sum(parameter.numel() for parameter in trainer.model.parameters())
    record["model"]["untrained"] = [] if training.do_train else new_parameters
    record["dtype"] = str(trainer.model.dtype).removeprefix("torch.")
    training.reported = {"method": record["label"], **asdict(arguments.hype)}
    if is_first:
        announce(arguments, record, config)
    record["timings"]["load_s"] = time.perf_counter() - started
    if training.do_train:
        record["noise"] = check_noise(trainer, arguments.hype)
    if is_first:
        if training.overwrite_output_dir:
            clear(folder)
        (folder / "all_results.json").unlink(missing_ok=True)  # Trainer would add to the file of an earlier attempt

    with recorded(record, folder if is_first else None), as_run_errors(folder):
        if training.do_train:
            _train(trainer, decision.checkpoint, splits, record)
        if training.do_eval:
            _evaluate(trainer, tokens, splits, label_names, record)
        if training.do_predict:
            _predict(trainer, tokens, splits, label_names, record)
        record["timings"]["total_s"] = time.perf_counter() - started
        record["peak_memory_bytes"] = machine.peak_memory_bytes(training.device)
        if is_first and training.do_train and training.save_model:
            write_card(folder, record)
    if is_first and training.push_to_hub:  # Trainer has uploaded the model, without its card and the final record
        HfApi(token=training.hub_token).upload_folder(
            repo_id=trainer.hub_model_id, folder_path=folder, ignore_patterns=["_*", ".*", "checkpoint-*"]
        )
    return record if is_first else None


def load_data(arguments: Arguments) -> tuple[Splits, PretrainedConfig, list[str] | None]:
    """Load the data and the model configuration that the flags select.

    Returns:
        The splits, the model's configuration with the task's labels, and the labels in the order of the model's head
        (None for regression).
    """
    model, training = arguments.model, arguments.training
    if training.n_gpu > 1:  # Trainer would spread each batch over them
        problem = "several GPUs are visible to one process: use torchrun, or set CUDA_VISIBLE_DEVICES to one"
        raise EnvironmentFault(problem)  # which stops a grid
    if training.fp16 and training.device.type == "cpu":
        raise InputError("--fp16: accelerate ignores it on a CPU; pass --bf16, or leave it out")
    wanted = [split for switch, splits in SPLITS_BY_FLAG.items() if getattr(training, switch) for split in splits]
    if not wanted:
        raise InputError("nothing to do: pass --do_train, --do_eval or --do_predict")
    config = modeling.load_config(model)
    # Without training data, the labels of the user's test files come from an already fine-tuned checkpoint.
    known_labels = () if config.num_labels == 1 else checkpoint_labels(config.label2id)
    with training.main_process_first(desc="reading data"):
        splits = load_splits(arguments.data, wanted, model.cache_dir, known_labels)
    task = splits.task
    label_names, order_note = modeling.head_labels(model, config, task)
    if order_note and not training.do_train:  # training teaches the head the order
        splits.notes.append(order_note)
    if training.label_smoothing_factor and label_names is None:
        raise InputError(
            f"--label_smoothing_factor {training.label_smoothing_factor:g}: {task.name} has scores, not classes; "
            "leave the flag out"
        )
    config.finetuning_task = task.name
    modeling.set_labels(config, label_names)
    return splits, config, label_names


def build_trainer(
    arguments: Arguments, splits: Splits, config, label_names: list[str] | None, techniques: list[Technique]
) -> tuple[HyPeTrainer, dict[str, Dataset], list[str]]:
    """Tokenize the data, load the model and build the Trainer.

    Returns:
        The Trainer, the tokenized splits (labels numbered as in the model's head), and the names of the parameters that
        the checkpoint lacks.
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
            f"--dataloader_drop_last drops all {len(tokens['train'])} training examples, fewer than the batch size "
            f"of {batch_size}: lower --per_device_train_batch_size"
        )
    if training.push_to_hub and not hub_is_reachable():
        raise EnvironmentFault("--push_to_hub: the hub cannot be reached; leave the flag out and upload later")
    tokens = {name: _in_model_order(rows, splits.task, label_names) for name, rows in tokens.items()}
    validation, order = longest_first(tokens["validation"]) if "validation" in tokens else (None, None)
    # Seed here, so that the initialisation of the head does not depend on what ran before.
    set_seed(training.seed)
    model, new_parameters = modeling.load_model(arguments.model, config, tokenizer, is_trained=training.do_train)
    betas = training.adam_beta1, training.adam_beta2
    released_adamw = LegacyAdamW, {"lr": training.learning_rate, "betas": betas, "eps": training.adam_epsilon}
    with as_input_error("the training arguments"):
        trainer = HyPeTrainer(
            model=model,
            args=training,
            train_dataset=tokens.get("train"),
            eval_dataset=validation,
            data_collator=default_data_collator if data.pad_to_max_length else DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            compute_metrics=Scorer(splits.task, label_names, order),
            preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
            hype_options=arguments.hype_options(),
            techniques=techniques,
            optimizer_cls_and_kwargs=released_adamw if training.optimizer_semantics == "release" else None,
        )
    return trainer, tokens, new_parameters


def _in_model_order(rows: Dataset, task: Task, label_names: list[str] | None) -> Dataset:
    """Renumber the labels in the order of the model's head."""
    if "label" not in rows.column_names or label_names is None or list(label_names) == list(task.label_names):
        return rows
    ids = convert_label_ids(rows["label"][:], task.label_names, label_names)
    return rows.remove_columns("label").add_column("label", ids)


def _train(trainer: HyPeTrainer, checkpoint: Path | None, splits: Splits, record: dict) -> None:
    """Train, from a checkpoint if there is one, and save the model."""
    training, folder = trainer.args, Path(trainer.args.output_dir)
    require_space(folder, trainer.model, training, has_checkpoint=checkpoint is not None)
    if splits.low_resource_indices is not None and trainer.is_world_process_zero():
        write_json(folder / "low_resource_indices.json", splits.low_resource_indices)
    if checkpoint is not None:  # read now: rotation may delete the checkpoint during training
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        record["timings"]["first_step"] = state.global_step
    result = trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    best = trainer.state.best_model_checkpoint and Path(trainer.state.best_model_checkpoint).name
    if training.load_best_model_at_end and best != f"checkpoint-{trainer.state.best_global_step}":
        logger.warning(
            "--load_best_model_at_end: the best step has no checkpoint, so the model is that of %s; give --eval_steps "
            "and --save_steps the same value, below the number of steps", best or "the last step",
        )  # fmt: skip
    if checkpoint is not None:
        result.metrics.pop("train_loss")  # Trainer does not know the losses before the checkpoint
    record["timings"]["train_s"] = result.metrics["train_runtime"]
    record["steps"] = result.global_step
    record["techniques"] = {technique.name: technique.facts() for technique in trainer.techniques}
    record["metrics"]["train"] = {**result.metrics, "train_samples": len(trainer.train_dataset)}
    if training.save_model:
        trainer.save_model()
        if trainer.is_world_process_zero():
            sync(folder)
            record["model"]["weights_sha256"] = weights_sha256(folder)
    trainer.save_metrics("train", record["metrics"]["train"])
    trainer.save_state()


def _evaluate(trainer: HyPeTrainer, tokens: dict[str, Dataset], splits: Splits, label_names, record: dict) -> None:
    """Score the validation sets."""
    task, start = splits.task, time.perf_counter()
    scores, record["remarks"] = {}, {}
    for split in [split for split in SPLITS_BY_FLAG["do_eval"] if split in tokens]:
        suffix = "_mm" if split == "validation_mismatched" else ""
        rows, order = longest_first(tokens[split])
        trainer.compute_metrics = scorer = Scorer(task, label_names, order)
        values = {**trainer.evaluate(rows), "eval_samples": len(rows)}
        scores |= {f"{name}{suffix}": value for name, value in values.items()}
        record["remarks"] |= {f"{name}{suffix}": remark for name, remark in scorer.remarks.items()}
        if not suffix:
            record["predictions"] = scorer.predictions
    record["metrics"]["eval"] = scores
    metrics.require_finite(scores)
    trainer.save_metrics("eval", scores)
    record["score"] = metrics.score(task, {name.removeprefix("eval_"): value for name, value in scores.items()})
    record["score_name"] = " and ".join(task.score_metrics)
    record["majority_score"] = metrics.majority_score(task, splits.splits["validation"]["label"])
    record["timings"]["eval_s"] = time.perf_counter() - start


def _predict(trainer: HyPeTrainer, tokens: dict[str, Dataset], splits: Splits, label_names, record: dict) -> None:
    """Predict the test sets and write submission files; also score test data that has labels."""
    record["submissions"] = []
    for split in [split for split in SPLITS_BY_FLAG["do_predict"] if split in tokens]:
        rows, order = longest_first(tokens[split])
        unlabelled = rows.select_columns([name for name in rows.column_names if name != "label"])
        outputs = in_given_order(trainer.predict(unlabelled).predictions, order)
        if not np.isfinite(outputs).all():
            raise DivergedError(f"the model's outputs for the {split} set are not finite")
        predictions = metrics.predicted_labels(outputs, splits.task, label_names)
        if "label" in rows.column_names:
            scores, _ = metrics.compute(splits.task, predictions, splits.splits[split]["label"])
            scores = {f"{split}_{name}": value for name, value in scores.items()}
            record["metrics"][split] = {**scores, f"{split}_samples": len(predictions)}
            trainer.save_metrics(split, record["metrics"][split])
        if trainer.is_world_process_zero():
            path, warning = write_submission(splits.task, split, predictions, Path(trainer.args.output_dir))
            record["submissions"].append(str(path))
            if warning:
                logger.warning("%s", warning)
