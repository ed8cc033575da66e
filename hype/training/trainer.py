"""transformers' Trainer with HyPe, the compared techniques, and reproducible training."""

import math
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch.nn.utils import get_total_norm
from transformers import Trainer, TrainerCallback, set_seed
from transformers.trainer_pt_utils import LengthGroupedSampler

from hype.diagnostics import measure_noise
from hype.errors import DivergedError, as_input_error
from hype.perturbation import HyPe, stream_seed
from hype.random_streams import forked_streams
from hype.techniques import Technique
from hype.training.checkpoints import mark_complete, rotate

STATE = "techniques"  # key of the techniques' state in a checkpoint's trainer_state.json
# Training flags that Trainer also applies to evaluation, where scores need the whole set, in order.
EVALUATION_SETTINGS = {
    "dataloader_drop_last": False,
    "dataloader_persistent_workers": False,  # such workers would keep the first set evaluated
    "train_sampling_strategy": "random",
}


class HyPeTrainer(Trainer):
    """Fine-tune with HyPe and the compared techniques.

    Unlike with Trainer, the loss does not grow with accumulation steps or processes, evaluation does not advance the
    random streams, ranks draw different dropout and noise, checkpoints count only once they are complete, and a loss
    or gradient that is not finite ends the training.

    Args:
        hype_options: keyword arguments for `HyPe`, or None for no noise.
        techniques: see `hype.techniques`.

    Raises:
        DivergedError: from `train`, at the step whose loss or gradient is not finite.
    """

    def __init__(
        self,
        *args,
        hype_options: dict | None = None,
        techniques: list[Technique] | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if not self.place_model_on_device:  # with --bf16_full_eval, Trainer does so too late for noise and techniques
            self.model.to(self.args.device)
        self.hype_options, self.techniques = hype_options, list(techniques or ())
        self.provenance = {}  # identifies the run in its checkpoints, see `mark_complete`
        self.hype: HyPe | None = None
        self.noise: dict | None = None  # the result of `measure_noise`
        self._loss_technique = next((t for t in self.techniques if t.acts_on("loss")), None)
        self.add_callback(StepCallback(self))

    # Training

    def train(self, resume_from_checkpoint=None, **kwargs):
        """Train as Trainer does, with the noise and the techniques attached until training ends."""
        with self._attached() as self.hype:
            try:
                for technique in self.techniques:
                    technique.before_training(self)
                    self.optimizer_cls_and_kwargs = technique.optimizer(self) or self.optimizer_cls_and_kwargs
                # Techniques may have drawn random numbers; from here on, runs of one seed share batches and dropout.
                set_seed(self.args.seed)
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
            finally:
                for callback in self.callback_handler.callbacks:
                    if bar := getattr(callback, "training_bar", None):
                        bar.close()  # otherwise an error would be printed on its line
                for technique in self.techniques:
                    technique.after_training(self)

    def _attached(self) -> AbstractContextManager[HyPe | None]:
        if self.hype_options is None:
            return nullcontext()
        return HyPe(self.model, **{"seed": self.args.seed, "rank": self.args.process_index, **self.hype_options})

    def create_optimizer(self, model=None):
        """Create the optimiser; raise InputError if it rejects its flags or its package is missing."""
        with as_input_error("--optim, --optim_args"):
            return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps, optimizer=None):
        """Create the learning rate scheduler; raise InputError if it rejects its flags."""
        with as_input_error("--lr_scheduler_type, --lr_scheduler_kwargs"):
            return super().create_scheduler(num_training_steps, optimizer)

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Fetch the batches of one update and count their examples on all processes."""
        if self.state.global_step >= self.state.max_steps:
            return [], None  # resuming from the last checkpoint, Trainer would take one step too many
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        count = sum(map(_example_count, batches))
        if self.args.world_size > 1:
            count = self.accelerator.reduce(torch.tensor(count, device=device)).item()
        self._batches_per_example = len(batches) * self.args.world_size / max(count, 1)
        # Given a count, Trainer assumes that the model has divided the loss by it, which transformers 5 models do not:
        # the loss would grow with accumulation steps and processes (transformers#47688; drop when fixed).
        return batches, None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean loss over the batch: a technique's in training, else the model's own.

        In training it is weighted by the batch's share of the update's examples, so that batches of unequal size give
        the same gradient as one big batch of the same examples.
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
        """Run one forward and backward pass.

        Raises:
            DivergedError: the loss is not finite.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        value = self.accelerator.reduce(loss, "mean").item()  # so that all processes stop, and the first records it
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} at step {self.state.global_step + 1}")
        return loss

    # Evaluation

    def evaluate(self, *args, **kwargs):
        """Evaluate as Trainer does, without advancing any random stream."""
        with self._evaluating():
            scores = super().evaluate(*args, **kwargs)
        best = self.args.metric_for_best_model
        key = f"eval_{best.removeprefix('eval_')}" if best else None
        if self.is_in_train and scores.get(key, 0) is None:
            scores = {**scores, key: math.nan}  # never the best score; Trainer cannot compare None
        return scores

    def predict(self, *args, **kwargs):
        """Predict as Trainer does, without advancing any random stream."""
        with self._evaluating():
            return super().predict(*args, **kwargs)

    @contextmanager
    def _evaluating(self):
        flags = {name: getattr(self.args, name) for name in EVALUATION_SETTINGS}
        vars(self.args).update(EVALUATION_SETTINGS)
        try:
            with forked_streams():
                yield
        finally:
            vars(self.args).update(flags)

    def measure_noise(self) -> dict | None:
        """Return `diagnostics.measure_noise` on the first batch of the training set; None without noise."""
        with self._attached() as hype:
            if hype is not None and hype.hooks:
                rows = self.train_dataset.select(range(min(self.args.train_batch_size, len(self.train_dataset))))
                with self._evaluating():
                    batch = next(iter(self.get_test_dataloader(rows)))
                with self.compute_loss_context_manager(), self.accelerator.autocast():
                    self.noise = measure_noise(self.model, hype, lambda: self.model(**batch).logits)
        return self.noise

    # Checkpoints

    def _save_checkpoint(self, model, trial):
        # Private, but Trainer removes old checkpoints in this method, before the new one is known to be complete.
        self.state.stateful_callbacks[STATE] = {t.name: t.state_dict() for t in self.techniques}
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # Without optimiser state, a run resumed from a checkpoint would end in other weights.
            checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            if not self.args.save_only_model:
                mark_complete(checkpoint, self.provenance)
            if limit:
                rotate(checkpoint.parent, limit, {checkpoint, Path(self.state.best_model_checkpoint or checkpoint)})


