"""R3F's loss against the reference's numbers, and its noise."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from hype.techniques import TechniqueArguments
from hype.techniques.r3f import R3F
from tests.techniques.conftest import assert_near, loss_of_given_logits
from tests.tiny import tiny_batch, tiny_model

WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_loss_and_gradients_equal_the_reference(vectors, weight):
    vector = vectors["r3f"]
    expected = vector["cases"][f"lambda{weight}"]
    loss, gradients = loss_of_given_logits(
        R3F, vector["clean_logits"], vector["noised_logits"], vector["labels"], r3f_lambda=weight
    )
    # The reference softmaxes in float32; fairseq divides loss and gradient by the batch size.
    assert_near(loss, expected["loss_divided_by_sample_size"], atol=1e-6)
    for gradient, reference in zip(gradients, ("grad_clean_logits", "grad_noised_logits"), strict=True):
        assert_near(gradient, expected[reference], atol=1e-6)


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_regression_takes_the_squared_difference(vectors, weight):
    vector = vectors["r3f"]["regression"]
    loss, _ = loss_of_given_logits(
        R3F, vector["clean_pred"], vector["noised_pred"], vector["labels"], r3f_lambda=weight
    )
    assert_near(loss, vector["hype_paper_mse_variant_hand"][f"lambda{weight}"])


def embeddings_seen(model, technique):
    """Return the word embeddings of a clean and a noised forward."""
    seen = []
    handle = model.get_input_embeddings().register_forward_hook(lambda module, args, output: seen.append(output))
    batch = tiny_batch()
    clean = model(**batch)
    handle.remove()
    with technique.noised_embeddings(model):
        handle = model.get_input_embeddings().register_forward_hook(lambda module, args, output: seen.append(output))
        noised = model(**batch)
        handle.remove()
    return seen, clean, noised


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_on_the_embeddings_has_the_documented_distribution(kind):
    model = tiny_model("bert", hidden_size=64, **WITHOUT_DROPOUT).train()
    torch.manual_seed(0)
    technique = R3F(TechniqueArguments(r3f_lambda=1.0, r3f_eps=0.5, r3f_noise_type=kind))
    (clean, noised), *_ = embeddings_seen(model, technique)
    noise = (noised - clean).detach()
    expected = 0.5 if kind == "normal" else 0.5 / 3**0.5
    assert noise.std().item() == pytest.approx(expected, rel=0.05)
    assert abs(noise.mean().item()) < 0.05
    assert (noise.abs().max() <= 0.5) == (kind == "uniform")


def test_the_noised_forward_gives_the_word_embeddings_no_gradient(vectors):
    model = tiny_model("bert", **WITHOUT_DROPOUT).train()
    _, _, noised = embeddings_seen(model, R3F(TechniqueArguments(r3f_lambda=1.0)))
    noised.loss.backward()
    assert vectors["r3f"]["noised_embeddings_require_grad"] is False
    assert model.get_input_embeddings().weight.grad is None
    assert model.classifier.weight.grad is not None


def test_no_hook_stays_after_a_loss():
    model = tiny_model("bert").train()
    technique = R3F(TechniqueArguments(r3f_lambda=1.0))
    technique.loss(SimpleNamespace(model=model, hype=None), model, tiny_batch())
    assert not model.get_input_embeddings()._forward_hooks


def test_with_hype_the_noised_forward_is_that_of_hype_alone():
    from hype import HyPe

    model = tiny_model("bert", **WITHOUT_DROPOUT).train()
    batch = tiny_batch()
    technique = R3F(TechniqueArguments(r3f_lambda=1.0))
    clean = model(**batch)
    with HyPe(model, "normal", 0.1, seed=3) as hype:
        hype.set_step(0)
        noised = model(**batch)
        hype.set_step(0)
        loss, outputs = technique.loss(SimpleNamespace(model=model, hype=hype), model, batch)
    p, q = clean.logits.softmax(-1), noised.logits.softmax(-1)
    divergence = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean()
    assert torch.equal(outputs.logits, clean.logits)
    torch.testing.assert_close(loss, clean.loss + divergence)


def test_with_hype_of_eps_0_it_is_r3f_alone():
    from hype import HyPe

    model, losses = tiny_model("bert", **WITHOUT_DROPOUT).train(), []
    technique = R3F(TechniqueArguments(r3f_lambda=1.0, r3f_eps=0.5))
    for eps in (None, 0.0):
        with HyPe(model, "normal", eps) if eps is not None else nullcontext() as hype:
            torch.manual_seed(0)
            losses.append(technique.loss(SimpleNamespace(model=model, hype=hype), model, tiny_batch())[0])
    assert torch.equal(*losses) and losses[0] > model(**tiny_batch()).loss
