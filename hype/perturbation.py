"""HyPe: noise on the hidden states that enter each Transformer layer (paper, section 3, algorithm 1).

For layers i = 1 ... n, in training:  h_{i+1} = g_i(h_i + e_i),  e_i ~ N(0, eps^2) or U(-eps, eps), fresh at every
forward. Nothing is added in evaluation, nor after the last layer; the model gets no parameter and no new key.
"""

import hashlib
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hype.architectures import find_layers, select_layers, unwrap

logger = logging.getLogger(__name__)

# The kinds of noise: each fills a tensor in place with noise of scale eps. "uniform" is the paper's; the released code
# has "uniform_positive", which is "uniform" with hype_uniform_support="positive".
SAMPLERS: dict[str, Callable[[torch.Tensor, float, torch.Generator | None], torch.Tensor]] = {
    "normal": lambda noise, eps, rng: noise.normal_(0, eps, generator=rng),
    "uniform": lambda noise, eps, rng: noise.uniform_(-eps, eps, generator=rng),
    "uniform_positive": lambda noise, eps, rng: noise.uniform_(0, eps, generator=rng),
}
HYPE_TYPES = tuple(name for name in SAMPLERS if name != "uniform_positive")
CHOICES = {
    "hype_type": HYPE_TYPES,
    "hype_uniform_support": ("symmetric", "positive"),
    "hype_stream": ("own", "global"),
}


