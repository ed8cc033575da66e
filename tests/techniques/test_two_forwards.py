"""R-Drop's and R3F's losses match the numbers of their published versions; R3F's noise is as documented."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from transformers.modeling_outputs import SequenceClassifierOutput

from hype import HyPe
from hype.techniques import TechniqueArguments
from hype.techniques.divergence import symmetric_kl
from hype.techniques.r3f import R3F
from hype.techniques.r_drop import RDrop
from tests.techniques.vectors import assert_near, tensor
from tests.tiny import tiny_batch, tiny_model


class GivenLogits(nn.Module):
    """Return the given logits, one after another, with the mean loss that transformers models return."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.ParameterList([nn.Parameter(tensor(values)) for values in logits])
        self.calls = iter(self.logits)

    def forward(self, labels):
        logits = next(self.calls)
        loss = mse_loss(logits.squeeze(-1), labels) if logits.shape[-1] == 1 else cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def get_input_embeddings(self):
        return nn.Identity()


def loss_of(technique_class, first, second, labels, **flags):
    """Run a technique's loss on the logits of two forwards; return the loss and the gradients of both."""
    model = GivenLogits(first, second)
    technique = technique_class(TechniqueArguments(**flags))
    trainer = SimpleNamespace(model=model, hype=None)
    loss, outputs = technique.loss(trainer, model, {"labels": torch.tensor(labels)})
    loss.backward()
    assert outputs.logits is model.logits[0]
    return loss.item(), [logits.grad for logits in model.logits]


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_r_drop_equals_the_published_variants(vectors, alpha):
    vector, scores = vectors["r_drop"], vectors["r_drop"]["regression_stsb"]
    given = [vector["inputs"][name] for name in ("logits1", "logits2", "labels")]
    for reduction in ("batchmean", "sum", "elementmean"):
        loss, _ = loss_of(RDrop, *given, rdrop_alpha=alpha, kl_reduction=reduction)
        assert_near(loss, vector["variants_half_ce"][f"{reduction}_alpha{alpha}"])
    loss, _ = loss_of(RDrop, scores["pred1"], scores["pred2"], scores["labels"], rdrop_alpha=alpha)
    assert_near(loss, scores["half_mse_plus_alpha_mse"][f"alpha{alpha}"])


@pytest.mark.parametrize("is_regression", [False, True])
def test_r_drop_with_ce_factor_1_and_sum_is_the_repository_for_bert(vectors, is_regression):
    vector = vectors["r_drop"]["regression_stsb"] if is_regression else vectors["r_drop"]["inputs"]
    first, second = ("pred1", "pred2") if is_regression else ("logits1", "logits2")
    name = "ref_bert_kl_CE1_plus_CE2_plus_0.5_times_half_sum"
    expected = vector["ref_bert_kl"] if is_regression else vectors["r_drop"][name]
    options = {"rdrop_alpha": 1.0 if is_regression else 0.5, "rdrop_ce_factor": 1.0, "kl_reduction": "sum"}
    loss, gradients = loss_of(RDrop, vector[first], vector[second], vector["labels"], **options)
    assert_near(loss, expected["loss"])
    assert_near(gradients[0], expected["grad_logits1"])
    assert_near(gradients[1], expected["grad_logits2"])


def test_the_divergence_of_half_precision_logits_is_taken_in_float32():
    first, second = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 1.0]])
    in_half = symmetric_kl(first.bfloat16(), second.bfloat16(), "sum")
    assert in_half.dtype == torch.float32
    assert torch.equal(in_half, symmetric_kl(first, second, "sum"))


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_r3f_equals_the_reference(vectors, weight):
    vector, scores = vectors["r3f"], vectors["r3f"]["regression"]
    given = [vector[name] for name in ("clean_logits", "noised_logits", "labels")]
    loss, gradients = loss_of(R3F, *given, r3f_lambda=weight)
    expected = vector["cases"][f"lambda{weight}"]
    # The reference computes the softmax in float32; fairseq divides loss and gradient by the batch size.
    assert_near(loss, expected["loss_divided_by_sample_size"], atol=1e-6)
    for gradient, reference in zip(gradients, ("grad_clean_logits", "grad_noised_logits"), strict=True):
        assert_near(gradient, expected[reference], atol=1e-6)
    loss, _ = loss_of(R3F, scores["clean_pred"], scores["noised_pred"], scores["labels"], r3f_lambda=weight)
    assert_near(loss, scores["hype_paper_mse_variant_hand"][f"lambda{weight}"])


def r3f(hype=None, seed=0, model=None, **flags):
    """Compute R3F's loss on a model without dropout; return it, the outputs and both forwards' embeddings."""
    model, seen = model or tiny_model("bert", dropout=0.0, hidden_size=64).train(), []
    layer = model.bert.embeddings.LayerNorm  # reads the sum of all embeddings
    with layer.register_forward_pre_hook(lambda module, args: seen.append(args[0])):
        torch.manual_seed(seed)
        technique = R3F(TechniqueArguments(r3f_lambda=1.0, **flags))
        loss, outputs = technique.loss(SimpleNamespace(model=model, hype=hype), model, tiny_batch())
    return loss, outputs, seen


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_r3f_s_noise_on_the_embeddings_has_the_documented_distribution(kind):
    _, _, (clean, noised) = r3f(r3f_eps=0.5, r3f_noise_type=kind)
    noise = (noised - clean).detach()
    assert noise.std().item() == pytest.approx(0.5 if kind == "normal" else 0.5 / 3**0.5, rel=0.05)
    assert abs(noise.mean().item()) < 0.05
    assert (noise.abs().max() <= 0.5 + 1e-6) == (kind == "uniform")


def test_r3f_s_noised_forward_gives_the_word_embeddings_no_gradient_and_leaves_no_hook():
    model = tiny_model("bert", dropout=0.0).train()
    words = model.get_input_embeddings()
    _, outputs, (_, noised) = r3f(model=model)
    noised.sum().backward(retain_graph=True)
    assert words.weight.grad is None and model.bert.embeddings.position_embeddings.weight.grad is not None
    outputs.loss.backward()
    assert words.weight.grad is not None and not words._forward_hooks


def test_r3f_with_hype_takes_its_noised_forward_alone():
    model = tiny_model("bert", dropout=0.0).train()
    batch = tiny_batch()
    clean = model(**batch)
    with HyPe(model, "normal", 0.1, seed=3) as hype:
        hype.set_step(0)
        noised = model(**batch)
        hype.set_step(0)
        loss, outputs, seen = r3f(hype, model=model)
    p, q = clean.logits.softmax(-1), noised.logits.softmax(-1)
    divergence = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean()
    assert torch.equal(outputs.logits, clean.logits) and torch.equal(*seen)
    torch.testing.assert_close(loss, clean.loss + divergence)


def test_r3f_with_hype_of_eps_0_is_r3f_alone():
    model, losses = tiny_model("bert", dropout=0.0).train(), []
    for eps in (None, 0.0):
        with HyPe(model, "normal", eps) if eps is not None else nullcontext() as hype:
            losses.append(r3f(hype, model=model, r3f_eps=0.5)[0])
    assert torch.equal(*losses) and losses[0] > model(**tiny_batch()).loss
