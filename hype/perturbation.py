"""HyPe: noise on the hidden states that enter each Transformer layer (paper, section 3, algorithm 1).

For i = 1 ... n in training:  h_{i+1} = g_i(h_i + e_i),  e_i ~ N(0, eps^2) or U(-eps, eps), drawn anew at every forward.
Nothing is added in evaluation, nor after the last layer; no parameter and no key of the state dict is added.
"""

import hashlib
import math
import sys
from contextlib import contextmanager
from operator import attrgetter

import torch
from torch import nn

from hype.architectures import architecture_of, base_of, call_count, is_in_table, layers_of, select_layers, unwrap
from hype.noise_hook import NoiseHook, in_backward, noise_hooks


def _normal(noise: torch.Tensor, eps: float, rng: torch.Generator | None) -> torch.Tensor:
    return noise.normal_(0, eps, generator=rng)


def _uniform(noise: torch.Tensor, eps: float, rng: torch.Generator | None) -> torch.Tensor:
    return noise.uniform_(-eps, eps, generator=rng)


def _positive(noise: torch.Tensor, eps: float, rng: torch.Generator | None) -> torch.Tensor:
    return noise.uniform_(0, eps, generator=rng)


# (hype_type, hype_uniform_support) -> the in-place fill of a tensor with noise of scale eps.
FILLS = {
    ("normal", "symmetric"): _normal,
    ("normal", "positive"): _normal,
    ("uniform", "symmetric"): _uniform,
    ("uniform", "positive"): _positive,
}


