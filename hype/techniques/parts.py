"""The parts of a model that techniques treat separately: its layers, and everything above them."""

from torch import nn

from hype.architectures import find_layers
from hype.errors import InputError


def layers(model: nn.Module) -> list[nn.Module]:
    """Return the Transformer layers, lowest first.

    Raises:
        InputError: the layers cannot be found, or share their weights (ALBERT).
    """
    try:
        found = find_layers(model)
    except ValueError:
        problem = f"the layers of {type(model).__name__} are not known to this technique; leave it out"
        raise InputError(problem) from None
    if found.count != len(found.layers):
        raise InputError(f"{type(model).__name__} shares weights between its layers: they cannot be treated separately")
    return [layer for layer, _ in found.layers]


def above_the_layers(model: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the modules after the last layer: those of the body (pooler, final norm), and those of the head.

    This relies on transformers registering the children of a body in the order of their use.
    """
    stack, body = set(layers(model)), list(model.base_model.children())
    last = max(index for index, child in enumerate(body) if stack & set(child.modules()))
    return body[last + 1 :], [child for child in model.children() if child is not model.base_model]
