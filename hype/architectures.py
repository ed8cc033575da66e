"""Where each architecture keeps its Transformer layers, the end of their attention, and its dropouts."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Architecture:
    """How one model type is perturbed and how its dropouts are named in its configuration.

    stacks: the path from the base model to each list of layers (`*`: through every element) -> the path from a layer to
        the module whose output is the hidden state after attention, before the feed-forward part and its residual; ""
        if it is not known. Where the residual is added after that module (GPT-2, Llama), noise on its output is noise
        on the sum, which is the same.
    streams: positions of the hidden states among a layer's arguments and outputs.
    calls: configuration fields whose product is the number of layer calls, where layers share weights and are called
        again (ALBERT); else each is called once.
    """

    stacks: dict[str, str]
    hidden_dropouts: tuple[str, ...] = ()
    other_dropouts: tuple[str, ...] = ()
    streams: tuple[int, ...] = (0,)
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

# Keys are `config.model_type`. Every row is exercised by tests/test_architectures.py against algorithm 1.
ARCHITECTURES = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "electra": BERT,
    "deberta": DEBERTA,
    "deberta-v2": DEBERTA,  # v3 too. Its convolution beside layer 0 reads the state without noise.
    "mpnet": Architecture({"encoder.layer": "attention"}, ("hidden_dropout_prob",), ("attention_probs_dropout_prob",)),
    "xlnet": Architecture(
        {"layer": "rel_attn"}, ("dropout",), ("summary_last_dropout",), streams=(0, 1)
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

# Models in which no path to a list of layers would be right.
TWO_STATES = "its layers carry two states, and only one of them would get noise"
NO_LAYERS = "its layers are not modules of their own, so that no list of them can be named"
REFUSED = {
    **dict.fromkeys(("luke", "lilt", "lxmert", "grounding-dino", "mm-grounding-dino", "reformer"), TWO_STATES),
    **dict.fromkeys(("xlm", "flaubert", "swiftformer"), NO_LAYERS),
    "squeezebert": "its layers take their state as (batch, hidden, length) and return it in a dictionary",
    "funnel": "its layers take query, key and value apart and pool between blocks, so there is no one layer input",
}

# A module holds attention (or what FocalNet has in its place) if a class or a projection in it has such a name.
ATTENTION = re.compile("att(ention|n)|modulation", re.IGNORECASE)
PROJECTIONS = {"q", "query", "q_proj", "to_q", "wq", "qkv", "qkv_proj", "to_qkv", "wqkv"}


@dataclass(frozen=True)
class Layers:
    """The layers of one model.

    layers: in the order of execution, encoder before decoder, each with the end of its attention, None if not known.
    count: their calls in one forward, n of algorithm 1. body: the model without its head. is_in_table: whether the
    layers need no check.
    """

    layers: list[tuple[nn.Module, nn.Module | None]]
    count: int
    body: nn.Module
    architecture: Architecture
    is_in_table: bool


def find_layers(model: Any, layers_path: str | None = None) -> Layers:
    """Find the layers of a model, also inside wrappers: at `layers_path`, by the table, or else by a search.

    `layers_path` may name several lists, separated by commas. The search takes a list of transformers'
    `GradientCheckpointingLayer` if no other list in the model holds attention.

    Raises:
        ValueError: the architecture cannot be perturbed, or its layers cannot be found without doubt.
    """
    model = unwrap(model)
    body, architecture = _look_up(model, layers_path)
    layers: list[tuple[nn.Module, nn.Module | None]] = []
    for path, attention in architecture.stacks.items():
        found = _layers_at(body, path) or _layers_at(model, path)
        # An encoder or decoder of the table may stand alone (T5EncoderModel, BartForCausalLM).
        if not found and layers_path is not None:
            example = next(iter(_layer_lists(model)), "encoder.layer")
            raise ValueError(
                f"{type(model).__name__} has no list of layers at {path}: hype_layers_path takes the attribute path of "
                f"a ModuleList or Sequential, such as {example}"
            )
        layers += [(layer, layer.get_submodule(attention) if attention else None) for layer in found]
    if len(dict(layers)) < len(layers):
        raise ValueError(f"{type(model).__name__} has one layer several times in its list: they cannot be told apart")
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
    # A SetFitModel holds modules but is none itself.
    return nn.ModuleDict({name: part for name, part in vars(model).items() if isinstance(part, nn.Module)})


def _look_up(model: nn.Module, layers_path: str | None) -> tuple[nn.Module, Architecture]:
    """Return the model without its head, or the model of the table inside it, and its architecture."""
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
        f"it is not certain which layers of {name} should get noise. For all that hold attention, pass "
        f'hype_layers_path="{",".join(lists)}"; or pass some of these paths only'
    )


def _layer_lists(model: nn.Module) -> dict[str, nn.ModuleList | nn.Sequential]:
    """Find the lists of layers that hold attention or, if there are none, of transformers' layers, by their path.

    The innermost lists count: Swin's stages are lists of layers, and not layers. But the parts of one layer are no
    list of layers either: T5's are attention and feed-forward.
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
    """List the layers of the lists at `path`; none if it leads elsewhere."""
    found: list[Any] = [root]
    for name in path.split("."):
        found = [part for m in found for part in (m.children() if name == "*" else [getattr(m, name, None)])]
        found = [part for part in found if isinstance(part, nn.Module)]
    are_lists = all(isinstance(part, nn.ModuleList | nn.Sequential) for part in found)
    return [layer for layers in found for layer in layers] if are_lists else []


def _layers_of_table(module: nn.Module) -> list[nn.Module]:
    """List the layers of a model without head whose type is in the table; none of any other module."""
    architecture = ARCHITECTURES.get(_type_of(module), Architecture({}))
    return [layer for path in architecture.stacks for layer in _layers_at(module, path)]


def _type_of(module: nn.Module) -> str:
    """Return the model type of a transformers model, "" of any other module, even of one with a `config`."""
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
    """Choose among layers 0 ... count - 1 (table 18): the top and low ones together, or those listed; else all.

    Raises:
        ValueError: a number outside of the model, or both kinds at once.
    """
    layers = range(count)
    if indices is not None:
        if top or low:
            raise ValueError("hype_layers excludes hype_top_layers and hype_low_layers: give one kind")
        if not indices or not set(indices) <= set(layers):
            raise ValueError(f"hype_layers {list(indices)}: the model has layers 0 to {count - 1}")
        return set(indices)
    for name, k in (("hype_top_layers", top), ("hype_low_layers", low)):
        if not 0 <= (k or 0) <= count:
            raise ValueError(f"{name} {k}: the model has {count} layers, give 0 to {count}")
    return {*layers[: low or 0], *layers[count - (top or 0) :]} or set(layers)
