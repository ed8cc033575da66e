"""HyPe with TRL's supervised fine-tuning: python examples/trl_sft.py [MODEL]"""

import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from hype import HyPeCallback

SENTENCES = Path(__file__).parent / "sample_glue" / "SST-2" / "train.tsv"


def main(name: str = "Qwen/Qwen3-0.6B", output_dir: str = "outputs/example-sft") -> float:
    """Fine-tune a language model on sentences and return the mean loss."""
    # bfloat16 weights would round noise of 1e-5 away. Qwen and Llama have no hidden dropout (GPT-2: resid_pdrop=0.0).
    model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()[1:]
    trainer = SFTTrainer(
        model,
        SFTConfig(output_dir, num_train_epochs=1, max_length=64, save_strategy="no", bf16=False),
        train_dataset=Dataset.from_dict({"text": [line.split("\t")[0] for line in lines]}),
        processing_class=AutoTokenizer.from_pretrained(name),
        callbacks=[HyPeCallback(hype_type="normal", hype_eps=1e-5)],
    )
    return trainer.train().training_loss


if __name__ == "__main__":
    main(*sys.argv[1:])
