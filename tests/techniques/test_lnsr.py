"""LNSR's regulariser matches numbers computed by hand and a second implementation."""

from types import SimpleNamespace

import pytest
import torch

from hype import HyPe
from hype.techniques import TechniqueArguments, lnsr
from hype.techniques.lnsr import LNSR, response, scaled_noise
from tests.techniques.vectors import assert_near, tensor
from tests.tiny import tiny_batch, tiny_model

FAMILIES = ("bert", "roberta", "electra", "xlnet", "deberta")


def test_response_equals_the_numbers_made_by_hand(vectors):
    vector = vectors["lnsr"]
    clean, perturbed = (
        [tensor([layer]) for layer in vector[name]]
        for name in ("hidden_clean_layers_r_equals_b_plus_1_to_L", "hidden_perturbed_same_layers")
    )
    whole = vector["R_mse_elementwise_mean_per_layer_summed_over_layers_lambda1"]
    assert_near(response(clean, perturbed, torch.tensor([[1, 1]])), whole)
    assert_near(response(clean, perturbed, torch.tensor([[1, 0]])), vector["with_one_padded_token"]["R_mse_masked"])


def test_every_sample_weighs_the_same_whatever_its_length():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 4, 3, generator=rng), torch.rand(2, 4, 3, generator=rng)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    per_sample = [((a[0] - b[0]) ** 2).mean(), ((a[1, :1] - b[1, :1]) ** 2).mean()]
    torch.testing.assert_close(response([a], [b], mask), sum(per_sample) / 2)


def test_noise_has_a_share_of_the_norm_of_its_token(vectors):
    vector = vectors["lnsr"]["noise_scaling"]
    noise = scaled_noise(tensor(vector["h_b_token"]), tensor(vector["raw_gaussian"]), vector["rho"])
    assert_near(noise, vector["scaled_noise"])


def loss_of(model, hype=None):
    technique = LNSR(TechniqueArguments(lnsr_lambda=1.0))
    trainer = SimpleNamespace(model=model, hype=hype, args=SimpleNamespace(device=torch.device("cpu")))
    torch.manual_seed(5)
    loss, outputs = technique.loss(trainer, model, tiny_batch())
    return loss, outputs, technique


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("with_hype", [False, True])
def test_without_noise_at_its_layer_both_forwards_are_equal(model_type, with_hype, monkeypatch):
    """Dropout and HyPe's noise are active and the same in both, so the response is exactly zero."""
    model = tiny_model(model_type).train()
    hype = HyPe(model, "normal", 0.1) if with_hype else None
    monkeypatch.setattr(lnsr, "NOISE_RATIO", 0.0)
    _, _, technique = loss_of(model, hype)
    assert technique.mean == 0.0


@pytest.mark.parametrize("model_type", FAMILIES)
def test_response_equals_a_run_from_the_noised_layer_on(model_type, monkeypatch):
    """Second implementation: the noised output of layer 2 is recorded, and the distances are computed by hand."""
    monkeypatch.setattr(lnsr, "LAYER", 2)
    model, seen = tiny_model(model_type, num_labels=3).train(), {1: [], 2: []}
    layers = model.base_model.layer if model_type == "xlnet" else model.base_model.encoder.layer
    for i, states in seen.items():
        layers[i].register_forward_hook(
            lambda module, args, out, states=states: states.append(out[0] if isinstance(out, tuple) else out)
        )
    loss, outputs, technique = loss_of(model)
    (clean, recomputed), (clean_last, noised_last) = seen[1], seen[2]
    assert torch.equal(clean, recomputed)  # recorded before the noise is added to it
    torch.testing.assert_close(technique.mean, ((clean_last - noised_last) ** 2).mean().detach())
    torch.testing.assert_close(loss, outputs.loss + technique.mean)


def test_the_random_stream_and_hype_s_draws_continue_after_the_first_forward():
    model = tiny_model("bert").train()
    with HyPe(model, "normal", 0.1) as hype:
        loss_of(model, hype)
        after, draws = torch.get_rng_state(), hype.draw_count
        hype.set_step(1)
        torch.manual_seed(5)
        outputs = model(**tiny_batch(), output_hidden_states=True)
        torch.randn_like(outputs.hidden_states[1])
        assert torch.equal(torch.get_rng_state(), after) and hype.draw_count == draws > 0


@pytest.mark.parametrize(
    ("model_type", "changes", "message"),
    [
        ("bert", {"num_hidden_layers": 1}, "has only 1"),
        ("bart", {}, "not BartFor"),
        ("albert", {}, "shares weights"),
    ],
)
def test_what_cannot_work_is_refused(model_type, changes, message):
    technique = LNSR(TechniqueArguments(lnsr_lambda=1.0))
    args = SimpleNamespace(label_smoothing_factor=0.0)
    with pytest.raises(ValueError, match=message):
        technique.before_training(SimpleNamespace(model=tiny_model(model_type, **changes), args=args))