def stream_seed(*key: int | str) -> int:
    """Hash a key such as (seed, rank, step) to a seed of 63 bits, the same on every machine and in every version."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class HyPe:
    """Attach the perturbation to `model`; `remove()`, or the end of a `with` block, detaches it.

    Noise is added in training mode alone. It is drawn and added in float32 (float64 for float64 states), also under
    autocast, and rounded to the dtype of the state: in bfloat16 and float16 most noise of 1e-5 is rounded away.
    `output_hidden_states` in training records the noised states of most architectures.

    Args:
        hype_type, hype_eps: "normal" N(0, eps^2), HyPe-N; "uniform", HyPe-U. eps 0 attaches nothing.
        hype_uniform_support: "symmetric" U(-eps, eps), the paper; "positive" U(0, eps), the released code.
        hype_top_layers, hype_low_layers: the k layers nearest the head, the input, or both (table 18); 0: no limit.
        hype_layers: indices from 0, over encoder, then decoder; excludes the two above. Layers that share weights
            (ALBERT) count once per call.
        hype_intermediate, hype_only_intermediate: noise also, or alone, after self-attention (appendix G, table 17).
        hype_layers_path: attribute path of the layer list of an architecture that is not in the table.
        hype_stream: "own" draws from (seed, rank, step), leaving torch's generators alone; "global" from torch's.
        seed, rank: of the own stream. seed defaults to torch's (`torch.manual_seed`), rank to the process's in
            torch.distributed, else 0. A new HyPe begins with the noise of step 0: see `set_step`.

    Raises:
        ValueError: a value out of its range, a model that cannot take HyPe, or one that has it already.
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
        hype_layers: list[int] | None = None,
        hype_intermediate: bool = False,
        hype_only_intermediate: bool = False,
        hype_layers_path: str | None = None,
        hype_stream: str = "own",
        seed: int | None = None,
        rank: int | None = None,
    ):
        if (hype_type, hype_uniform_support) not in FILLS:
            raise ValueError(f"hype_type {hype_type}, support {hype_uniform_support}: give one of {list(FILLS)}")
        if not (math.isfinite(hype_eps) and hype_eps >= 0):
            raise ValueError(f"hype_eps {hype_eps}: give a finite number of at least 0")
        if hype_stream not in ("own", "global"):
            raise ValueError(f"hype_stream {hype_stream}: give own or global")
        self.fill, self.eps = FILLS[hype_type, hype_uniform_support], hype_eps
        self.own_stream, self.seed = hype_stream == "own", torch.initial_seed() if seed is None else seed
        is_ddp = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if is_ddp else 0
        self.enabled, self.step, self.draw_count, self.is_removed = True, 0, 0, False
        self.calls = {"input": 0, "attention": 0}  # of layers that share weights, in this forward
        self.observer = None  # called with every state and its noised version; see diagnostics
        self.hooks: list[NoiseHook] = []
        self._handles = []
        model = unwrap(model)
        if isinstance(model, nn.DataParallel):
            raise ValueError("DataParallel's threads would draw in any order: start one process per GPU, by torchrun")
        if noise_hooks(model):
            raise ValueError("this model has HyPe already: remove the first, or all by HyPe.remove_from(model)")
        self.count = call_count(model, hype_layers_path)
        self.layers = select_layers(self.count, hype_top_layers, hype_low_layers, hype_layers)
        if hype_eps > 0:
            at_input, at_attention = not hype_only_intermediate, hype_intermediate or hype_only_intermediate
            try:
                self._attach(model, hype_layers_path, at_input, at_attention)
            except BaseException:
                self.remove()
                raise

    def _attach(self, model: nn.Module, layers_path: str | None, at_input: bool, at_attention: bool) -> None:
        architecture = architecture_of(model, layers_path)
        self._is_checked = layers_path is not None or not is_in_table(model)
        # The global stream needs no count of its draws, and a compiler can then see through the hook; but inside a
        # checkpoint (after attention) a forward without noise must be remembered.
        self.is_counted = self.own_stream or self._is_checked or at_attention or bool(architecture.calls)
        layers = layers_of(model, layers_path)
        if at_attention and not all(stack.attention for _, stack in layers):
            raise ValueError("noise after self-attention needs an architecture of the table, not a bare path")
        for index, (layer, stack) in enumerate(layers):
            if not architecture.calls and index not in self.layers:
                continue
            fixed = None if architecture.calls else index
            if at_input:
                hook = NoiseHook(self, "input", fixed, architecture.streams)
                self._handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
                self.hooks.append(hook)
            if at_attention:
                hook = NoiseHook(self, "attention", fixed, architecture.streams)
                self._handles.append(attrgetter(stack.attention)(layer).register_forward_hook(hook))
                self.hooks.append(hook)
        for entry in {model, base_of(model)}:  # the body may be called without its head
            self._handles.append(entry.register_forward_pre_hook(self._start_forward))
            if self._is_checked:
                self._handles.append(entry.register_forward_hook(self._check_calls))
        _forget_compiled_code()

    @torch.compiler.disable
    def _start_forward(self, module, args) -> None:
        if not in_backward():
            self.calls = {"input": 0, "attention": 0}
            for hook in self.hooks:
                hook.fired = 0

    @torch.compiler.disable
    def _check_calls(self, module, args, output) -> None:
        # Of a list that is right, LayerDrop may leave out some, and a model may call its body twice.
        if module.training and self._is_checked and not any(hook.fired for hook in self.hooks):
            raise ValueError(
                f"{type(module).__name__}: none of the layers ran in the first forward: name the right list with "
                "hype_layers_path"
            )
        self._is_checked = self._is_checked and not module.training

    def set_step(self, step: int) -> None:
        """Begin optimiser step `step`: its noise depends on (seed, rank, step) and nothing before it."""
        self.step, self.draw_count = step, 0
        for hook in self.hooks:
            hook.past.clear()

    @contextmanager
    def paused(self):
        """Add no noise inside the block."""
        before, self.enabled = self.enabled, False
        try:
            yield self
        finally:
            self.enabled = before

    def remove(self) -> None:
        """Detach every hook, for good; a second call does nothing."""
        self.is_removed = True
        if self._handles:
            _forget_compiled_code()
        while self._handles:
            self._handles.pop().remove()

    @staticmethod
    def remove_from(model: nn.Module) -> None:
        """Detach the HyPe of a model that was copied or pickled with it: such a copy keeps its noise."""
        for hook in noise_hooks(model):
            hook.hype.remove()

    def __enter__(self):
        if self.is_removed:
            raise ValueError("this HyPe was removed and adds no noise: make a new one")
        return self

    def __exit__(self, *exception):
        self.remove()

    def noised(self, hidden: torch.Tensor, *draw: int) -> torch.Tensor:
        """Return `hidden` (any shape, floating) plus noise; `draw` numbers the draw within its step."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        noise = torch.empty_like(hidden, dtype=wide, requires_grad=False)
        noise = self._own_draw(noise, draw) if self.own_stream else self.fill(noise, self.eps, None)
        # The sum is written into the noise's memory: one allocation and two passes, whatever the size.
        noised = noise.add_(hidden).to(hidden.dtype)
        if self.observer is not None:
            self.observer(hidden, noised)
        return noised

    @torch.compiler.disable
    def _own_draw(self, noise: torch.Tensor, draw: tuple[int, ...]) -> torch.Tensor:
        rng = torch.Generator(noise.device).manual_seed(stream_seed(self.seed, self.rank, self.step, *draw))
        return self.fill(noise, self.eps, rng)


def _forget_compiled_code() -> None:
    """Have torch.compile look at its models anew: it does not notice hooks that come or go."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
