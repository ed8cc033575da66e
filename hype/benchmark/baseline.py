"""What people run instead: transformers' run_glue.py (every input padded to 128 tokens), and a bare PyTorch loop."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments, default_data_collator

from hype.benchmark.settings import BATCH_SIZE, LENGTH
from hype.data.splits import TEXT_COLUMNS
from hype.perturbation import HyPe

# run_glue.py keeps Trainer's default, and so does everyone who calls it without the flag.
EVAL_BATCH_SIZE = 8


def padded_to_the_maximum(examples, tokenizer):
    """Tokenise rows of a split as run_glue.py does."""
    columns = [name for name in TEXT_COLUMNS if name in examples.column_names]
    length = min(LENGTH, tokenizer.model_max_length)

    def encode(batch):
        texts = (batch[name] for name in columns)
        return tokenizer(*texts, padding="max_length", max_length=length, truncation=True)

    return examples.map(encode, batched=True, load_from_cache_file=False).remove_columns([*columns, "idx"])


def run_glue_trainer(model, tokenizer, folder: Path, train=None, validation=None) -> Trainer:
    """Make run_glue.py's Trainer for splits that are padded already; training takes their rows in order."""
    args = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=BATCH_SIZE, per_device_eval_batch_size=EVAL_BATCH_SIZE,
        learning_rate=2e-5, num_train_epochs=1, train_sampling_strategy="sequential", save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=not torch.accelerator.is_available(),
    )  # fmt: skip
    return Trainer(
        model=model, args=args, train_dataset=train, eval_dataset=validation, processing_class=tokenizer,
        data_collator=default_data_collator,
    )  # fmt: skip


def bare_steps(model, args: TrainingArguments, batches, hype_options: dict | None) -> Iterator[float]:
    """Train on `batches` by hand with AdamW, a linear schedule and clipping, as `args` say; yield each step's loss.

    What decays, and by how much, is Trainer's: neither biases nor normalisations.
    """
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": args.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (args.adam_beta1, args.adam_beta2)
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, fused=True)
    total = len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
    hype = HyPe(model, seed=args.seed, **hype_options) if hype_options else None
    model.train()
    try:
        for step, batch in enumerate(batches):
            if hype is not None:
                hype.set_step(step)
            loss = model(**{name: value.to(args.device) for name, value in batch.items()}).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            yield loss.item()
    finally:
        if hype is not None:
            hype.remove()


def loader(tokens, collator, batch_size: int = BATCH_SIZE, shuffle: bool = False) -> DataLoader:
    """Read a tokenised split in batches."""
    names = [name for name in tokens.column_names if name in ("input_ids", "attention_mask", "token_type_ids", "label")]
    return DataLoader(tokens.select_columns(names), batch_size, shuffle=shuffle, collate_fn=collator)
