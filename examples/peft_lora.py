"""HyPe with LoRA (PEFT): python examples/peft_lora.py [MODEL]"""

import sys
from pathlib import Path

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from hype import HyPeCallback

SENTENCES = Path(__file__).parent / "sample_glue" / "SST-2" / "train.tsv"


def main(name: str = "roberta-base", output_dir: str = "outputs/example-lora") -> float:
    """Train the LoRA adapters and the head, with noise in the layers of the frozen model; return the mean loss."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=2, hidden_dropout_prob=0.0)
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, target_modules="all-linear"))
    data = load_dataset("csv", data_files=str(SENTENCES), sep="\t", quoting=3, split="train")
    data = data.map(lambda rows: tokenizer(rows["sentence"], truncation=True), batched=True)
    trainer = Trainer(
        model,
        TrainingArguments(output_dir, num_train_epochs=1, learning_rate=1e-3, save_strategy="no"),
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[HyPeCallback(hype_type="normal", hype_eps=1e-5)],
    )
    return trainer.train().training_loss


if __name__ == "__main__":
    main(*sys.argv[1:])
