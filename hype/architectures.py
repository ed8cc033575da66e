"""Where each architecture keeps its Transformer layers, the end of their attention, and its dropouts."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from torch import nn


@dataclass(frozen=True)
class Stack:
    """One list of layers.

    `path` leads from the base model to the list (`*`: through every element). `attention` leads from a layer to the
    module whose output is the hidden state after attention, before the feed-forward part and its residual; where the
    residual is added behind that module (GPT-2, Llama), noise on its output is noise on the sum, which is the same.
    """

    path: str
    attention: str


@dataclass(frozen=True)
class Architecture:
    """How one model type is perturbed and how its dropouts are named in its configuration.

    `streams`: positions of the hidden states among a layer's arguments and outputs. `calls`: configuration fields
    whose product is the number of layer calls, where layers are shared and called again (ALBERT); else each is called
    once.
    """

    stacks: tuple[Stack, ...]
    hidden_dropouts: tuple[str, ...]
    other_dropouts: tuple[str, ...]
    streams: tuple[int, ...] = (0,)
    calls: tuple[str, ...] = ()


BERT = Architecture(
    (Stack("encoder.layer", "attention"),),
    ("hidden_dropout_prob",),
    ("attention_probs_dropout_prob", "classifier_dropout"),
)
DEBERTA = Architecture(
    (Stack("encoder.layer", "attention"),),
    ("hidden_dropout_prob",),
    ("attention_probs_dropout_prob", "pooler_dropout", "cls_dropout"),
)
LLAMA = Architecture((Stack("layers", "self_attn"),), (), ("attention_dropout",))
T5 = Architecture(
    (Stack("encoder.block", "layer.0"), Stack("decoder.block", "layer.1")), ("dropout_rate",), ("classifier_dropout",)
)

# Keys are `config.model_type`. Every row is exercised by tests/test_architectures.py against algorithm 1.
ARCHITECTURES = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "electra": BERT,
    "deberta": DEBERTA,
    "deberta-v2": DEBERTA,  # v3 too. Its convolution beside layer 0 reads the state without noise.
    "mpnet": Architecture(
        (Stack("encoder.layer", "attention"),), ("hidden_dropout_prob",), ("attention_probs_dropout_prob",)
    ),
    "xlnet": Architecture(
        (Stack("layer", "rel_attn"),), ("dropout",), ("summary_last_dropout",), streams=(0, 1)
    ),  # states are (length, batch, hidden); the second stream is None in classification
    "albert": Architecture(
        (Stack("encoder.albert_layer_groups.*.albert_layers", "attention"),),
        ("hidden_dropout_prob",),
        ("attention_probs_dropout_prob", "classifier_dropout_prob"),
        calls=("num_hidden_layers", "inner_group_num"),
    ),
    "distilbert": Architecture(
        (Stack("transformer.layer", "sa_layer_norm"),), ("dropout",), ("attention_dropout", "seq_classif_dropout")
    ),
    "modernbert": Architecture(
        (Stack("layers", "attn"),), ("embedding_dropout", "mlp_dropout"), ("attention_dropout", "classifier_dropout")
    ),
    "gpt2": Architecture((Stack("h", "attn"),), ("resid_pdrop", "embd_pdrop"), ("attn_pdrop",)),
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "t5": T5,
    "mt5": T5,
    "bart": Architecture(
        (Stack("encoder.layers", "self_attn_layer_norm"), Stack("decoder.layers", "encoder_attn_layer_norm")),
        ("dropout",),
        ("attention_dropout", "activation_dropout", "classifier_dropout"),
    ),
}

REFUSED = {
    **dict.fromkeys(("luke", "lilt"), "its layers carry two states, of which one alone would get noise"),
    "bridgetower": "its layers are in several stacks of several kinds, of which one alone would get noise",
    "funnel": "its layers take query, key and value apart and pool between blocks, so there is no one layer input",
}


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside DDP, torch.compile and PEFT wrappers."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()
        else:
            return model


def base_of(model: nn.Module) -> nn.Module:
    """Return the model without its head; one that does not tell them apart is returned as it is."""
    base = getattr(model, "base_model", model)
    return base if isinstance(base, nn.Module) else model


def is_in_table(model: nn.Module) -> bool:
    """Say whether the model's type has a row in ARCHITECTURES, so that its layers need no check."""
    return getattr(getattr(model, "config", None), "model_type", None) in ARCHITECTURES


