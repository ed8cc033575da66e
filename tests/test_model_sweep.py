"""Every model class of transformers, small and on the meta device: all its layers get noise, or it is refused.

Attention and layers are recognised by the names and shapes of projections, independently of hype.architectures.
`python -m tests.test_model_sweep` prints the verdict on each class, and the totals.
"""

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from hype import HyPe
from hype.architectures import REFUSED, find_layers

QUERIES = {"q", "query", "wq", "receptance"}
KEYS = {"k", "key", "wk", "kv"}
BOTH = {"qkv", "wqkv", "qk", "sampling"}  # sampling: the offsets of deformable attention
BOTH_IN_FULL = {
    "query_key_value", "query_key", "in_proj_weight", "c_attn", "att_proj", "projection_context",  # the last: FocalNet
}  # fmt: skip
LAYER_COUNTS = (
    "num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "depth", "num_blocks",
)  # fmt: skip
# Between stages, GroupViT assigns tokens to groups with a separate attention that is not a layer.
NOT_ONLY_LAYERS = ("groupvit", "groupvit_vision_model")
PACKAGES = sorted(package.name for package in pkgutil.iter_modules(transformers.models.__path__) if package.ispkg)
SHARDS = 8


def matrices(module: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of the module's and its children's weights with at least two dimensions."""
    weights = [(name, weight) for name, weight in module.named_parameters(recurse=False)]
    weights += [(name, child._parameters.get("weight")) for name, child in module.named_children()]
    return {name: weight.shape for name, weight in weights if weight is not None and weight.dim() > 1}


def is_attention(module: nn.Module) -> bool:
    shapes = matrices(module)
    words = {word for name in shapes for word in name.lower().split("_")}
    if (words & QUERIES and words & KEYS) or words & BOTH or BOTH_IN_FULL & shapes.keys():
        return True
    return "in_proj" in shapes and shapes["in_proj"][0] == 3 * shapes["in_proj"][1]  # DeBERTa


def attention_of(module: nn.Module) -> set[nn.Module]:
    return {part for part in module.modules() if is_attention(part)}


def is_whole_layer(module: nn.Module) -> bool:
    """Return whether a module contains attention and other weights, that is, a feed-forward part."""
    inner = attention_of(module) - {module}
    of_attention = {weight for part in inner for weight in part.parameters()}
    return bool(inner) and any(weight.dim() > 1 and weight not in of_attention for weight in module.parameters())


def lists(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.ModuleList | nn.Sequential)]


def mistakes(model: nn.Module, layers: list[nn.Module]) -> list[str]:
    """List attention in module lists outside of `layers`, and lists of complete layers inside one of `layers`."""
    inside = {part for layer in layers for part in layer.modules()}
    listed = {part for found in lists(model) for element in found for part in attention_of(element)}
    names = {module: name for name, module in model.named_modules()}
    missed = [f"without noise: {names[part]}" for part in listed - inside]
    nested = {found for layer in layers for found in lists(layer) if any(map(is_whole_layer, found))}
    return sorted(missed) + sorted(f"noise for all of {names[found]} at once" for found in nested)


def small(config_class: type[PretrainedConfig]) -> PretrainedConfig:
    """Build a default configuration with at most 4 layers per stack, if possible."""
    default, changes = config_class(), {}
    for name, value in vars(default).items():
        if isinstance(value, PretrainedConfig) and type(value) is not config_class:
            changes[name] = small(type(value))
        elif name in LAYER_COUNTS and isinstance(value, int):
            changes[name] = min(value, 4)
    try:
        return config_class(**changes)
    except Exception:  # a list in it describes each layer
        return default


def build(model_class: type[PreTrainedModel]) -> PreTrainedModel | None:
    """Build the model on the meta device; None if no configuration can be built or a package is missing."""
    for configure in (small, lambda config_class: config_class()):
        try:
            with torch.device("meta"):
                return model_class(configure(model_class.config_class))
        except Exception:
            continue
    return None


def model_classes(packages: list[str]) -> Iterator[type[PreTrainedModel]]:
    """Yield the model classes of transformers.models, except abstract ones."""
    for package in (importlib.import_module(f"transformers.models.{name}") for name in packages):
        for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
            if not name.startswith("modeling_"):
                continue
            try:
                content = importlib.import_module(f"{package.__name__}.{name}")
            except ImportError:  # of torchaudio
                continue
            classes = (value for value in vars(content).values() if isinstance(value, type))
            for model_class in (value for value in classes if issubclass(value, PreTrainedModel)):
                is_abstract = model_class.__name__.lower().endswith("trainedmodel")
                if model_class.__module__ == content.__name__ and not is_abstract:
                    yield model_class


def verdict(model: PreTrainedModel) -> tuple[str, list[str]]:
    """Return whether the model is accepted or refused, and the mistakes in that."""
    try:
        layers = [layer for layer, _ in find_layers(model).layers]
    except ValueError as error:
        path = re.search('hype_layers_path="(.*?)"', str(error))
        if path is None:
            is_known = any(f"model type {model_type} cannot" in str(error) for model_type in REFUSED)
            has_layers = any(is_whole_layer(element) for found in lists(model) for element in found)
            return "refused", ["refused without a path"] if has_layers and not is_known else []
        with HyPe(model, hype_layers_path=path[1]):
            layers = [layer for layer, _ in find_layers(model, path[1]).layers]
        return "refused", [] if model.config.model_type in NOT_ONLY_LAYERS else mistakes(model, layers)
    with HyPe(model) as hype:
        assert hype.count >= len(layers)
    return "accepted", mistakes(model, layers)


def sweep(packages: list[str]) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield model type, class, verdict and mistakes."""
    for model_class in model_classes(packages):
        model = build(model_class)
        outcome, wrong = ("not built", []) if model is None else verdict(model)
        yield getattr(model_class.config_class, "model_type", ""), model_class.__name__, outcome, wrong


@pytest.mark.slow  # 1,785 models, ten seconds each part
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_model_of_transformers_gets_noise_in_all_of_its_layers_or_is_refused_with_a_remedy(shard):
    outcomes = list(sweep(PACKAGES[shard::SHARDS]))
    assert [outcome for outcome in outcomes if outcome[-1]] == []
    counts = Counter(outcome for _, _, outcome, _ in outcomes)
    assert counts["accepted"] > 100 and counts["not built"] < 40


if __name__ == "__main__":
    numbers: Counter[str] = Counter()
    for model_type, name, outcome, wrong in sweep(PACKAGES):
        numbers.update([outcome] + ["wrong"] * bool(wrong))
        print(model_type, name, outcome, *wrong, sep="\t")
    print(dict(numbers))
