"""Models of the sizes that the paper names, with random weights, and a training step of them. What one step needs.

`python -m hype.benchmark.geometry SIZES NOISE` prints the peak memory of a training in this process.
"""

import json
import os
import sys
from contextlib import nullcontext

import torch
from transformers import BertConfig, BertForSequenceClassification

from hype.benchmark.apart import last_line_of
from hype.benchmark.pairs import EXACT_MEMORY, now, timed
from hype.benchmark.settings import BATCH_SIZE, LENGTH
from hype.perturbation import HyPe
from hype.training import record as records

MODEL = "BERT, random weights"
SIZES = {
    "BERT-base": {},
    "BERT-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
NOISES = {"HyPe-N": "normal", "HyPe-U": "uniform"}
EPS = 1e-5


class Training:
    """A random BERT, AdamW and one batch of full length. hidden_dropout, attention_dropout: rates."""

    def __init__(self, sizes: dict, device: torch.device, hidden_dropout: float = 0.0, attention_dropout: float = 0.0):
        torch.manual_seed(0)
        config = BertConfig(hidden_dropout_prob=hidden_dropout, attention_probs_dropout_prob=attention_dropout, **sizes)
        self.device, self.model = device, BertForSequenceClassification(config).to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-5, fused=True)
        input_ids = torch.randint(5, config.vocab_size, (BATCH_SIZE, LENGTH))
        labels = torch.randint(0, 2, (BATCH_SIZE,))
        self.batch = {"input_ids": input_ids.to(device), "labels": labels.to(device)}
        self.shares = []
        # Allocates the optimiser's state, at little cost, for the one step whose memory counts; it warms up no more.
        self._step({"input_ids": self.batch["input_ids"][:1, :8], "labels": self.batch["labels"][:1]})

    def _step(self, batch: dict) -> None:
        self.model(**batch).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def step(self, hype_type: str | None = None, is_observed: bool = False) -> float:
        """Do a step, with noise of that type; return its seconds without those of attaching and detaching.

        is_observed: add the share of these that passes in `HyPe.noised` to `shares`.
        """
        with HyPe(self.model, hype_type, EPS) if hype_type else nullcontext() as hype:
            noise_s = _observed(hype, self.device) if is_observed else []
            seconds = timed(self.device, lambda: self._step(self.batch))
        if is_observed:
            self.shares.append(sum(noise_s) / seconds)
        return seconds


def _observed(hype: HyPe, device: torch.device) -> list[float]:
    """Have the seconds of every call of `hype.noised` appended to the list that is returned."""
    noised, seconds = hype.noised, []

    def observing(*args):
        started = now(device)
        result = noised(*args)
        seconds.append(now(device) - started)
        return result

    hype.noised = observing
    return seconds


def peak_memory_bytes(sizes: dict, hype_type: str | None) -> int:
    """Return the peak memory of a training in a process of its own, which takes all cores: nothing is timed.

    Raises:
        EnvironmentFault: that process failed.
    """
    variables = {**EXACT_MEMORY, "OMP_NUM_THREADS": str(os.cpu_count())}
    return int(last_line_of("hype.benchmark.geometry", [json.dumps(sizes), hype_type or ""], **variables))


if __name__ == "__main__":
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    Training(json.loads(sys.argv[1]), device).step(sys.argv[2] or None)
    print(records.peak_memory_bytes(device))
