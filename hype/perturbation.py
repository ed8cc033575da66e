"""HyPe: add noise to the hidden states that enter each Transformer layer (paper, section 3, algorithm 1).

In training, for layers i = 1 ... n:  h_{i+1} = g_i(h_i + e_i),  with fresh noise e_i ~ N(0, eps^2) or U(-eps, eps) in
every forward pass. No noise is added in evaluation mode or after the last layer, and the model gets no new parameters.
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

# Each sampler fills a tensor in place with noise of scale eps. "uniform" is the paper's; the released code has
# "uniform_positive" instead.
SAMPLERS: dict[str, Callable[[torch.Tensor, float, torch.Generator | None], torch.Tensor]] = {
    "normal": lambda noise, eps, rng: noise.normal_(0, eps, generator=rng),
    "uniform": lambda noise, eps, rng: noise.uniform_(-eps, eps, generator=rng),
    "uniform_positive": lambda noise, eps, rng: noise.uniform_(0, eps, generator=rng),
}
DATA_PARALLEL = "DataParallel threads draw noise in any order: start one process per GPU with torchrun"
CHOICES = {"hype_type": tuple(SAMPLERS), "hype_stream": ("own", "global")}


class HyPe:
    """Attach HyPe's noise to a model until `remove()` is called or the `with` block ends.

    Noise is drawn and added in float32 (float64 for float64 states), even under autocast, and the sum is rounded to the
    dtype of the hidden states. In training mode, most architectures' `output_hidden_states` returns the noised states.

    Args:
        model: a transformers model or a module that contains one, plain or wrapped in DDP, torch.compile or PEFT.
        hype_type: "normal" for N(0, eps^2), HyPe-N; "uniform" for U(-eps, eps), HyPe-U; or "uniform_positive" for
            U(0, eps), as in the released code.
        hype_eps: scale of the noise, in the units of the hidden states; 0 adds no noise.
        hype_top_layers, hype_low_layers: only the k layers nearest the head, the input, or both (table 18); 0: all.
        hype_layers: instead, exactly these layers, counted from 0, encoder before decoder. Layers that share weights
            (ALBERT) count once per call.
        hype_intermediate, hype_only_intermediate: add noise also, or only, after self-attention (appendix G, table 17);
            in decoders of T5 and BART after cross-attention.
        hype_layers_path: attribute path of the layers if the architecture is not in the table of architectures.
        hype_stream: "own" seeds the noise from (seed, rank, step) and leaves torch's generators alone, so that runs
            with and without noise have the same dropout masks. "global" draws from torch's generator; losses that
            replay a pass from its random state (GradCache) need it, and so does torch.compile for a single graph.
        allow_vanishing_noise: attach even if the dtype of the weights rounds most of the noise away.
        seed: seed of the own stream; defaults to torch's (`torch.manual_seed`).
        rank: rank for the own stream; defaults to the rank in torch.distributed, or 0.

    Raises:
        ValueError: a value is out of range, the model is not supported, or it already has HyPe.
        TypeError: `model` is no model.

    Example:
        with HyPe(model, "uniform", 1e-5) as hype:
            train(model)  # call hype.set_step(step) before each step, so that a resumed run reproduces the same noise
    """

    def __init__(
        self,
        model: nn.Module,
        hype_type: str = "normal",
        hype_eps: float = 1e-5,
        *,
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
        self.sampler, self.eps = hype_type, check_values(hype_eps, hype_type=hype_type, hype_stream=hype_stream)
        self.own_stream, self.seed = hype_stream == "own", torch.initial_seed() if seed is None else seed
        is_ddp = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if is_ddp else 0
        self.step, self.draw_count = 0, 0  # optimiser step; number of draws in it
        self.enabled = True
        self._is_entered = False
        self._may_warn = not allow_vanishing_noise  # once, if the dtype of the hidden states rounds the noise away
        self.observer: Callable[[torch.Tensor, torch.Tensor], Any] | None = None  # called with (hidden, noised hidden)
        self.hooks: list[_Hook] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._calls = {"input": 0, "attention": 0}  # of weight-sharing layers so far in this forward pass
        self._has_graph = True  # whether gradients were enabled when this forward pass began

        model = unwrap(model)
        if isinstance(model, nn.DataParallel):
            raise ValueError(DATA_PARALLEL)
        if _hooks_on(model):
            raise ValueError("this model has HyPe already: remove it first, for example with HyPe.remove_from(model)")
        found = find_layers(model, hype_layers_path)
        self.count, self.state_positions = found.count, found.architecture.state_positions
        self._is_proven = found.is_in_table  # that the layers found are those that run
        self.layers = select_layers(self.count, hype_top_layers, hype_low_layers, hype_layers)
        if self.eps == 0:
            return
        if not allow_vanishing_noise:
            _refuse_vanishing_noise([layer for layer, _ in found.layers], self.eps)
        at_attention = hype_intermediate or hype_only_intermediate
        if at_attention and not found.is_in_table:
            raise ValueError("noise after self-attention needs a model of the table in hype/architectures.py")
        if at_attention and all("encoder_attn" in name for _, name in found.layers):
            raise ValueError("noise after attention: a decoder alone has no cross-attention; leave the option out")
        places = [(layer, layer.get_submodule(name) if at_attention else None) for layer, name in found.layers]
        for i, (layer, attention) in enumerate(places):
            index = None if found.architecture.calls else i  # None: layers share weights; their calls are counted
            if index is None or index in self.layers:
                if not hype_only_intermediate:
                    self._add(layer.register_forward_pre_hook, "input", index, with_kwargs=True)
                if attention is not None:
                    self._add(attention.register_forward_hook, "attention", index)
            if not found.is_in_table:  # any layer that runs is proof: LayerDrop may skip the chosen ones
                self._handles.append(layer.register_forward_pre_hook(self._prove))
        for entry in {model, found.body}:  # the body may be called without its head
            self._handles.append(entry.register_forward_pre_hook(self._start_forward))
            self._handles.append(entry.register_forward_hook(self._end_forward))
        _forget_compiled_code()

    def _add(self, register: Callable[..., Any], site: str, index: int | None, **options: Any) -> None:
        self.hooks.append(_Hook(self, site, index))
        self._handles.append(register(self.hooks[-1], **options))

    def perturb(self, hidden: torch.Tensor, *draw: int) -> torch.Tensor:
        """Return `hidden` (any shape, floating point) plus noise; hooks pass the number of the `draw` in its step."""
        if not torch.is_floating_point(hidden):
            raise ValueError("a layer's first argument is not a floating-point tensor: noise cannot be added to it")
        if self.own_stream and not draw:  # not called by a hook
            draw, self.draw_count = (self.draw_count,), self.draw_count + 1
        noise = torch.empty_like(hidden, dtype=torch.promote_types(hidden.dtype, torch.float32), requires_grad=False)
        noise = self._own_draw(noise, draw) if self.own_stream else SAMPLERS[self.sampler](noise, self.eps, None)
        # Adding in place, into the noise tensor, takes one allocation and two passes over memory.
        noised = noise.add_(hidden).to(hidden.dtype)
        if self._may_warn and not torch.compiler.is_compiling() and torch.finfo(hidden.dtype).eps > 10 * self.eps > 0:
            self._may_warn = False
            logger.warning(
                f"hype_eps {self.eps:g}: the hidden states are {hidden.dtype}, which rounds most of the noise away: "
                "increase hype_eps, or train in float32 without autocast"
            )
        if self.observer is not None:
            self.observer(hidden, noised)
        return noised

    @torch.compiler.disable
    def _own_draw(self, noise: torch.Tensor, draw: tuple[int, ...]) -> torch.Tensor:
        key = map(int, (self.seed, self.rank, self.step, *draw))  # NumPy's integers are written differently
        rng = torch.Generator(noise.device).manual_seed(stream_seed(*key))
        return SAMPLERS[self.sampler](noise, self.eps, rng)

    def set_step(self, step: int) -> None:
        """Start optimiser step `step` (from 0), whose noise depends on (seed, rank, step) and on no earlier step."""
        self.step, self.draw_count = step, 0
        for hook in self.hooks:
            hook.draws.clear()

    @contextmanager
    def paused(self) -> Iterator["HyPe"]:
        """Disable the noise inside the `with` block, for example for the reference pass of a preference loss."""
        before, self.enabled = self.enabled, False
        try:
            yield self
        finally:
            self.enabled = before

    def remove(self) -> None:
        """Remove all hooks permanently; calling it again does nothing."""
        if self._handles:
            _forget_compiled_code()
        while self._handles:
            self._handles.pop().remove()

    @staticmethod
    def remove_from(model: nn.Module) -> None:
        """Remove HyPe from any model, such as a copied or unpickled one that has inherited its original's noise."""
        for hook in _hooks_on(unwrap(model)):
            hook.hype.remove()

    def __enter__(self) -> "HyPe":
        if self.eps > 0 and not self._handles:
            raise ValueError("this HyPe was removed and adds no noise: create a new one")
        if self._is_entered:
            raise ValueError("an inner `with` block would end the noise of the outer one: enter a HyPe once")
        self._is_entered = True
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def _start_forward(self, module: nn.Module, args: Any) -> None:
        if getattr(module, "_is_replica", False):  # the model was wrapped after HyPe was attached
            raise ValueError(DATA_PARALLEL)
        if not torch.compiler.is_compiling() and not in_backward():
            self._calls = {"input": 0, "attention": 0}
            self._has_graph = torch.is_grad_enabled()

    def _prove(self, layer: nn.Module, args: Any) -> None:
        self._is_proven = True

    def _end_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        if module.training and not self._is_proven:
            raise ValueError("none of the layers ran in the first forward pass: give the right hype_layers_path")


