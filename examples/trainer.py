"""HyPe with transformers' Trainer: python examples/trainer.py [MODEL]"""

import sys
from pathlib import Path

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from hype import HyPeCallback

SENTENCES = Path(__file__).parent / "sample_glue" / "SST-2" / "train.tsv"


def main(name: str = "bert-base-cased", output_dir: str = "outputs/example-trainer") -> float:
    """Train a sentence classifier and return the mean loss."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    # HyPe's authors train without hidden dropout. Some models name the field differently: DistilBERT's is `dropout`.
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=2, hidden_dropout_prob=0.0)
    data = load_dataset("csv", data_files=str(SENTENCES), sep="\t", quoting=3, split="train")
    data = data.map(lambda rows: tokenizer(rows["sentence"], truncation=True), batched=True)
    trainer = Trainer(
        model,
        TrainingArguments(output_dir, num_train_epochs=1, per_device_train_batch_size=16, seed=42, save_strategy="no"),
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[HyPeCallback(hype_type="normal", hype_eps=1e-5)],
    )
    return trainer.train().training_loss


if __name__ == "__main__":
    main(*sys.argv[1:])
