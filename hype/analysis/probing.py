"""Figure 3 (appendix C.2): scores of a linear head on each layer of a fine-tuned, frozen model."""

import torch
from datasets import Dataset
from torch import nn
from torch.nn import functional

from hype.analysis.finished import FinishedRun, require_finite
from hype.analysis.record import Options, load_or_compute, require_dev_sets
from hype.data.tasks import Task
from hype.training import metrics

TASK_NAMES = ("mrpc", "stsb", "rte", "cola")
# Appendix C.2. The paper names neither optimiser nor schedule; we use Adam's defaults and a constant learning rate.
SETTINGS = {"learning_rate": 1e-3, "epochs": 3, "batch_size": 16, "optimizer": "Adam", "loss": "of the task"}


def targets(run: FinishedRun, names: list[str] | None) -> list[str]:
    """Return the tasks to probe: the requested ones, else the paper's four."""
    return require_dev_sets(names or TASK_NAMES)


def analyse(run: FinishedRun, target: str, options: Options) -> dict:
    """Probe every layer of a run on one task; the heads are seeded with the run's seed."""
    splits = options.splits(target, ["train", "validation"])
    seed = run.record["seed"]

    def compute(tokens):
        return probe(run, splits.task, tokens, seed, options.batch_size)

    return load_or_compute("probing", target, run, splits, {**SETTINGS, "seed": seed}, compute, options)


def probe(run: FinishedRun, task: Task, tokens: dict[str, Dataset], seed: int, batch_size: int) -> dict:
    """Train a head for each layer on the train split; return their scores on the validation split."""
    states = {split: special_token_states(run, tokens[split], batch_size, f"{task.title} {split}") for split in tokens}
    dtype = torch.float32 if task.is_regression else torch.long
    labels = {split: torch.tensor(tokens[split]["label"][:], dtype=dtype) for split in tokens}
    heads = trained_heads(states["train"], labels["train"], task, seed)
    with torch.inference_mode():
        outputs = torch.stack([head(layer) for layer, head in zip(states["validation"], heads, strict=True)])
    require_finite(outputs, run.folder)
    predictions = outputs.squeeze(-1) if task.is_regression else outputs.argmax(-1)
    scored = [metrics.compute(task, layer.numpy(), labels["validation"].numpy()) for layer in predictions]
    values = [values for values, _ in scored]
    return {
        "layers": [metrics.score(task, of_layer) for of_layer in values],
        "score_name": " and ".join(task.score_metrics),
        "metrics": values,
        "remarks": [remarks for _, remarks in scored],
        "token": special_token(run),
    }


def special_token(run: FinishedRun) -> dict:
    """Return which token a head reads: the model's [CLS] if it comes first, else the last token.

    The last token is <cls> for XLNet, the end-of-text token for BART and T5 (their own heads read it in the decoder,
    too), and the last token of the text for GPT-2, Llama and others without special tokens (`name` is None).
    """
    tokenizer = run.tokenizer
    ids = tokenizer("a")["input_ids"]
    is_first = ids[0] == tokenizer.cls_token_id and not run.model.config.is_encoder_decoder
    own = ids[0 if is_first else -1]
    name = tokenizer.convert_ids_to_tokens(own) if own in tokenizer.all_special_ids else None
    return {"position": "first" if is_first else "last", "name": name}


@torch.inference_mode()
def special_token_states(run: FinishedRun, tokens: Dataset, batch_size: int, title: str) -> torch.Tensor:
    """Return the hidden state of the special token in every layer: (layers, examples, hidden), on the CPU."""
    is_first = special_token(run)["position"] == "first"
    states = None
    for positions, batch in run.batches(tokens, batch_size, title):
        # Padding may be on either side, so the first and last real token are looked up in the mask.
        mask = batch["attention_mask"]
        place = mask.argmax(1) if is_first else (mask * torch.arange(mask.shape[1], device=run.device)).argmax(1)
        rows = torch.arange(len(positions), device=run.device)
        picked = torch.stack([layer[rows, place].float() for layer in run.hidden_states(batch)]).cpu()
        if states is None:
            states = picked.new_empty(picked.shape[0], len(tokens), picked.shape[2])
        states[:, positions] = picked
    require_finite(states, run.folder)
    return states


def trained_heads(states: torch.Tensor, labels: torch.Tensor, task: Task, seed: int) -> list[nn.Linear]:
    """Train a head for each layer.

    states: (layers, examples, width). `seed` determines the initial heads and the order of examples in all layers.
    """
    loss = functional.mse_loss if task.is_regression else functional.cross_entropy
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        heads = [nn.Linear(states.shape[2], task.label_count) for _ in states]
    for layer, head in zip(states, heads, strict=True):
        optimizer = torch.optim.Adam(head.parameters(), lr=SETTINGS["learning_rate"])
        generator = torch.Generator().manual_seed(seed)
        for _ in range(SETTINGS["epochs"]):
            for rows in torch.randperm(len(layer), generator=generator).split(SETTINGS["batch_size"]):
                optimizer.zero_grad()
                output = head(layer[rows])
                loss(output.squeeze(-1) if task.is_regression else output, labels[rows]).backward()
                optimizer.step()
    return heads
