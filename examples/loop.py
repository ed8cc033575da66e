"""HyPe in your own training loop: python examples/loop.py [MODEL]"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hype import HyPe, measure_noise

SENTENCES = Path(__file__).parent / "sample_glue" / "SST-2" / "train.tsv"


def main(name: str = "bert-base-cased") -> float:
    """Train a sentence classifier and return the last loss."""
    torch.manual_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=2, hidden_dropout_prob=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    rows = [line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines()[1:]]
    model.train()
    with HyPe(model, hype_type="uniform", hype_eps=1e-5) as hype:
        for step, start in enumerate(range(0, len(rows), 16)):
            sentences, labels = zip(*rows[start : start + 16], strict=True)
            batch = tokenizer(list(sentences), padding=True, return_tensors="pt")
            if step == 0:
                noise = measure_noise(model, hype, lambda batch=batch: model(**batch).logits)
                print(f"the noise changes at least {noise['least_changed']:.0%} of the entries in every layer")
            hype.set_step(step)  # so that a resumed loop reproduces the same noise
            loss = model(**batch, labels=torch.tensor([int(label) for label in labels])).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return loss.item()


if __name__ == "__main__":
    print(f"last loss {main(*sys.argv[1:]):.3f}")
