"""Tiny random models of every architecture (2 to 4 layers, hidden size 16) and the sample folder, for all tests."""

from pathlib import Path

import torch
import transformers
from packaging.version import Version
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

SAMPLE = Path(__file__).parents[1] / "examples" / "sample_glue"
COMMON = {"vocab_size": 40, "num_labels": 3, "pad_token_id": 1}
BERT = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40,
}  # fmt: skip
SEQ2SEQ_EOS = {"eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
LLAMA = {**BERT, "num_key_value_heads": 2}
# model type -> configuration; dropout rates are the model's defaults.
CONFIGS = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "electra": {**BERT, "embedding_size": 8},
    "xlnet": {"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 24},
    "deberta": {**BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
    "deberta-v2": {
        **BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "conv_kernel_size": 3,
        "position_buckets": 4,
    },
    "albert": {**BERT, "embedding_size": 8, "num_hidden_layers": 4, "num_hidden_groups": 2},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
    "mpnet": BERT,
    "modernbert": {
        **BERT, "cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2, "local_attention": 8,
    },
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40, "bos_token_id": 0, "eos_token_id": 2},
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "head_dim": 8},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, **SEQ2SEQ_EOS},
    "mt5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, **SEQ2SEQ_EOS},
    "bart": {
        "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 40,
        **SEQ2SEQ_EOS,
    },
}  # fmt: skip


# Before transformers 5.23, a layer's hooks run inside its checkpoint, and the checkpointing flag may have its old name.
HOOKS_ARE_OUTSIDE_CHECKPOINTS = Version(transformers.__version__) >= Version("5.23")
HAS_NEW_NAME = hasattr(PreTrainedModel, "activation_checkpointing_enable")
CHECKPOINTING = "activation_checkpointing" if HAS_NEW_NAME else "gradient_checkpointing"


def enable_checkpointing(model, use_reentrant: bool = False) -> None:
    """Checkpoint the layers of a transformers model."""
    getattr(model, f"{CHECKPOINTING}_enable")({"use_reentrant": use_reentrant})


def tiny_config(model_type: str, dropout: float | None = None, **changes):
    """Build the tiny configuration of a model type; `dropout`: the rate of every dropout (default: the model's)."""
    config = AutoConfig.for_model(model_type, **{**COMMON, **CONFIGS[model_type], **changes})
    for name, value in config.to_dict().items():
        # BART's layerdrop skips complete layers, so it is no dropout.
        if dropout is not None and "drop" in name and "layerdrop" not in name and isinstance(value, float | int):
            setattr(config, name, dropout)
    return config


def tiny_model(model_type: str, seed: int = 0, dropout: float | None = None, **changes):
    """Build a tiny random classification model without changing the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(tiny_config(model_type, dropout, **changes))
    return model.float()


def tiny_batch(batch_size: int = 4, length: int = 9, seed: int = 1, labels: bool = True) -> dict:
    """Build a batch of random tokens, all of one length, each ending in the end-of-text token 2."""
    rng = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(5, 40, (batch_size, length), generator=rng)
    input_ids[:, -1] = 2
    batch = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    return {**batch, "labels": torch.randint(0, 3, (batch_size,), generator=rng)} if labels else batch
