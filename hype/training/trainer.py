"""transformers' Trainer with HyPe, the compared techniques, and today's traps closed."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, set_seed
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput, EvalPrediction, rotate_checkpoints

from hype.diagnostics import measure_noise
from hype.errors import DivergedError, InputError, as_input_error
from hype.optimizers import LegacyAdamW
from hype.perturbation import HyPe, stream_seed
from hype.random_streams import forked_streams
from hype.techniques import Technique
from hype.training.arguments import GUIDED_SCHEDULES
from hype.training.checkpoints import mark_complete
from hype.training.length_order import in_given_order, lengths_of, longest_first

# Where a checkpoint keeps Trainer's running sums of the loss, which it forgets in a resumed training, and techniques'.
LOSSES, TECHNIQUES = "HyPeTrainer", "HyPeTrainer.techniques"


class HyPeTrainer(Trainer):
    """Fine-tune with HyPe and with compared techniques.

    Beside what Trainer does: the loss does not grow with accumulation or processes, evaluation leaves the random
    streams alone and batches examples of like length (what it returns is in the data's order), ranks differ in dropout
    and noise, a checkpoint counts once it is whole, and a loss or gradient that is not finite ends the training.

    Args:
        hype_options: keyword arguments of `HyPe`; None: no noise.
        techniques: see `hype.techniques`.
        optimizer_semantics: "torch", or "release" for the AdamW of transformers 4.7.

    Raises:
        ValueError: a `model_init` is given.
        DivergedError: from `train`, at the step of the loss or gradient that is not finite.
    """

    def __init__(
        self,
        *args,
        hype_options: dict | None = None,
        techniques: list[Technique] | None = None,
        optimizer_semantics: str = "torch",
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if self.model_init is not None:
            raise ValueError("HyPeTrainer takes a model, not model_init: Trainer would exchange the perturbed model")
        self.hype_options, self.techniques = hype_options, list(techniques or ())
        self.optimizer_semantics = optimizer_semantics
        self.hype: HyPe | None = None
        self._loss_technique = next((t for t in self.techniques if t.acts_on("loss")), None)
        self.add_callback(_StepCallback(self))

    def train(self, resume_from_checkpoint=None, **kwargs):
        """Train as Trainer does, with the noise and the techniques attached for just as long."""
        self.is_resuming = bool(resume_from_checkpoint)
        with ExitStack() as stack:
            if self.hype_options is not None:
                options = {"seed": self.args.seed, "rank": self.args.process_index, **self.hype_options}
                self.hype = stack.enter_context(HyPe(self.model, **options))
            stack.callback(self._after_training)
            for technique in self.techniques:
                technique.before_training(self)
            self._choose_optimizer()
            # A technique may have drawn; from here on, runs of one seed see the same batches and dropout masks.
            set_seed(self.args.seed)
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _after_training(self) -> None:
        for callback in self.callback_handler.callbacks:
            if bar := getattr(callback, "training_bar", None):
                bar.close()  # an error's line would stand behind it
        for technique in self.techniques:
            technique.after_training(self)

    def _choose_optimizer(self) -> None:
        if self.optimizer_semantics == "release":
            args = self.args
            betas = (args.adam_beta1, args.adam_beta2)
            self.optimizer_cls_and_kwargs = (
                LegacyAdamW,
                {"lr": args.learning_rate, "betas": betas, "eps": args.adam_epsilon},
            )
        for technique in self.techniques:
            self.optimizer_cls_and_kwargs = technique.optimizer(self) or self.optimizer_cls_and_kwargs

    def measure_noise(self) -> dict | None:
        """Measure the noise on the first batch of the training set (see `diagnostics.measure_noise`)."""
        if self.hype_options is None:
            return None
        count = min(self.args.train_batch_size, len(self.train_dataset))
        rows = self._remove_unused_columns(self.train_dataset.select(range(count)), "training")
        batch = self._prepare_inputs(self.data_collator(list(rows)))
        with HyPe(self.model, **{"seed": self.args.seed, "rank": self.args.process_index, **self.hype_options}) as hype:
            if not hype.hooks:
                return None
            with self.compute_loss_context_manager(), self.accelerator.autocast():
                return measure_noise(self.model, hype, lambda: self.model(**batch).logits)

    def create_optimizer(self, model=None):
        """Make the optimiser; InputError for flags that it refuses, or whose package is missing."""
        with as_input_error("--optim, --optim_args"):
            return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps, optimizer=None):
        """Make the learning rate's schedule; InputError for flags that it refuses."""
        with as_input_error("--lr_scheduler_type, --lr_scheduler_kwargs"):
            return super().create_scheduler(num_training_steps, optimizer)

    def _determine_best_metric(self, metrics, trial):
        return not self._is_best_undefined(metrics) and super()._determine_best_metric(metrics, trial)

    def _is_best_undefined(self, scores: dict) -> bool:
        name = self.args.metric_for_best_model
        return name is not None and scores.get(f"eval_{name.removeprefix('eval_')}", 0) is None

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Fetch the batches of one update and count their examples on all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        count = sum(map(_example_count, batches))
        if self.args.world_size > 1:
            count = self.accelerator.reduce(torch.tensor(count, device=device)).item()
        self._batches_per_example = len(batches) * self.args.world_size / max(count, 1)
        # Given a count, Trainer takes it that the model has divided by it, which models of transformers 5 have not: the
        # loss would grow with accumulation steps and with processes (transformers#47688; drop when fixed).
        return batches, None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean loss over the batch: a technique's in training, else the model's own.

        In training it is weighted by the batch's share of the update's examples, so that batches of unequal size and
        one big batch of the same examples give one gradient.
        """
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs)
        weight = _example_count(inputs) * self._batches_per_example
        if self._loss_technique is None:
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        else:
            loss, outputs = self._loss_technique.loss(self, model, inputs)
        return (weight * loss, outputs) if return_outputs else weight * loss

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Do one forward and backward.

        Raises:
            DivergedError: the loss is not finite.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise DivergedError(f"the loss is {loss.item()} at step {self.state.global_step + 1}")
        return loss

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm)
        # Under fp16 the gradient scaler skips steps whose gradients overflow; that is no divergence.
        if not self.args.fp16 and not np.isfinite(float(norm)):
            raise DivergedError(f"the gradient's norm is {float(norm)} at step {self.state.global_step + 1}")
        return norm

    def evaluate(self, *args, **kwargs):
        """Evaluate as Trainer does, without moving any random stream."""
        with forked_streams():
            scores = super().evaluate(*args, **kwargs)
        metric, schedule = self.args.metric_for_best_model, self.args.lr_scheduler_type
        if self.is_in_train and schedule in GUIDED_SCHEDULES and self._is_best_undefined(scores):
            raise InputError(
                f"--metric_for_best_model {metric} is undefined at step {self.state.global_step}, and "
                f"--lr_scheduler_type {schedule.value} follows it: choose another"
            )
        return scores

    def predict(self, *args, **kwargs):
        """Predict as Trainer does, without moving any random stream."""
        with forked_streams():
            return super().predict(*args, **kwargs)

    def _get_dataloader(self, *args, is_training: bool = False, **kwargs):
        # A score is of the whole set: only training drops the last, smaller batch.
        is_dropping = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = is_dropping and is_training
        try:
            return super()._get_dataloader(*args, is_training=is_training, **kwargs)
        finally:
            self.args.dataloader_drop_last = is_dropping

    def _get_eval_sampler(self, eval_dataset):
        order = self._eval_order(eval_dataset)
        return super()._get_eval_sampler(eval_dataset) if order is None else order.tolist()

    def _eval_order(self, dataset) -> np.ndarray | None:
        # Predictions in portions cannot be brought back into the data's order.
        is_whole = self.args.eval_do_concat_batches and not self.args.batch_eval_metrics
        return longest_first(dataset) if is_whole else None

    def evaluation_loop(self, dataloader, *args, **kwargs):
        """Evaluate as Trainer does; metrics and predictions are of the data's order, whatever that of the batches."""
        order, compute_metrics = self._eval_order(dataloader.dataset), self.compute_metrics
        if order is None:
            return super().evaluation_loop(dataloader, *args, **kwargs)
        if compute_metrics is not None:
            fields = ("predictions", "label_ids", "inputs", "losses")
            self.compute_metrics = lambda output: compute_metrics(
                EvalPrediction(*(in_given_order(getattr(output, field), order) for field in fields))
            )
        try:
            output = super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self.compute_metrics = compute_metrics
        predictions, label_ids = in_given_order(output.predictions, order), in_given_order(output.label_ids, order)
        return EvalLoopOutput(predictions, label_ids, output.metrics, output.num_samples)

    def _get_train_sampler(self, train_dataset=None):
        rows = self.train_dataset if train_dataset is None else train_dataset
        is_grouped = self.args.train_sampling_strategy == "group_by_length"
        if is_grouped and isinstance(rows, Dataset) and "input_ids" in rows.column_names:
            # The order is Trainer's own, which would read every row as Python objects to find its length.
            size = self.args.train_batch_size * self.args.gradient_accumulation_steps
            self._train_sampler = LengthGroupedSampler(size, lengths=lengths_of(rows).tolist())
        else:
            self._train_sampler = super()._get_train_sampler(train_dataset)
        return self._train_sampler

    def _run_epoch(self, model, epoch, *args, **kwargs):
        if isinstance(self._train_sampler, LengthGroupedSampler):
            # It draws from torch's stream, which dropout moves, resuming restores too late and ranks do not share.
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            self._train_sampler.generator = torch.Generator().manual_seed(stream_seed("lengths", seed, epoch))
        # Resumed from its last checkpoint, in the middle of an epoch, Trainer takes a step beyond max_steps.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(model, epoch, *args, **kwargs)

    def log(self, logs, *args, **kwargs):
        """Log as Trainer does; the training loss is the mean over all steps, those before a resumption too."""
        if "train_loss" in logs:
            logs["train_loss"] = self._total_loss_scalar / max(self.state.global_step, 1)
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model, trial):
        self.state.stateful_callbacks[TECHNIQUES] = {t.name: t.state_dict() for t in self.techniques}
        self.state.stateful_callbacks[LOSSES] = {
            "pending": self._tr_loss.item(),
            "total": self._total_loss_scalar,
            "last_logged_step": self._globalstep_last_logged,
        }
        # Older checkpoints go only after the new one is known to be whole.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            run_dir = self._get_output_dir(trial)
            # Without the optimiser's state nothing can go on from it to the same weights.
            if not self.args.save_only_model:
                mark_complete(Path(run_dir) / f"checkpoint-{self.state.global_step}")
            rotate_checkpoints(
                output_dir=run_dir,
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )


def _example_count(batch: dict) -> int:
    return len(next(iter(batch.values())))


class _StepCallback(TrainerCallback):
    """Tell the noise its step, and the techniques when the gradients are ready."""

    def __init__(self, trainer: HyPeTrainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        # Trainer seeds all ranks alike, which makes dropout equal on all of them (transformers#31412).
        if args.process_index > 0:
            torch.manual_seed(stream_seed("rank", args.seed, args.process_index))
        if losses := state.stateful_callbacks.get(LOSSES):
            self.trainer._tr_loss += losses["pending"]
            self.trainer._total_loss_scalar = losses["total"]
            self.trainer._globalstep_last_logged = losses["last_logged_step"]
        for technique in self.trainer.techniques:
            technique.load_state_dict(state.stateful_callbacks.get(TECHNIQUES, {}).get(technique.name, {}))

    def on_step_begin(self, args, state, control, **kwargs):
        if self.trainer.hype is not None:
            self.trainer.hype.set_step(state.global_step)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        for technique in self.trainer.techniques:
            technique.before_update(self.trainer)