class _Hook:
    """A hook that adds noise at one `site`: the input of a layer, or the output of its attention.

    Gradient checkpointing runs a layer again in the backward pass, where it must get the same noise as in the forward
    pass. The hook repeats its draw if it has made only one since the last backward pass or `set_step`, or else raises.
    """

    def __init__(self, hype: HyPe, site: str, index: int | None):
        self.hype, self.site, self.index = hype, site, index
        self.is_numbered = hype.own_stream or (index is None and len(hype.layers) < hype.count)
        self.draws: set[tuple[int, ...] | None] = set()  # since the last backward pass; at most two, which differ
        self.is_repeated = False

    def __call__(self, module: nn.Module, args: Any, rest: Any) -> Any:
        """Act as a forward pre-hook (`rest` is the keyword arguments) or as a forward hook (`rest` is the output)."""
        if not module.training:
            return None
        if torch.compiler.is_compiling() and not self.is_numbered:
            draw = () if self.hype.enabled else None  # torch replays its generator when it recomputes
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
            raise ValueError(
                f"a layer gets only keywords ({', '.join(rest)}), and it is not clear which is its input: leave its "
                "list out of hype_layers_path, or name the input hidden_states"
            )
        return args, {**rest, names[0]: self._perturbed(rest[names[0]], draw)}

    @torch.compiler.disable
    def _next_draw(self) -> tuple[int, ...] | None:
        """Return the number of this call's draw within its step, () where none is needed, or None for no noise."""
        hype, index, draw = self.hype, self.index, None
        if in_backward() and (self.draws or hype.own_stream):
            if len(self.draws) != 1:
                remedy = "run passes without noise under torch.no_grad(), or turn gradient checkpointing off"
                raise ValueError(
                    "a layer runs again in the backward pass (gradient checkpointing, or a two-pass loss such as "
                    "CachedMultipleNegativesRankingLoss) after forward passes with different noise or without noise: "
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
        for position in self.hype.state_positions:
            if position == 0 or states[position] is not None:
                noised[position] = self.hype.perturb(states[position], *draw, position)
        return tuple(noised)


def check_values(hype_eps: float | str, **options: Any) -> float:
    """Check the options that do not depend on the model, and return eps as a float (YAML reads 1e-5 as a string).

    Raises:
        ValueError: a value is out of range.
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
    """Hash a key such as (seed, rank, step) to a 63-bit seed, the same on every machine and in every version."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def in_backward() -> bool:
    """Return whether this thread is in a backward pass, in which gradient checkpointing runs layers again."""
    return torch._C._current_graph_task_id() != -1


def _refuse_vanishing_noise(layers: list[nn.Module], eps: float) -> None:
    """Raise an error if half-precision weights round most of the noise away; warn if they round away part of it."""
    dtypes = {parameter.dtype for layer in layers for parameter in layer.parameters()}
    for dtype in dtypes & {torch.bfloat16, torch.float16}:
        resolution = torch.finfo(dtype).eps
        effect = f"hype_eps {eps:g}: the weights are {dtype}, whose resolution of {resolution:.1g} around 1 rounds"
        if resolution > 10 * eps:
            raise ValueError(
                f"{effect} most of the noise away: load the model in float32 (with autocast if needed), increase "
                "hype_eps, or set allow_vanishing_noise"
            )
        if resolution > eps / 4:
            logger.warning("%s part of the noise away: hype.measure_noise shows how much", effect)


def _hooks_on(model: nn.Module) -> list[_Hook]:
    """Return the hooks of every HyPe that is attached to the model."""
    hooks = []
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
            continue
        for register in (module.register_forward_pre_hook, module.register_forward_hook):
            handle = register(print)  # torch has no public list of a module's hooks, but a handle refers to it
            hooks += [hook for hook in (handle.hooks_dict_ref() or {}).values() if isinstance(hook, _Hook)]
            handle.remove()
    return hooks


def _forget_compiled_code() -> None:
    """Make torch.compile compile its models again, because it does not notice added or removed hooks."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