class HyPe:
    """Attach the perturbation to `model`; `remove()`, or the end of a `with` block, detaches it.

    Noise is drawn and added in float32 (float64 for float64 states), also under autocast, and rounded to the dtype of
    the state. In training mode, `output_hidden_states` of most architectures returns the noised states.

    Args:
        model: any transformers model or a module that holds one, plain or in DDP, torch.compile or PEFT.
        hype_type: "normal" N(0, eps^2), HyPe-N; "uniform", HyPe-U.
        hype_eps: the scale of the noise, in the unit of the hidden states; 0 attaches nothing.
        hype_uniform_support: "symmetric" U(-eps, eps), as in the paper; "positive" U(0, eps), as in the released code.
        hype_top_layers, hype_low_layers: only the k layers nearest the head, the input, or both (table 18); 0: all.
        hype_layers: indices from 0, encoder before decoder; excludes the two above. Layers that share weights (ALBERT)
            count once per call.
        hype_intermediate, hype_only_intermediate: noise also, or only, after self-attention (appendix G, table 17).
        hype_layers_path: attribute path to the layers of an architecture that is not in the table.
        hype_stream: "own" draws from (seed, rank, step) and leaves torch's generators alone, so that runs with and
            without noise have equal dropout masks; "global" draws from torch's. Losses that repeat a pass with its
            random state (GradCache) need the second, and torch.compile makes one graph of the model with it.
        allow_vanishing_noise: attach even though the dtype of the weights rounds most of the noise away.
        seed: of the own stream; defaults to torch's (`torch.manual_seed`).
        rank: of the own stream; defaults to the rank in torch.distributed, or 0.

    Raises:
        ValueError: a value is out of range, or the model cannot take HyPe or has it already.

    Example:
        with HyPe(model, "uniform", 1e-5) as hype:
            train(model)  # call hype.set_step(step) before each step, so that a resumed training repeats its noise
    """

    def __init__(
        self,
        model: nn.Module,
        hype_type: str = "normal",
        hype_eps: float = 1e-5,
        *,
        hype_uniform_support: str = "symmetric",
        hype_top_layers: int | None = None,
        hype_low_layers: int | None = None,
        hype_layers: Sequence[int] | None = None,
        hype_intermediate: bool = False,
        hype_only_intermediate: bool = False,
        hype_layers_path: str | None = None,
        hype_stream: str = "own",
        allow_vanishing_noise: bool = False,
        seed: int | None = None,
        rank: int | None = None,
    ):
        is_positive = (hype_type, hype_uniform_support) == ("uniform", "positive")
        self.sampler = "uniform_positive" if is_positive else hype_type
        choices = {"hype_type": hype_type, "hype_uniform_support": hype_uniform_support, "hype_stream": hype_stream}
        self.eps = check_values(hype_eps, **choices)
        self.own_stream, self.seed = hype_stream == "own", torch.initial_seed() if seed is None else seed
        is_ddp = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if is_ddp else 0
        self.step, self.draw_count = 0, 0  # optimiser step; draws made in it
        self.enabled = True
        self.observer: Callable[[torch.Tensor, torch.Tensor], Any] | None = None  # called with (state, noised state)
        self.hooks: list[_Hook] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._calls = {"input": 0, "attention": 0}  # of layers that share weights, in this forward
        self._has_graph = True  # whether this forward was called with gradients enabled

        model = unwrap(model)
        if isinstance(model, nn.DataParallel):
            raise ValueError("DataParallel's threads would draw in any order: start one process per GPU with torchrun")
        if _hooks_on(model):
            raise ValueError("this model has HyPe already: remove the first, or all with HyPe.remove_from(model)")
        found = find_layers(model, hype_layers_path)
        self.count, self.streams, self._is_proven = found.count, found.architecture.streams, found.is_in_table
        self.layers = select_layers(self.count, hype_top_layers, hype_low_layers, hype_layers)
        if self.eps == 0:
            return
        if not allow_vanishing_noise:
            _refuse_vanishing_noise([layer for layer, _ in found.layers], self.eps)
        at_attention = hype_intermediate or hype_only_intermediate
        if at_attention and not found.is_in_table:
            raise ValueError("noise after self-attention needs an architecture of the table, not a bare path")
        for i, (layer, attention) in enumerate(found.layers):
            index = None if found.architecture.calls else i  # None: the calls of layers that share weights are counted
            if index is None or index in self.layers:
                if not hype_only_intermediate:
                    self._add(layer.register_forward_pre_hook, "input", index, with_kwargs=True)
                if at_attention and attention is not None:
                    self._add(attention.register_forward_hook, "attention", index)
        for entry in {model, found.body}:  # the body may be called without its head
            self._handles.append(entry.register_forward_pre_hook(self._start_forward))
            self._handles.append(entry.register_forward_hook(self._end_forward))
        _forget_compiled_code()

    def _add(self, register: Callable[..., Any], site: str, index: int | None, **options: Any) -> None:
        self.hooks.append(_Hook(self, site, index))
        self._handles.append(register(self.hooks[-1], **options))

    def perturb(self, hidden: torch.Tensor, *draw: int) -> torch.Tensor:
        """Return `hidden` (any shape, floating point) plus noise; `draw` numbers the draw within its step."""
        if not torch.is_floating_point(hidden):
            raise ValueError("a layer's first argument is no floating-point tensor: noise cannot be added to it")
        noise = torch.empty_like(hidden, dtype=torch.promote_types(hidden.dtype, torch.float32), requires_grad=False)
        noise = self._own_draw(noise, draw) if self.own_stream else SAMPLERS[self.sampler](noise, self.eps, None)
        # The sum is written into the noise's memory: one allocation and two passes, whatever the size.
        noised = noise.add_(hidden).to(hidden.dtype)
        if self.observer is not None:
            self.observer(hidden, noised)
        return noised

    @torch.compiler.disable
    def _own_draw(self, noise: torch.Tensor, draw: tuple[int, ...]) -> torch.Tensor:
        rng = torch.Generator(noise.device).manual_seed(stream_seed(self.seed, self.rank, self.step, *draw))
        return SAMPLERS[self.sampler](noise, self.eps, rng)

    def set_step(self, step: int) -> None:
        """Begin optimiser step `step`, from 0: its noise depends on (seed, rank, step) and nothing before it."""
        self.step, self.draw_count = step, 0
        for hook in self.hooks:
            hook.draws.clear()

    @contextmanager
    def paused(self) -> Iterator["HyPe"]:
        """Add no noise inside the block, for example in the reference pass of a preference loss."""
        before, self.enabled = self.enabled, False
        try:
            yield self
        finally:
            self.enabled = before

    def remove(self) -> None:
        """Detach every hook, for good; a second call does nothing."""
        if self._handles:
            _forget_compiled_code()
        while self._handles:
            self._handles.pop().remove()

    @staticmethod
    def remove_from(model: nn.Module) -> None:
        """Detach the HyPe of any model, such as a copied or unpickled one, which keeps the noise of its original."""
        for hook in _hooks_on(unwrap(model)):
            hook.hype.remove()

    def __enter__(self) -> "HyPe":
        if self.eps > 0 and not self._handles:
            raise ValueError("this HyPe was removed and adds no noise: make a new one")
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def _start_forward(self, module: nn.Module, args: Any) -> None:
        if not torch.compiler.is_compiling() and not in_backward():
            self._calls = {"input": 0, "attention": 0}
            self._has_graph = torch.is_grad_enabled()

    def _end_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        # Of a list that is right, LayerDrop may leave out some, and a model may call its body twice.
        if module.training and not self._is_proven:
            raise ValueError("none of the layers ran in the first forward: name the right list with hype_layers_path")


