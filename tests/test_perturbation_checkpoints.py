"""Layers recomputed in the backward pass get the noise of their forward, or the run is refused with a remedy."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hype import HyPe
from hype.perturbation import in_backward
from tests.tiny import CONFIGS, HOOKS_ARE_OUTSIDE_CHECKPOINTS, enable_checkpointing, tiny_batch, tiny_model

BATCH = tiny_batch()
# A reference pass under no_grad has no gradient, about which a reentrant checkpoint warns.
pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
STATES = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.dropout = nn.Linear(8, 8), nn.Dropout(0.1)

    def forward(self, state):
        return state + torch.tanh(self.dropout(self.linear(state)))


class CallsInCheckpoints(nn.Module):
    """Call each layer, including its hooks, inside a checkpoint, as transformers up to 5.22 does."""

    def __init__(self, use_reentrant: bool | None):
        super().__init__()
        self.embedding = nn.Linear(8, 8)
        self.layers, self.use_reentrant = nn.ModuleList(Layer() for _ in range(3)), use_reentrant

    def forward(self, state):
        state = self.embedding(state)
        for layer in self.layers:
            if self.use_reentrant is None:
                state = layer(state)
            else:
                state = checkpoint(layer, state, use_reentrant=self.use_reentrant)
        return {"loss": state.square().mean()}


def once(loss, hype):
    loss().backward()


def accumulated(loss, hype):
    loss().backward()
    loss().backward()


def twice_through_one_graph(loss, hype):
    kept = loss()
    kept.backward(retain_graph=True)
    kept.backward()


def without_noise(loss, hype):
    with hype.paused():
        loss().backward()


def reference_pass(loss, hype):
    with torch.no_grad(), hype.paused():
        loss()


def after_a_reference_pass_without_noise(loss, hype):
    reference_pass(loss, hype)
    loss().backward()


def before_a_reference_pass_without_noise(loss, hype):
    trained = loss()
    reference_pass(loss, hype)
    trained.backward()


def of_two_steps_with_a_forward_that_is_thrown_away(loss, hype):
    loss()
    hype.set_step(1)
    loss().backward()


def of_two_forwards(loss, hype):
    (loss() + 2 * loss()).backward()


def after_a_reference_pass_with_noise(loss, hype):
    kept = loss()
    with torch.no_grad():
        loss()
    kept.backward()


def after_the_next_step_has_begun(loss, hype):
    kept = loss()
    hype.set_step(1)
    kept.backward()


ONE_FORWARD = [
    once, accumulated, twice_through_one_graph, without_noise, after_a_reference_pass_without_noise,
    before_a_reference_pass_without_noise, of_two_steps_with_a_forward_that_is_thrown_away,
]  # fmt: skip
SEVERAL_FORWARDS = [of_two_forwards, after_a_reference_pass_with_noise, after_the_next_step_has_begun]


def gradients(model, inputs, pattern, **options):
    """Return all gradients after one pattern of forward and backward passes."""
    torch.manual_seed(0)
    with HyPe(model.train(), "normal", 0.5, **options) as hype:
        pattern(lambda: model(**inputs)["loss"], hype)
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def own_gradients(pattern, use_reentrant, **options):
    """Return the gradients of the model above; without checkpoints if use_reentrant is None."""
    torch.manual_seed(0)
    model = CallsInCheckpoints(use_reentrant)
    return gradients(model, {"state": STATES}, pattern, hype_layers_path="layers", **options)


def transformer_gradients(model_type, pattern, use_reentrant, **options):
    model = tiny_model(model_type)
    if use_reentrant is not None:
        if not model.supports_gradient_checkpointing:
            pytest.skip(f"transformers has no gradient checkpointing for {model_type}")
        enable_checkpointing(model, use_reentrant)
    return gradients(model, BATCH, pattern, **options)


def assert_equal_gradients(actual, expected):
    assert actual.keys() == expected.keys() and len(expected) >= 8
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("pattern", ONE_FORWARD)
@pytest.mark.parametrize("stream", ["own", "global"])
def test_one_forward_before_each_backward_is_repeated(pattern, stream, use_reentrant):
    expected = own_gradients(pattern, None, hype_stream=stream)
    assert_equal_gradients(own_gradients(pattern, use_reentrant, hype_stream=stream), expected)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("pattern", SEVERAL_FORWARDS)
def test_several_forwards_before_a_backward_are_refused_and_the_remedy_works(pattern, use_reentrant):
    with pytest.raises(ValueError, match=r'checkpointing.*hype_stream="global"'):
        own_gradients(pattern, use_reentrant)
    expected = own_gradients(pattern, None, hype_stream="global")
    assert_equal_gradients(own_gradients(pattern, use_reentrant, hype_stream="global"), expected)


@pytest.mark.parametrize("stream", ["own", "global"])
def test_forwards_with_and_without_noise_before_a_backward_are_refused(stream):
    def pattern(loss, hype):
        with hype.paused():
            clean = loss()
        (clean + loss()).backward()

    with pytest.raises(ValueError, match="checkpointing"):
        own_gradients(pattern, False, hype_stream=stream)


def test_what_was_refused_does_not_disturb_the_next_step():
    def pattern(loss, hype):
        with pytest.raises(ValueError):
            of_two_forwards(loss, hype)
        hype.set_step(1)
        loss().backward()

    own_gradients(pattern, False)


def test_a_reference_pass_through_the_body_alone_is_one_too():
    model = tiny_model("bert").train()
    enable_checkpointing(model)
    with HyPe(model, hype_intermediate=True) as hype:
        reference_pass(lambda: model.bert(BATCH["input_ids"]), hype)
        model(**BATCH).loss.backward()


def test_several_forwards_are_refused_after_attention_which_is_inside_of_transformers_checkpoints():
    with pytest.raises(ValueError, match='hype_stream="global"'):
        transformer_gradients("bert", of_two_forwards, False, hype_intermediate=True)


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        (of_two_forwards if HOOKS_ARE_OUTSIDE_CHECKPOINTS else once, {}),
        (once, {"hype_intermediate": True}),
        (of_two_forwards, {"hype_intermediate": True, "hype_stream": "global"}),
    ],
    ids=["input", "both", "both, global"],
)
@pytest.mark.parametrize("model_type", CONFIGS)
def test_gradients_of_every_architecture_are_unchanged_by_checkpointing(model_type, pattern, options):
    expected = transformer_gradients(model_type, pattern, None, **options)
    for use_reentrant in (False, True):
        assert_equal_gradients(transformer_gradients(model_type, pattern, use_reentrant, **options), expected)


def body_in_a_checkpoint(model_type, calls, is_checkpointed, **options):
    """Return the gradient at the embeddings of a model called `calls` times, all inside one checkpoint."""
    model = tiny_model(model_type).double().train()
    width = model.config.embedding_size if model_type == "albert" else model.config.hidden_size
    embeddings = torch.randn(4, 7, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    forward = lambda e: sum(model(inputs_embeds=e).logits for _ in range(calls)).square().sum()  # noqa: E731
    torch.manual_seed(0)
    with HyPe(model, "normal", 0.5, **options):
        embeddings.requires_grad_()
        loss = checkpoint(forward, embeddings, use_reentrant=False) if is_checkpointed else forward(embeddings)
        loss.backward()
    return embeddings.grad


@pytest.mark.parametrize(("model_type", "calls"), [("albert", 1), ("bert", 2)], ids=["shared weights", "two forwards"])
def test_calls_that_cannot_be_told_apart_in_a_checkpoint_are_refused_and_the_remedy_works(model_type, calls):
    with pytest.raises(ValueError, match='hype_stream="global"'):
        body_in_a_checkpoint(model_type, calls, True)
    expected = body_in_a_checkpoint(model_type, calls, False, hype_stream="global")
    torch.testing.assert_close(body_in_a_checkpoint(model_type, calls, True, hype_stream="global"), expected)


def cached_loss(tiny_folder, stream, is_checkpointed):
    """Return all draws of CachedMultipleNegativesRankingLoss, whose second pass runs in the first one's backward."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model, draws = SentenceTransformer(str(tiny_folder), device="cpu").train(), []
    if is_checkpointed:
        enable_checkpointing(model[0].auto_model)
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)
    features = [model.preprocess([f"{word} {i}" for i in range(4)]) for word in ("the man", "a woman")]
    with HyPe(model[0].auto_model, "normal", 0.5, hype_stream=stream, hype_intermediate=is_checkpointed) as hype:
        hype.observer = lambda clean, noised: draws.append((in_backward(), noised.detach() - clean.detach()))
        loss(features, None).backward()
    return draws


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_the_cached_loss_of_sentence_transformers_gets_equal_noise_in_both_passes(is_checkpointed, tiny_folder):
    draws = cached_loss(tiny_folder, "global", is_checkpointed)
    first = [noise for is_second, noise in draws if not is_second]
    second = [noise for is_second, noise in draws if is_second]
    # 2 layers draw once, or twice with noise after attention; checkpoints then repeat the draws inside them.
    count = 4 if is_checkpointed else 2
    repeated = 0 if not is_checkpointed else 2 if HOOKS_ARE_OUTSIDE_CHECKPOINTS else 4
    assert len(first) == 4 * count and len(second) == 4 * (count + repeated)  # 2 columns of 2 mini-batches
    for i in range(4):
        again = second[(count + repeated) * i :]
        torch.testing.assert_close(again[:count], first[count * i : count * (i + 1)], rtol=0, atol=1e-6)


def test_the_cached_loss_is_refused_with_the_own_stream(tiny_folder):
    with pytest.raises(ValueError, match=r'CachedMultipleNegativesRankingLoss.*hype_stream="global"'):
        cached_loss(tiny_folder, "own", False)


def test_in_backward_is_true_in_the_backward_pass_alone():
    """The noise relies on this one private function of torch; if the test fails, look for its successor."""
    seen, x = [in_backward()], torch.ones(1, requires_grad=True)
    y = x * 2
    y.register_hook(lambda grad: seen.append(in_backward()))
    y.backward()
    (gradient,) = torch.autograd.grad((x * x).sum(), x, create_graph=True)
    assert [*seen, in_backward()] == [False, True, False] and gradient.item() == 2
