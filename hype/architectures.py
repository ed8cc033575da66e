"""Where each architecture keeps its Transformer layers, the outputs of their attention, and its dropout rates."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Architecture:
    """Where to perturb one model type, and the names of the dropout rates in its configuration.

    stacks: maps the path from the base model to each list of layers (`*` matches every element) to the path from a
        layer to the module that outputs the hidden states after attention, before the feed-forward part and its
        residual; "" if unknown. Where the residual is added after that module (GPT-2, Llama), adding noise to its
        output is the same as adding it to the sum.
    state_positions: of the hidden states among a layer's arguments and outputs.
    calls: configuration fields whose product is the number of layer calls, for layers that share weights and are called
        repeatedly (ALBERT); empty if each layer is called once.
    """

    stacks: dict[str, str]
    hidden_dropouts: tuple[str, ...] = ()
    other_dropouts: tuple[str, ...] = ()
    state_positions: tuple[int, ...] = (0,)
    calls: tuple[str, ...] = ()


BERT = Architecture(
    {"encoder.layer": "attention"},
    ("hidden_dropout_prob",),
    ("attention_probs_dropout_prob", "classifier_dropout"),
)
DEBERTA = Architecture(
    {"encoder.layer": "attention"},
    ("hidden_dropout_prob",),
    ("attention_probs_dropout_prob", "pooler_dropout", "cls_dropout"),
)
LLAMA = Architecture({"layers": "self_attn"}, (), ("attention_dropout",))
T5 = Architecture({"encoder.block": "layer.0", "decoder.block": "layer.1"}, ("dropout_rate",), ("classifier_dropout",))

# Keys are `config.model_type`. tests/test_architectures.py checks every entry against algorithm 1.
ARCHITECTURES = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "electra": BERT,
    "deberta": DEBERTA,
    "deberta-v2": DEBERTA,  # and v3; the convolution parallel to layer 0 reads the states without noise
    "mpnet": Architecture({"encoder.layer": "attention"}, ("hidden_dropout_prob",), ("attention_probs_dropout_prob",)),
    "xlnet": Architecture(
        {"layer": "rel_attn"}, ("dropout",), ("summary_last_dropout",), state_positions=(0, 1)
    ),  # states are (length, batch, hidden); the second stream is None in classification
    "albert": Architecture(
        {"encoder.albert_layer_groups.*.albert_layers": "attention"},
        ("hidden_dropout_prob",),
        ("attention_probs_dropout_prob", "classifier_dropout_prob"),
        calls=("num_hidden_layers", "inner_group_num"),
    ),
    "distilbert": Architecture(
        {"transformer.layer": "sa_layer_norm"}, ("dropout",), ("attention_dropout", "seq_classif_dropout")
    ),
    "modernbert": Architecture(
        {"layers": "attn"}, ("embedding_dropout", "mlp_dropout"), ("attention_dropout", "classifier_dropout")
    ),
    "gpt2": Architecture({"h": "attn"}, ("resid_pdrop", "embd_pdrop"), ("attn_pdrop",)),
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "t5": T5,
    "mt5": T5,
    "bart": Architecture(
        {"encoder.layers": "self_attn_layer_norm", "decoder.layers": "encoder_attn_layer_norm"},
        ("dropout",),
        ("attention_dropout", "activation_dropout", "classifier_dropout"),
    ),
}

# Models for which no layers path would be right.
TWO_STATES = "its layers process two hidden states, and only one of them would get noise"
NO_LAYERS = "its layers are not separate modules, so there is no list of layers"
REFUSED = {
    **dict.fromkeys(("luke", "lilt", "lxmert", "grounding-dino", "mm-grounding-dino", "reformer"), TWO_STATES),
    **dict.fromkeys(("xlm", "flaubert", "swiftformer"), NO_LAYERS),
    "squeezebert": "its layers take hidden states of shape (batch, hidden, length) and return a dictionary",
    "funnel": "its layers take query, key and value separately and pool between blocks: there is no one layer input",
}

# A module contains attention (or FocalNet's substitute for it) if a class or a projection in it has such a name.
ATTENTION = re.compile("att(ention|n)|modulation", re.IGNORECASE)
PROJECTIONS = {"q", "query", "q_proj", "to_q", "wq", "qkv", "qkv_proj", "to_qkv", "wqkv"}


@dataclass(frozen=True)
class Layers:
    """The layers of one model.

    layers: in execution order, encoder first, each with the path to the module that ends its attention ("": unknown).
    count: number of layer calls in one forward pass, n in algorithm 1. body: the model without its head.
    is_in_table: whether the architecture is in the table; if not, the first forward pass checks that the layers run.
    """

    layers: list[tuple[nn.Module, str]]
    count: int
    body: nn.Module
    architecture: Architecture
    is_in_table: bool


def find_layers(model: Any, layers_path: str | None = None) -> Layers:
    """Find the layers of a model, wrapped or not: at `layers_path`, in the table, or else by a search.

    `layers_path` may give several lists, separated by commas. The search accepts a list of transformers'
    `GradientCheckpointingLayer` if no other list in the model contains attention.

    Raises:
        ValueError: the architecture is not supported, or its layers cannot be identified with certainty.
    """
    model = unwrap(model)
    body, architecture = _look_up(model, layers_path)
    layers: list[tuple[nn.Module, str]] = []
    for path, attention in architecture.stacks.items():
        found = _layers_at(body, path) or _layers_at(model, path)
        # Paths of the table may be missing: T5EncoderModel is only an encoder, BartForCausalLM only a decoder.
        if not found and layers_path is not None:
            example = next(iter(_layer_lists(model)), "encoder.layer")
            raise ValueError(
                f"{type(model).__name__} has no list of layers at {path}: hype_layers_path takes the attribute path of "
                f"a ModuleList or Sequential, such as {example}"
            )
        layers += [(layer, attention) for layer in found]
    if len(dict(layers)) < len(layers):
        raise ValueError(f"{type(model).__name__} lists one layer several times: its calls cannot be told apart")
    counts = [getattr(body.config, name) for name in architecture.calls] or [len(layers)]
    return Layers(layers, math.prod(counts), body, architecture, all(architecture.stacks.values()))


def unwrap(model: Any) -> nn.Module:
    """Return the model inside DDP, torch.compile and PEFT wrappers."""
    if hasattr(model, "_orig_mod"):
        return unwrap(model._orig_mod)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return unwrap(model.module)
    if hasattr(model, "get_base_model"):
        return unwrap(model.get_base_model())
    if isinstance(model, nn.Module):
        return model
    if not hasattr(model, "__dict__"):
        raise TypeError(f"HyPe takes a model, not {model!r}: load it first")
    # A SetFitModel contains modules but is not a module itself.
    return nn.ModuleDict({name: part for name, part in vars(model).items() if isinstance(part, nn.Module)})


def _look_up(model: nn.Module, layers_path: str | None) -> tuple[nn.Module, Architecture]:
    """Return the model without its head, or the model inside it that is in the table, and its architecture."""
    for model_type in map(_type_of, model.modules()):
        if model_type in REFUSED:
            raise ValueError(f"model type {model_type} cannot take HyPe: {REFUSED[model_type]}")
    base: Any = model.base_model if _is_pretrained(model) else model
    if layers_path is not None:
        return base, Architecture(dict.fromkeys(map(str.strip, layers_path.split(",")), ""))
    lists = _layer_lists(model)
    body = next(filter(_layers_of_table, model.modules()), None)
    if body is not None:
        known = {part for layer in _layers_of_table(body) for part in layer.modules()}
        if all(known.issuperset(layers) for layers in lists.values()):
            return body, ARCHITECTURES[_type_of(body)]
    elif len(lists) == 1:
        [(path, layers)] = lists.items()
        if all(map(_is_transformers_layer, layers)):
            return base, Architecture({path: ""})
    name = _type_of(model) or type(model).__name__
    if not lists:
        raise ValueError(
            f"no list of Transformer layers was found in {name}: pass its attribute path as hype_layers_path, such as "
            "encoder.layer"
        )
    raise ValueError(
        f"it is not clear which layers of {name} should get noise. For all layers with attention, pass "
        f'hype_layers_path="{",".join(lists)}"; or pass only some of these paths'
    )


def _layer_lists(model: nn.Module) -> dict[str, nn.ModuleList | nn.Sequential]:
    """Find the lists of layers with attention or, if there are none, of transformers' layers, by path.

    Only the innermost lists count: Swin's stages are lists of layers, not layers. A list of the parts of one layer,
    such as T5's attention and feed-forward, does not count either.
    """
    parts = {part for layer in model.modules() if _is_transformers_layer(layer) for part in layer.modules()}
    lists = {path: m for path, m in model.named_modules() if path and isinstance(m, nn.ModuleList | nn.Sequential)}
    for is_layer in (_holds_attention, _is_transformers_layer):
        found = {}
        for path, elements in lists.items():
            kinds = set(map(is_layer, elements))
            if kinds == {True} or (True in kinds and elements not in parts):
                found[path] = elements
        if found:
            outer = set(found.values())
            return {path: elements for path, elements in found.items() if outer & set(elements.modules()) == {elements}}
    return {}


def _layers_at(root: nn.Module, path: str) -> list[nn.Module]:
    """Return the layers of all lists at `path`; none if it leads to anything but lists."""
    found: list[Any] = [root]
    for name in path.split("."):
        found = [part for m in found for part in (m.children() if name == "*" else [getattr(m, name, None)])]
        found = [part for part in found if isinstance(part, nn.Module)]
    are_lists = all(isinstance(part, nn.ModuleList | nn.Sequential) for part in found)
    return [layer for layers in found for layer in layers] if are_lists else []


def _layers_of_table(module: nn.Module) -> list[nn.Module]:
    """Return the layers of a model without head if its type is in the table; none for any other module."""
    architecture = ARCHITECTURES.get(_type_of(module), Architecture({}))
    return [layer for path in architecture.stacks for layer in _layers_at(module, path)]


def _type_of(module: nn.Module) -> str:
    """Return the model type of a transformers model, "" for any other module, even one with a `config`."""
    return getattr(module.config, "model_type", "") if _is_pretrained(module) else ""


def _is_pretrained(module: nn.Module) -> bool:
    return hasattr(type(module), "base_model_prefix")  # a PreTrainedModel: transformers is not imported here


def _is_transformers_layer(module: nn.Module) -> bool:
    return hasattr(type(module), "gradient_checkpointing")  # a GradientCheckpointingLayer


def _holds_attention(module: nn.Module) -> bool:
    return any(
        ATTENTION.search(type(part).__name__) or name.rpartition(".")[2].lower() in PROJECTIONS
        for name, part in module.named_modules()
    )


def select_layers(count: int, top: int | None, low: int | None, indices: Sequence[int] | None) -> set[int]:
    """Select from layers 0 ... count - 1 (table 18): the top and low ones together, or those in `indices`; else all.

    Raises:
        ValueError: the model does not have these layers, or `indices` is combined with `top` or `low`.
    """
    layers = range(count)
    if indices is not None:
        if top or low:
            raise ValueError("hype_layers cannot be combined with hype_top_layers or hype_low_layers: give either")
        chosen = set(indices)
        if not chosen or not chosen <= set(layers):
            raise ValueError(f"hype_layers {list(chosen)}: the model has layers 0 to {count - 1}")
        return chosen
    for name, k in (("hype_top_layers", top), ("hype_low_layers", low)):
        if not 0 <= (k or 0) <= count:
            raise ValueError(f"{name} {k}: the model has {count} layers, give 0 to {count}")
    return {*layers[: low or 0], *layers[count - (top or 0) :]} or set(layers)
