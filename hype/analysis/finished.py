"""A finished run, opened for reading: its record, and its model in evaluation mode, without noise or dropout."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import BatchEncoding, DataCollatorWithPadding

from hype.data.arguments import DataArguments
from hype.errors import InputError
from hype.flags import require
from hype.training import modeling
from hype.training.arguments import ModelArguments
from hype.training.identity import model_fingerprint
from hype.training.length_order import longest_first
from hype.training.machine import current_device
from hype.training.record import RECORD, read_record
from hype.training.run_folder import require_weights


class FinishedRun:
    """A finished run in its folder. Its weights are loaded on first use, always as float32.

    Raises:
        InputError: the folder does not contain a finished run, or contains no model.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.record = read_record(folder / RECORD, "give the folder of another run")
        status = self.record["status"]
        require(status == "finished", f"{folder / RECORD}: its status is {status}; give the folder of a finished run")
        remedy = "train it again with --save_model true --overwrite_output_dir"
        require((folder / "config.json").is_file(), f"{folder}: no model; {remedy}")
        require_weights(folder, self.record)
        self._arguments = ModelArguments(model_name_or_path=str(folder))
        self._config = modeling.load_config(self._arguments)
        self.fingerprint = model_fingerprint(str(folder))
        self.label_names: list[str] | None = self.record["label_names"]
        self.max_seq_length: int = self.record["settings"].get("max_seq_length", DataArguments.max_seq_length)
        self.device = current_device()

    @cached_property
    def tokenizer(self):
        """The tokenizer of the run."""
        return modeling.load_tokenizer(self._arguments, self._config)

    @cached_property
    def model(self):
        """The classification model, in evaluation mode."""
        model, _ = modeling.load_model(self._arguments, self._config, self.tokenizer)
        return model.eval().to(self.device)

    def batches(self, tokens: Dataset, batch_size: int, title: str) -> Iterator[tuple[torch.Tensor, BatchEncoding]]:
        """Yield the positions in `tokens` and the padded inputs of each batch, on the model's device.

        The longest inputs come first: there is little padding, and a batch that is too large fails at once.
        """
        inputs = tokens.select_columns([name for name in tokens.column_names if name != "label"])
        rows, order = longest_first(inputs)
        loader = DataLoader(rows, batch_size, collate_fn=DataCollatorWithPadding(self.tokenizer))
        for positions, batch in zip(torch.from_numpy(order).split(batch_size), tqdm(loader, title), strict=True):
            yield positions, batch.to(self.device)

    def hidden_states(self, batch: dict) -> tuple[torch.Tensor, ...]:
        """Return the hidden states of layers 0 (embeddings) to n, each (batch, length, hidden).

        For encoder-decoders, the encoder's layers 0 to n are followed by the decoder's 0 to m.
        """
        output = self.model(**batch, output_hidden_states=True)
        if self.model.config.is_encoder_decoder:
            return (*output.encoder_hidden_states, *output.decoder_hidden_states)
        if output.hidden_states is None:
            raise InputError(f"{self.folder}: {self.model.config.model_type} does not return its hidden states")
        return tuple(output.hidden_states)

    @torch.inference_mode()
    def predicted_labels(self, tokens: Dataset, batch_size: int, title: str) -> list[str]:
        """Return the name of the label with the largest logit for each example, in the order of `tokens`."""
        ids = torch.empty(len(tokens), dtype=torch.long)
        for positions, batch in self.batches(tokens, batch_size, title):
            logits = self.model(**batch).logits
            require_finite(logits, self.folder)
            ids[positions] = logits.argmax(-1).cpu()
        return [self.label_names[i] for i in ids]


def require_finite(values: torch.Tensor, folder: Path) -> None:
    """Raise an InputError that names the folder if any value is NaN or infinite."""
    if not values.isfinite().all():
        raise InputError(f"{folder}: the model's outputs are not finite: its training diverged")
