"""The parts of one run, in the order in which they are made: data, model, Trainer, record, training, scores, files."""

import json
import logging
import math
import time
from pathlib import Path

import numpy as np
from accelerate.utils import broadcast_object_list
from transformers import DataCollatorWithPadding, default_data_collator, set_seed

from hype.data.labels import checkpoint_labels, convert_label_ids, one_digit_each
from hype.data.splits import Splits, load_splits
from hype.data.submission import write_submission
from hype.data.tokenization import tokenise
from hype.errors import DivergedError, EnvironmentFault, InputError, RunError, as_input_error
from hype.files import write_json
from hype.hub import hub_is_reachable
from hype.techniques import selected
from hype.training import metrics, modeling
from hype.training import record as records
from hype.training.arguments import Arguments
from hype.training.folder import RECORD, Plan, plan, require_outside
from hype.training.trainer import HyPeTrainer

logger = logging.getLogger(__name__)
SPLITS_OF = {
    "do_train": ("train",),
    "do_eval": ("validation", "validation_mismatched"),
    "do_predict": ("test", "test_mismatched"),
}
# Below these shares of changed entries the noise is called weak, and in half precision refused.
WEAK_SHARE, REFUSED_SHARE = 0.9, 0.5


class Job:
    """One run. Its methods are called in the order in which they stand, on every process."""

    def __init__(self, arguments: Arguments, folder: Path):
        training = arguments.training
        if training.n_gpu > 1:  # Trainer would spread each batch over them
            raise InputError(
                "several GPUs are visible to one process: start torchrun, or set CUDA_VISIBLE_DEVICES to one"
            )
        self.arguments, self.folder, self.is_first = arguments, folder, training.process_index == 0
        wanted = [split for switch, splits in SPLITS_OF.items() if getattr(training, switch) for split in splits]
        if not wanted:
            raise InputError("nothing to do: pass --do_train, --do_eval or --do_predict")
        self.techniques = selected(
            arguments.techniques, arguments.hype.hype_type != "none" and arguments.hype.hype_eps > 0
        )
        self.config = modeling.load_config(arguments.model)
        weights_config = modeling.load_weights_config(arguments.model)
        if weights_config is not None:
            self.config.id2label, self.config.label2id = weights_config.id2label, weights_config.label2id
        # Own test files without training data take their labels from a checkpoint that is tuned already.
        known_labels = () if self.config.num_labels == 1 else checkpoint_labels(self.config.label2id)
        with training.main_process_first(desc="reading data"):
            self.splits: Splits = load_splits(arguments.data, wanted, arguments.model.cache_dir, known_labels)
        task = self.splits.task
        self.config.finetuning_task = task.name
        self.label_names, self.order_note = modeling.head_labels(arguments.model, self.config, task)
        if training.label_smoothing_factor and self.label_names is None:
            raise InputError(
                f"--label_smoothing_factor {training.label_smoothing_factor:g}: {task.name} has scores, no classes to "
                "smooth; leave the flag out"
            )
        modeling.set_labels(self.config, self.label_names)
        self.model_description = records.describe_model(arguments.model.model_name_or_path, self.config)
        if weights := arguments.model.checkpoint_dir:
            fingerprint = records.fingerprint_of(weights, weights_config or self.config)
            self.model_description["checkpoint_dir_fingerprint"] = fingerprint

    def plan(self) -> Plan:
        """Decide on the first process, for all, whether to start, go on or do nothing."""
        training = self.arguments.training
        self.identity = records.identity_of(self.arguments, self.splits.fingerprint, self.model_description)
        if training.overwrite_output_dir:
            names = ("model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name")
            require_outside(self.folder, {name: getattr(self.arguments.model, name) for name in names})
        outcome = [None]
        if self.is_first:
            try:
                outcome = [
                    plan(
                        self.folder,
                        self.identity,
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

    def build(self) -> None:
        """Make tokens, model and Trainer, begin the record, measure the noise. The run's folder stays as it is."""
        arguments, training, data = self.arguments, self.arguments.training, self.arguments.data
        started = time.perf_counter()
        tokenizer = modeling.load_tokenizer(arguments.model, self.config)
        with training.main_process_first(desc="tokenising"):
            self.tokens = tokenise(
                self.splits, tokenizer, data.max_seq_length, data.pad_to_max_length, data.overwrite_cache,
                arguments.model.cache_dir,
            )  # fmt: skip
        for note in self.splits.notes if self.is_first else ():
            logger.warning("%s", note)
        # Seeded here, so that the head of a run does not depend on what was done before.
        set_seed(training.seed)
        self.model, new = modeling.load_model(arguments.model, self.config, tokenizer, is_trained=training.do_train)
        self.untrained = [] if training.do_train else new
        if self.order_note and not training.do_train and not new:  # what is trained learns its order
            self.splits.notes.append(self.order_note)
            if self.is_first:
                logger.warning("%s", self.order_note)
        if self.untrained and self.is_first:
            logger.warning("%s", untrained_text(arguments.model.model_name_or_path, self.untrained))
        self._require_what_training_needs()
        self.trainer = self._trainer(tokenizer)
        self._begin_record(time.perf_counter() - started)
        if training.do_train:
            self.record["noise"] = self._measured_noise()

    def _require_what_training_needs(self) -> None:
        training = self.arguments.training
        batch_size = training.train_batch_size * training.world_size
        if training.do_train and training.dataloader_drop_last and len(self.tokens["train"]) < batch_size:
            raise InputError(
                f"--dataloader_drop_last leaves nothing of {len(self.tokens['train'])} training examples in batches of "
                f"{batch_size}: lower --per_device_train_batch_size"
            )
        if training.push_to_hub and not hub_is_reachable():
            raise EnvironmentFault("--push_to_hub: the hub cannot be reached; leave the flag out and upload later")

    def _trainer(self, tokenizer) -> HyPeTrainer:
        arguments, training = self.arguments, self.arguments.training
        is_padded = arguments.data.pad_to_max_length
        train, validation = (self._in_model_order(self.tokens.get(name)) for name in ("train", "validation"))
        options = arguments.hype_options()
        with as_input_error("the flags of training"):
            return HyPeTrainer(
                model=self.model,
                args=training,
                train_dataset=train,
                eval_dataset=validation,
                data_collator=default_data_collator if is_padded else DataCollatorWithPadding(tokenizer),
                processing_class=tokenizer,
                compute_metrics=self._compute_metrics,
                preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
                hype_options=options,
                techniques=self.techniques,
                optimizer_semantics=training.optimizer_semantics,
            )

    def _begin_record(self, load_s: float) -> None:
        training = self.arguments.training
        splits, task = self.splits, self.splits.task
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.record = {
            "schema": records.SCHEMA,
            "run_id": records.run_id_of(self.identity),
            "identity": self.identity,
            "arguments": self.arguments.as_dict(),
            "task": task.name,
            "seed": training.seed,
            "label": records.method_label(self.arguments, [technique.name for technique in self.techniques]),
            "sample": splits.sample_text,
            "data": records.describe_data(splits),
            "model": {**self.model_description, "parameter_count": parameters, "untrained": self.untrained},
            "label_names": self.label_names,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "world_size": training.world_size,
            **records.describe_machine(training.device),
            "timings": {"load_s": load_s},
            "metrics": {},
        }

    def train(self, checkpoint: str | None) -> None:
        """Train and save the model; a no-op without --do_train."""
        training = self.arguments.training
        if not training.do_train:
            return
        if self.splits.low_resource_indices is not None and self.is_first:
            write_json(self.folder / "low_resource_indices.json", self.splits.low_resource_indices)
        if checkpoint is not None:  # which rotation may remove meanwhile
            state = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))
            self.record["timings"]["first_step"] = state["global_step"]
        result = self.trainer.train(resume_from_checkpoint=checkpoint)
        self.record["timings"]["train_s"] = result.metrics["train_runtime"]
        self.record["steps"] = result.global_step
        self.record["techniques"] = {technique.name: technique.facts() for technique in self.techniques}
        if training.save_model:
            self.trainer.save_model()
        metrics_of_train = {**result.metrics, "train_samples": len(self.tokens["train"])}
        self.record["metrics"]["train"] = metrics_of_train
        self.trainer.save_metrics("train", metrics_of_train)
        self.trainer.save_state()

    def _measured_noise(self) -> dict | None:
        hype = self.arguments.hype
        try:
            noise = self.trainer.measure_noise()
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
        return noise

    def evaluate(self) -> None:
        """Score the validation splits; a no-op without --do_eval."""
        if not self.arguments.training.do_eval:
            return
        started, task = time.perf_counter(), self.splits.task
        scores = self.trainer.evaluate(metric_key_prefix="eval")
        self.record["validation_labels"] = self._last_labels
        scores["eval_samples"] = len(self.tokens["validation"])
        if "validation_mismatched" in self.tokens:
            mismatched = self.trainer.evaluate(self._in_model_order(self.tokens["validation_mismatched"]))
            scores |= {f"{name}_mm": value for name, value in mismatched.items()}
            scores["eval_samples_mm"] = len(self.tokens["validation_mismatched"])
        self.trainer.save_metrics("eval", scores)
        self.record["metrics"]["eval"] = scores
        self.record["score"] = metrics.score(task, {name.removeprefix("eval_"): v for name, v in scores.items()})
        self.record["score_name"] = " and ".join(task.score_metrics)
        self.record["majority_score"] = metrics.majority_score(task, self.splits.splits["validation"]["label"])
        self.record["timings"]["eval_s"] = time.perf_counter() - started

    def predict(self) -> None:
        """Write the files that the GLUE server takes; a no-op without --do_predict."""
        if not self.arguments.training.do_predict:
            return
        files = []
        for split in SPLITS_OF["do_predict"]:
            if split in self.tokens:
                tokens = self.tokens[split].remove_columns(
                    [name for name in ("label",) if name in self.tokens[split].column_names]
                )
                output = self.trainer.predict(tokens).predictions
                if not np.isfinite(output).all():
                    raise DivergedError(f"the model's outputs for the {split} set are not finite")
                predictions = self._labels_of(output)
                if self.is_first:
                    written = write_submission(self.splits.task, split, predictions, self.folder)
                    files.append(str(written.path))
                    if written.warning:
                        logger.warning("%s", written.warning)
        self.record["predictions"] = files

    def _in_model_order(self, tokens):
        """Number the labels as the model's head does."""
        if tokens is None or self.label_names is None or list(self.label_names) == list(self.splits.task.label_names):
            return tokens
        ids = convert_label_ids(tokens["label"][:], self.splits.task.label_names, self.label_names)
        return tokens.remove_columns("label").add_column("label", ids)

    def _labels_of(self, predictions):
        """Turn logits into GLUE's label ids, or scores."""
        if self.label_names is None:
            return predictions.squeeze(-1)
        return convert_label_ids(predictions.argmax(-1), self.label_names, self.splits.task.label_names)

    def _compute_metrics(self, output) -> dict:
        labels = output.label_ids
        if self.label_names is not None:
            labels = convert_label_ids(labels, self.label_names, self.splits.task.label_names)
        predictions = self._labels_of(output.predictions)
        self.record["remarks"] = metrics.remarks(self.splits.task, predictions, labels)
        # So that two runs can be compared example by example; scores need no comparing.
        names = self.label_names
        self._last_labels = None if names is None else one_digit_each(predictions, len(names))
        return metrics.compute(self.splits.task, predictions, labels)

    def write_record(self) -> None:
        """Write run.json, on the first process."""
        if self.is_first:
            write_json(self.folder / RECORD, self.record)


def untrained_text(model: str, parameters: list[str]) -> str:
    """Say that a model is used without ever having been fine-tuned."""
    return (
        f"{model} has no {', '.join(parameters)}: random here, and not trained, so that scores and predictions mean "
        "nothing; pass --do_train, or the folder of a fine-tuned model"
    )