class _Hook:
    """One place of a model where noise enters: the input of a layer, or the output of its attention (`site`).

    A layer inside a gradient checkpoint runs again in the backward pass and must get the noise of its forward. The
    hook repeats its draw if it has made only one since the last backward pass (or its step), and refuses otherwise.
    """

    def __init__(self, hype: HyPe, site: str, index: int | None):
        self.hype, self.site, self.index = hype, site, index
        self.is_numbered = hype.own_stream or (index is None and len(hype.layers) < hype.count)
        self.draws: set[tuple[int, ...] | None] = set()  # since the last backward pass; more than two need no keeping
        self.is_repeated = False

    def __call__(self, module: nn.Module, args: Any, rest: Any) -> Any:
        """Serve as forward pre-hook (`rest`: keyword arguments) and as forward hook (`rest`: output)."""
        self.hype._is_proven = True
        if not module.training:
            return None
        if torch.compiler.is_compiling() and not self.is_numbered:
            draw = () if self.hype.enabled else None  # torch repeats its own stream
        else:
            draw = self._next_draw()
        if draw is None:
            return None
        if self.site == "attention":
            return self._perturbed(rest, draw)
        if args:
            return self._perturbed(args, draw), rest
        floating = [name for name in rest if isinstance(rest[name], torch.Tensor) and rest[name].is_floating_point()]
        names = ["hidden_states"] if "hidden_states" in rest else floating
        if len(names) != 1:
            raise ValueError(f"which of a layer's keywords ({', '.join(rest)}) is its state? call it hidden_states")
        return args, {**rest, names[0]: self._perturbed(rest[names[0]], draw)}

    @torch.compiler.disable
    def _next_draw(self) -> tuple[int, ...] | None:
        """Number this call's draw within its step: () where no number is needed, None for no noise."""
        hype, index, draw = self.hype, self.index, None
        if in_backward() and (self.draws or hype.own_stream):
            if len(self.draws) != 1:
                remedy = "run those without noise under torch.no_grad(), or turn gradient checkpointing off"
                raise ValueError(
                    "a layer runs again in the backward pass (gradient checkpointing, or a loss of two passes such as "
                    "CachedMultipleNegativesRankingLoss) after forwards with different noise or without noise: "
                    + ('pass hype_stream="global"' if hype.own_stream else remedy)
                )
            self.is_repeated = True
            return next(iter(self.draws))
        if index is None:
            index = hype._calls[self.site] % hype.count
            hype._calls[self.site] += 1
        if hype.enabled and index in hype.layers:
            draw = (hype.draw_count,) if hype.own_stream else ()
            hype.draw_count += 1
        if self.is_repeated:
            self.draws, self.is_repeated = set(), False
        if len(self.draws) < 2 and (draw is not None or hype._has_graph):
            self.draws.add(draw)
        return draw

    def _perturbed(self, states: Any, draw: tuple[int, ...]) -> Any:
        if isinstance(states, torch.Tensor):
            return self.hype.perturb(states, *draw)
        noised = list(states)
        for position in self.hype.streams:
            if position == 0 or states[position] is not None:
                noised[position] = self.hype.perturb(states[position], *draw, position)
        return tuple(noised)


def check_values(hype_eps: float | str, **options: Any) -> float:
    """Check the options that need no model, and return eps as a number (YAML reads 1e-5 as text).

    Raises:
        ValueError: one of them is out of range.
    """
    for name, known in CHOICES.items():
        if options.get(name, known[0]) not in known:
            raise ValueError(f"{name} {options[name]}: give {' or '.join(known)}")
    try:
        eps = float(hype_eps)
    except (TypeError, ValueError):
        eps = math.nan
    if not 0 <= eps < math.inf:
        raise ValueError(f"hype_eps {hype_eps}: give a finite number of at least 0")
    return eps


def stream_seed(*key: int | str) -> int:
    """Hash a key such as (seed, rank, step) to a seed of 63 bits, the same on every machine and in every version."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def in_backward() -> bool:
    """Say whether the autograd engine is at work in this thread, where checkpoints run their layers again."""
    return torch._C._current_graph_task_id() != -1


def _refuse_vanishing_noise(layers: list[nn.Module], eps: float) -> None:
    """Compare eps with the resolution around 1 of half-precision weights, in whose dtype the states are rounded."""
    dtypes = {parameter.dtype for layer in layers for parameter in layer.parameters()}
    for dtype in dtypes & {torch.bfloat16, torch.float16}:
        resolution = torch.finfo(dtype).eps
        effect = f"hype_eps {eps:g}: the weights are {dtype}, whose resolution of {resolution:.1g} around 1 rounds"
        if resolution > 10 * eps:
            raise ValueError(
                f"{effect} most of the noise away: load the model in float32 (and use autocast if need be), raise "
                "hype_eps, or set allow_vanishing_noise"
            )
        if resolution > eps / 4:
            logger.warning("%s part of the noise away: hype.measure_noise tells how much", effect)


def _hooks_on(model: nn.Module) -> list[_Hook]:
    """List the hooks of every HyPe on the model."""
    hooks = []
    for module in model.modules():
        for register in (module.register_forward_pre_hook, module.register_forward_hook):
            handle = register(print)  # torch has no public list of a module's hooks, but a handle refers to it
            hooks += [hook for hook in (handle.hooks_dict_ref() or {}).values() if isinstance(hook, _Hook)]
            handle.remove()
    return hooks


def _forget_compiled_code() -> None:
    """Have torch.compile look at its models again: it does not notice hooks that come or go."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
