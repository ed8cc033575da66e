"""Where each architecture keeps its Transformer layers, the end of their attention, and its dropouts."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def unwrap(model: Any) -> nn.Module:
    """Return the model inside DDP, torch.compile and PEFT wrappers."""
    if not isinstance(model, nn.Module):  # a SetFitModel, which holds modules but is none itself
        model = nn.ModuleDict({name: part for name, part in vars(model).items() if isinstance(part, nn.Module)})
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
    """Return the one model of the table inside a wrapper, or else the model itself, without its head."""
    return _without_head(_body_of(model) or model)


def is_in_table(model: nn.Module) -> bool:
    """Say whether the model, or the one inside a wrapper, has a row in ARCHITECTURES: its layers need no check."""
    return _body_of(model) is not None


def architecture_of(model: nn.Module, layers_path: str | None = None) -> Architecture:
    """Look up the model's architecture; for an unknown one, take `layers_path` or find its list of layers.

    `layers_path` may name several stacks, separated by commas. The generic rule takes a list of transformers'
    `GradientCheckpointingLayer` if no other list in the model holds attention.

    Raises:
        ValueError: the architecture cannot be perturbed, or its layers cannot be found without doubt.
    """
    for model_type in map(_type_of, model.modules()):
        if model_type in REFUSED:
            raise ValueError(f"model type {model_type} cannot take HyPe: {REFUSED[model_type]}")
    if layers_path is not None:
        return Architecture(tuple(Stack(path.strip(), "") for path in layers_path.split(",")), (), ())
    found, body = _layer_lists(model), _body_of(model)
    if body is not None:
        architecture = ARCHITECTURES[_type_of(body)]
        layers = [layer for stack in architecture.stacks for layer in _follow(body, stack.path)]
        known = {part for layer in layers for part in layer.modules()}
        if all(known.issuperset(others) for others in found.values()):
            return architecture
    elif len(found) == 1:
        [(path, only)] = found.items()
        if all(map(_is_transformers_layer, only)):
            return Architecture((Stack(path, ""),), (), ())
    name = _type_of(model) or type(model).__name__
    if not found:
        raise ValueError(
            f"no list of Transformer layers was found in {name}: pass its attribute path as hype_layers_path, such as "
            "encoder.layer"
        )
    in_base = _layer_lists(base_of(model))
    paths = ",".join(in_base if len(in_base) == len(found) else found)
    raise ValueError(
        f"it is not certain which layers of {name} should get noise. For all that hold attention, pass "
        f'hype_layers_path="{paths}"; or pass some of these paths only'
    )


def _type_of(module: nn.Module) -> str:
    """Return the model type of a transformers model, "" of any other module, even of one with a `config`."""
    is_pretrained = hasattr(type(module), "base_model_prefix")  # a PreTrainedModel: transformers is not imported here
    return getattr(getattr(module, "config", None), "model_type", "") if is_pretrained else ""


def _body_of(model: nn.Module) -> nn.Module | None:
    """Find the model of the table in `model`: itself, or the one that it wraps; None if there are none or several."""
    bodies: list[nn.Module] = []
    for module in model.modules():
        architecture = ARCHITECTURES.get(_type_of(module))
        is_body = architecture is not None and any(_follow(module, stack.path) for stack in architecture.stacks)
        if is_body and not any(module in set(body.modules()) for body in bodies):
            bodies.append(module)
    return bodies[0] if len(bodies) == 1 else None


def _layer_lists(model: nn.Module) -> dict[str, nn.ModuleList | nn.Sequential]:
    """Find the lists of layers that hold attention or, if there are none, of transformers' layers, by their path.

    The innermost lists count: Swin's stages are lists of layers, and not layers. But the parts of one layer are no
    list of layers either: T5's are attention and feed-forward.
    """
    parts = {part for layer in model.modules() if _is_transformers_layer(layer) for part in layer.modules()}
    for is_layer in (_holds_attention, _is_transformers_layer):
        found: dict[str, nn.ModuleList | nn.Sequential] = {}
        for path, module in model.named_modules():
            if path and isinstance(module, nn.ModuleList | nn.Sequential):
                count = sum(map(is_layer, module))
                if count and (count == len(module) or module not in parts):
                    found[path] = module
        if found:
            lists = set(found.values())
            return {path: layers for path, layers in found.items() if lists & set(layers.modules()) == {layers}}
    return {}


def _holds_attention(module: nn.Module) -> bool:
    return any(
        ATTENTION.search(type(part).__name__) or name.rpartition(".")[2].lower() in PROJECTIONS
        for name, part in module.named_modules()
    )


def _is_transformers_layer(module: nn.Module) -> bool:
    return hasattr(type(module), "gradient_checkpointing")  # a GradientCheckpointingLayer


def _without_head(model: nn.Module) -> nn.Module:
    base = getattr(model, "base_model", model)
    return base if isinstance(base, nn.Module) else model


def _follow(model: nn.Module, path: str) -> list[nn.Module]:
    """List the layers at `path`, seen from the model without its head or from the model; none if it leads nowhere."""
    for root in (_without_head(model), model):
        lists: list[Any] = [root]
        try:
            for name in path.split("."):
                lists = [found for m in lists for found in (m.children() if name == "*" else [getattr(m, name)])]
        except AttributeError:
            continue
        if all(isinstance(found, nn.ModuleList | nn.Sequential) for found in lists):
            return [layer for found in lists for layer in found]
    return []


def layers_of(model: nn.Module, layers_path: str | None = None) -> list[tuple[nn.Module, Stack]]:
    """List the model's layer modules with their stack, in the order of execution (encoder before decoder).

    Raises:
        ValueError: as `architecture_of`; or a path leads nowhere or not to layers, or to one layer twice.
    """
    model = unwrap(model)
    body, layers = _body_of(model) or model, []
    for stack in architecture_of(model, layers_path).stacks:
        found = _follow(body, stack.path) or _follow(model, stack.path)
        # An encoder or decoder of the table may stand alone (T5EncoderModel, BartForCausalLM).
        if not found and layers_path is not None:
            raise ValueError(f"{type(model).__name__} has no list of layers at {stack.path}")
        layers += [(layer, stack) for layer in found]
    if len({layer for layer, _ in layers}) < len(layers):
        raise ValueError(f"{type(model).__name__} has one layer several times in its list: they cannot be told apart")
    return layers


def call_count(model: nn.Module, layers_path: str | None = None) -> int:
    """Count the layer calls of one forward: n of algorithm 1."""
    model = unwrap(model)
    calls = architecture_of(model, layers_path).calls
    if not calls:
        return len(layers_of(model, layers_path))
    config = base_of(model).config
    return math.prod(getattr(config, name) for name in calls)


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