def architecture_of(model: nn.Module, layers_path: str | None = None) -> Architecture:
    """Look up the model's architecture; for an unknown one, take `layers_path` or find its list of layers.

    `layers_path` may name several stacks, separated by commas. The generic rule takes the one list of transformers'
    `GradientCheckpointingLayer`.

    Raises:
        ValueError: the architecture cannot be perturbed, or its layers cannot be found without doubt.
    """
    model_type = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if layers_path is not None:
        stacks = tuple(Stack(path.strip(), "") for path in layers_path.split(","))
        return Architecture(stacks, (), ())
    if model_type in REFUSED:
        raise ValueError(f"model type {model_type} cannot take HyPe: {REFUSED[model_type]}")
    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type]
    found = _layer_lists(base_of(model))
    if len(found) != 1:
        what = f"{len(found)} lists of layers ({', '.join(found)})" if found else "no list of Transformer layers"
        raise ValueError(
            f"model type {model_type} is not known and has {what}: name it with hype_layers_path, such as "
            "encoder.layer, or encoder.stages.*.layers of all stages, or choose one of " + ", ".join(ARCHITECTURES)
        )
    return Architecture((Stack(found[0], ""),), (), ())


def _layer_lists(base: nn.Module) -> list[str]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) > 0
        and all(isinstance(child, GradientCheckpointingLayer) for child in module)
    ]


def layers_of(model: nn.Module, layers_path: str | None = None) -> list[tuple[nn.Module, Stack]]:
    """List the model's layer modules with their stack, in the order of execution (encoder before decoder).

    Raises:
        ValueError: as `architecture_of`; or a path leads nowhere or not to layers, or to one layer twice.
    """
    model = unwrap(model)
    layers, missing = [], []
    for stack in architecture_of(model, layers_path).stacks:
        try:
            layers += [(module, stack) for module in _follow(model, stack.path)]
        except AttributeError as error:
            missing.append(f"{type(model).__name__} has no layers at {stack.path} ({error})")
    # An encoder or decoder of the table may stand alone (T5EncoderModel, BartForCausalLM).
    if missing and (layers_path is not None or not layers):
        raise ValueError(missing[0])
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layers: its list is empty")
    if len({module for module, _ in layers}) < len(layers):
        raise ValueError(f"{type(model).__name__} has one layer several times in its list: they cannot be told apart")
    return layers


def _follow(model: nn.Module, path: str) -> list[nn.Module]:
    head, star, tail = path.partition(".*.")
    try:
        target = attrgetter(head)(base_of(model))
    except AttributeError:
        target = attrgetter(head)(model)
    if not isinstance(target, nn.ModuleList):
        raise AttributeError(f"{head} is {type(target).__name__}, not a ModuleList")
    return [layer for element in target for layer in attrgetter(tail)(element)] if star else list(target)


def call_count(model: nn.Module, layers_path: str | None = None) -> int:
    """Count the layer calls of one forward: n of algorithm 1."""
    model = unwrap(model)
    count = 1
    for name in architecture_of(model, layers_path).calls:
        count *= getattr(model.config, name)
    return count if architecture_of(model, layers_path).calls else len(layers_of(model, layers_path))


def select_layers(count: int, top: int | None, low: int | None, indices: Sequence[int] | None) -> set[int]:
    """Choose among layers 0 ... count - 1 (table 18): the top and low ones together, or those listed; else all.

    Raises:
        ValueError: a number outside of the model, or both kinds at once.
    """
    if indices is not None and (top or low):
        raise ValueError("hype_layers excludes hype_top_layers and hype_low_layers: give one kind")
    for name, k in (("hype_top_layers", top), ("hype_low_layers", low)):
        if k is not None and not 0 <= k <= count:
            raise ValueError(f"{name} {k}: the model has {count} layers, give 0 to {count}")
    if indices is not None:
        indices = list(indices)
        outside = [index for index in indices if not 0 <= index < count]
        if outside or not indices:
            raise ValueError(f"hype_layers {indices}: the model has layers 0 to {count - 1}")
        return set(indices)
    if not top and not low:
        return set(range(count))
    return set(range(low or 0)) | set(range(count - (top or 0), count))
