"""Where noise enters a layer: the hook, and which draw a call repeats when a checkpoint runs its layer again."""

from collections import deque

import torch
from torch import nn

# A layer inside a checkpoint runs again in the backward pass; the draws of so many calls are remembered for it.
REMEMBERED_CALLS = 16


class NoiseHook:
    """The hook on one layer's input, or on the output of its attention (site); it asks `hype`, a `HyPe`, for the noise.

    index: of the layer; None where layers are shared and their calls count. streams: see `Architecture`.
    """

    def __init__(self, hype, site: str, index: int | None, streams: tuple[int, ...]):
        self.hype, self.site, self.index, self.streams = hype, site, index, streams
        self.fired = 0
        self.repeated = None  # the node in whose backward a draw was repeated last
        # (the autograd engine's count of nodes at the call, draw), the newest first
        self.past: deque[tuple[int, tuple[int, ...] | None]] = deque(maxlen=REMEMBERED_CALLS)

    def __call__(self, module, args, rest):
        """Serve as forward pre-hook (`rest`: keyword arguments) and as forward hook (`rest`: output)."""
        if not module.training:
            return None
        draw = self._next_draw() if self.hype.is_counted else () if self.hype.enabled else None
        if draw is None:
            return None
        if self.site == "attention":
            return self._noised(rest, draw)
        if args:
            return self._noised(args, draw), rest
        name = "hidden_states" if "hidden_states" in rest else _only_state(rest)
        return args, {**rest, name: self._noised(rest[name], draw)}

    @torch.compiler.disable
    def _next_draw(self) -> tuple[int, ...] | None:
        """Number this call's draw; None: no noise. A call in the backward pass is a checkpoint's and repeats its draw.

        The engine numbers nodes as they are made, so the call to repeat is the newest that is not younger than the node
        in whose backward it happens. In a reentrant checkpoint that node is the last one made before the call.
        """
        if in_backward():
            return self._draw_of(torch._C._current_graph_task_id(), torch._C._current_autograd_node()._sequence_nr())
        hype = self.hype
        self.fired += 1
        index = self.index
        if index is None:
            index = hype.calls[self.site] % hype.count
            hype.calls[self.site] += 1
        draw = (hype.draw_count,) if hype.enabled and index in hype.layers else None
        hype.draw_count += draw is not None
        self.past.appendleft((torch._C._autograd._get_sequence_nr() - 1, draw))
        return draw

    def _draw_of(self, task: int, node: int) -> tuple[int, ...] | None:
        draws = [draw for made, draw in self.past if made <= node]
        if not draws or self.repeated == (task, node):
            raise ValueError(
                "gradient checkpointing: which noise a layer had is known for one call in each checkpoint, and for "
                f"{REMEMBERED_CALLS} forwards before a backward; checkpoint each layer, or pass hype_stream global"
            )
        self.repeated = (task, node)
        return draws[0]

    def _noised(self, states, draw: tuple[int, ...]):
        if not _is_state(states if isinstance(states, torch.Tensor) else states and states[0]):
            raise ValueError("a layer's first argument is no tensor of floating point: noise cannot be added to it")
        if isinstance(states, torch.Tensor):
            return self.hype.noised(states, *draw)
        return tuple(
            self.hype.noised(state, *draw, position) if position in self.streams and state is not None else state
            for position, state in enumerate(states)
        )


def _only_state(keywords: dict) -> str:
    names = [name for name, value in keywords.items() if _is_state(value)]
    if len(names) != 1:
        raise ValueError(f"which of a layer's keywords ({', '.join(keywords)}) is its state? call it hidden_states")
    return names[0]


def _is_state(value) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def in_backward() -> bool:
    """Say whether the autograd engine is at work in this thread."""
    return torch._C._current_graph_task_id() != -1


def noise_hooks(model: nn.Module) -> list[NoiseHook]:
    """List the hooks of every HyPe on the model."""
    hooks = [h for m in model.modules() for h in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())]
    return [hook for hook in hooks if isinstance(hook, NoiseHook)]
