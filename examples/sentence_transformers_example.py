"""HyPe with the Sentence Transformers trainer: python examples/sentence_transformers_example.py [MODEL]"""

import sys
from pathlib import Path

from datasets import load_dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import CoSENTLoss

from hype import HyPeCallback

PAIRS = Path(__file__).parent / "sample_glue" / "STS-B" / "train.tsv"


def main(name: str = "sentence-transformers/all-MiniLM-L6-v2", output_dir: str = "outputs/example-embeddings") -> float:
    """Fine-tune an encoder on scored sentence pairs and return the mean loss."""
    model = SentenceTransformer(name, config_kwargs={"hidden_dropout_prob": 0.0})
    data = load_dataset("csv", data_files=str(PAIRS), sep="\t", quoting=3, split="train")
    data = data.select_columns(["sentence1", "sentence2", "score"])
    trainer = SentenceTransformerTrainer(
        model,
        SentenceTransformerTrainingArguments(output_dir, num_train_epochs=1, save_strategy="no"),
        train_dataset=data,
        loss=CoSENTLoss(model),
        # Losses that run the model again in the backward pass (CachedMultipleNegativesRankingLoss) need
        # hype_stream="global".
        callbacks=[HyPeCallback(hype_type="normal", hype_eps=1e-5)],
    )
    return trainer.train().training_loss


if __name__ == "__main__":
    main(*sys.argv[1:])