def _example_count(batch: dict) -> int:
    return len(next(iter(batch.values())))


class StepCallback(TrainerCallback):
    """Pass the step to the noise, call the techniques before each update, and seed what must not depend on dropout."""

    def __init__(self, trainer: HyPeTrainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        # Trainer seeds all ranks equally, so that they would share their dropout masks (transformers#31412).
        if args.process_index > 0:
            torch.manual_seed(stream_seed("rank", args.seed, args.process_index))
        kept = state.stateful_callbacks.get(STATE, {})
        for technique in self.trainer.techniques:
            technique.load_state_dict(kept.get(technique.name, {}))
        # Trainer takes logging, evaluation and saving intervals from the checkpoint; use this run's flags instead.
        state.compute_steps(args, state.max_steps)
        # If the folder was moved, Trainer ignores the best checkpoint, which has another path in the state.
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if state.best_model_checkpoint is None and best.is_dir():
            state.best_model_checkpoint = str(best)
        if args.report_to and self.trainer.noise is not None:
            self.trainer.log({f"noise_{name}": value for name, value in _figures(self.trainer.noise).items()})

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        # Trainer draws batches grouped by length from torch's generator, which dropout advances, resuming restores too
        # late, and ranks do not share.
        batches = train_dataloader.batch_sampler
        sampler = getattr(getattr(batches, "batch_sampler", batches), "sampler", None)  # inside accelerate's shard
        if isinstance(sampler, LengthGroupedSampler):
            seed = args.seed if args.data_seed is None else args.data_seed
            sampler.generator = torch.Generator().manual_seed(stream_seed("lengths", seed, int(state.epoch or 0)))

    def on_step_begin(self, args, state, control, **kwargs):
        if self.trainer.hype is not None:
            self.trainer.hype.set_step(state.global_step)

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        # Under fp16 the gradient scaler skips steps whose gradients overflow; that is not divergence.
        if not args.fp16:
            _require_finite_gradients(model, state.global_step + 1, args.max_grad_norm > 0)
        for technique in self.trainer.techniques:
            technique.before_update(self.trainer)


def _figures(noise: dict) -> dict[str, float]:
    """Return the values for reporters such as TensorBoard: the noise in its weakest layer, and its effect."""
    weakest = min(noise["layers"], key=lambda layer: layer["changed"])
    figures = {"changed": weakest["changed"], "snr_db": weakest["snr_db"], "logit_change": noise["logit_change"]}
    return {name: value for name, value in figures.items() if value is not None}


def _require_finite_gradients(model, step: int, is_clipped: bool) -> None:
    """Raise DivergedError if the gradient norm is not finite, or was not when Trainer clipped the gradients.

    Clipping multiplies all gradients by limit / norm, so that an infinite or NaN norm leaves only zeros and NaNs. The
    last gradient, that of the head's bias, is small and shows whether the norm of all needs to be computed.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not gradients or (is_clipped and 0 < gradients[-1].abs().sum().item() < math.inf):
        return
    norm = get_total_norm(gradients).item()
    if not math.isfinite(norm):
        raise DivergedError(f"the gradient norm is not finite at step {step}")
