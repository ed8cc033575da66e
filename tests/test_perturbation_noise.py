"""The noise itself: distribution, independence, precision, and the two random streams."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from hype import HyPe
from tests.by_hand import Recorded
from tests.tiny import tiny_batch, tiny_model

EPS = 1e-2
# 4 standard errors of the correlation of 100,000 independent pairs.
SAMPLE_SHAPE = (100, 10, 100)
CORRELATION_LIMIT = 4 / 100_000**0.5
KINDS = {
    "normal": ({"hype_type": "normal"}, stats.norm(0, EPS)),
    "uniform": ({"hype_type": "uniform"}, stats.uniform(-EPS, 2 * EPS)),
    "positive": ({"hype_type": "uniform_positive"}, stats.uniform(0, EPS)),
}


class Zero(nn.Module):
    """A layer that returns zeros, so that the next layer's input is only its noise."""

    def forward(self, state):
        return torch.zeros_like(state)


class ZeroModel(nn.Module):
    def __init__(self, layer_count):
        super().__init__()
        self.layers = nn.ModuleList(Zero() for _ in range(layer_count))

    def forward(self, state):
        for layer in self.layers:
            state = layer(state)
        return state


def draw(shape=SAMPLE_SHAPE, layer_count=1, forward_count=1, step=0, **options) -> list[torch.Tensor]:
    """Return the noise of every draw in `forward_count` forwards of one step."""
    recorded, model = Recorded(), ZeroModel(layer_count).train()
    with HyPe(model, **{"hype_eps": EPS, "hype_layers_path": "layers", **options}) as hype:
        hype.observer = recorded.observe
        hype.set_step(step)
        for _ in range(forward_count):
            model(torch.zeros(shape))
    return [noised for _, noised in recorded.draws]


def xlnet_streams() -> list[torch.Tensor]:
    model, recorded = tiny_model("xlnet", dropout=0.0, d_model=100).train(), Recorded()
    ids = tiny_batch(50, 20, labels=False)["input_ids"]
    with HyPe(model, "normal", 1.0) as hype, torch.no_grad():
        hype.observer = recorded.observe
        model(ids, perm_mask=torch.zeros(50, 20, 20), target_mapping=torch.eye(20).expand(50, 20, 20))
    assert len(recorded.draws) == 6
    return [recorded.noise(index) for index in range(6)]


def neighbours(shape, select):
    (noise,) = draw(shape)
    return [noise[select(slice(1, None))], noise[select(slice(-1))]]


INDEPENDENT = {
    "layers": lambda: draw(layer_count=4),
    "forwards of one step": lambda: draw(forward_count=4),
    "steps": lambda: [draw(step=step)[0] for step in range(4)],
    "ranks": lambda: [draw(rank=rank)[0] for rank in range(4)],
    "seeds": lambda: [draw(seed=seed)[0] for seed in range(4)],
    # (seed, rank, step) = (1, 0, 0), (0, 1, 0), (0, 0, 1) and layer 1 of (0, 0, 0) are four streams.
    "the numbers of its key": lambda: [draw(seed=1)[0], draw(rank=1)[0], draw(step=1)[0], draw(layer_count=2)[1]],
    "the samples of a batch": lambda: draw((3, 1000, 100))[0],
    "tokens": lambda: neighbours((1000, 101, 1), lambda part: (slice(None), part)),
    "dimensions": lambda: neighbours((1000, 1, 101), lambda part: (..., part)),
    "the streams of XLNet": xlnet_streams,
}


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_the_documented_distribution(kind):
    options, distribution = KINDS[kind]
    values = draw((2, 500, 200), **options)[0].numpy().ravel()
    error = distribution.std() / values.size**0.5
    assert stats.kstest(values, distribution.cdf).pvalue > 0.01
    assert abs(values.mean() - distribution.mean()) < 4 * error
    assert values.std() == pytest.approx(distribution.std(), rel=0.01)
    low, high = distribution.support()
    assert low <= values.min() and values.max() <= high
    if kind != "normal":
        assert values.min() < low + EPS / 1000 and high - EPS / 1000 < values.max()


@pytest.mark.parametrize("across", INDEPENDENT)
def test_noise_is_independent_across(across):
    flat = [np.asarray(noise, dtype=np.float64).ravel() for noise in INDEPENDENT[across]()]
    assert len(flat) > 1
    for a, b in itertools.combinations(flat, 2):
        assert a.size == 100_000
        assert abs(np.corrcoef(a, b)[0, 1]) < CORRELATION_LIMIT


def test_the_noise_is_that_of_seed_rank_and_step_and_does_not_depend_on_what_came_before():
    recorded, model = Recorded(), ZeroModel(2).train()
    with HyPe(model, hype_layers_path="layers", seed=3, rank=1) as hype:
        hype.observer = recorded.observe
        for step, shape in ((0, (2, 5)), (4, (1, 1)), (5, (3, 4))):
            hype.set_step(step)
            model(torch.zeros(shape))
    torch.manual_seed(1)
    alone = draw((3, 4), 2, step=5, seed=3, rank=1, hype_eps=1e-5)
    assert all(torch.equal(a, b) for (_, a), b in zip(recorded.draws[-2:], alone, strict=True))


def test_the_global_stream_is_that_of_torch():
    torch.manual_seed(5)
    drawn = draw((3, 4), 2, hype_stream="global")
    torch.manual_seed(5)
    by_hand = [torch.empty(3, 4).normal_(0, EPS) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(drawn, by_hand, strict=True))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_noised_state_is_the_rounded_sum_in_float32_or_float64(dtype, autocast):
    state = torch.randn(50, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    wide, draws = torch.promote_types(dtype, torch.float32), []
    for entering in (torch.zeros_like(state, dtype=wide), state):  # with the same key
        model = ZeroModel(1).train()
        with HyPe(model, "normal", EPS, hype_layers_path="layers") as hype, torch.autocast("cpu", enabled=autocast):
            hype.observer = lambda clean, noised: draws.append(noised)
            model(entering)
    noise, noised = draws
    assert noise.dtype == wide and noised.dtype == dtype
    assert torch.equal(noised, (state.to(wide) + noise).to(dtype))
    assert torch.equal(noise, noise.float().to(wide)) == (dtype != torch.float64)
