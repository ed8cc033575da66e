"""Models that are not in the table: the generic rule, an explicit path, and what is refused."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from hype import HyPe
from hype.architectures import ARCHITECTURES
from tests.by_hand import Recorded, run_with_noise
from tests.tiny import tiny_model

MBART = {
    "vocab_size": 40, "d_model": 16, "eos_token_id": 2, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
}  # fmt: skip
UNLISTED = {"vocab_size": 40, "num_labels": 3, "pad_token_id": 1, "hidden_size": 16, "num_hidden_layers": 3,
            "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40}  # fmt: skip


def unlisted_model(model_type, **changes):
    options = changes if model_type in ("funnel", "mbart") else {**UNLISTED, **changes}
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(model_type, **options))


@pytest.mark.parametrize("model_type", ["ernie", "roformer", "rembert"])
def test_a_model_that_is_not_in_the_table_is_perturbed_by_the_generic_rule(model_type):
    model = unlisted_model(model_type, embedding_size=16, input_embedding_size=16)
    assert model_type not in ARCHITECTURES
    entering = []
    layers = model.base_model.encoder.layer
    for layer in layers:
        layer.register_forward_hook(lambda layer, args, output: entering.append(args[0]))
    _, recorded = run_with_noise(model)
    assert len(recorded.draws) == len(layers) == 3
    assert all(torch.equal(noised, state) for (_, noised), state in zip(recorded.draws, entering, strict=True))


def test_noise_after_attention_needs_the_table():
    with pytest.raises(ValueError, match="after self-attention needs an architecture of the table"):
        HyPe(unlisted_model("ernie"), hype_intermediate=True)


@pytest.mark.parametrize(
    ("model_type", "changes", "reason", "remedy"),
    [
        ("squeezebert", {"embedding_size": 16}, "no list of Transformer layers", "hype_layers_path"),
        ("xlm", {"emb_dim": 16, "n_layers": 2, "n_heads": 2}, "no list of Transformer layers", "hype_layers_path"),
        ("mbart", MBART, "2 lists of layers .encoder.layers, decoder.layers", "hype_layers_path"),
        ("funnel", {"vocab_size": 40, "d_model": 16, "block_sizes": [1, 1]}, "query, key and value", "one layer input"),
    ],
)
def test_what_cannot_be_perturbed_is_refused_in_one_line_with_the_reason(model_type, changes, reason, remedy):
    with pytest.raises(ValueError, match=reason) as caught:
        HyPe(unlisted_model(model_type, **changes))
    message = str(caught.value)
    assert "\n" not in message and model_type in message and remedy in message


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.linear(x)


class OwnModel(nn.Module):
    """A model without configuration: `layers` run once, `again` twice, `never` not at all."""

    def __init__(self):
        super().__init__()
        self.layers, self.again, self.never = (nn.ModuleList([Layer(), Layer()]) for _ in range(3))

    def forward(self, x):
        for layer in [*self.layers, *self.again, *self.again]:
            x = layer(x)
        return x


def test_an_explicit_path_perturbs_any_module():
    model, x, recorded = OwnModel().train(), torch.randn(2, 6), Recorded()
    with HyPe(model, "normal", 0.5, hype_layers_path="layers") as hype, torch.no_grad():
        hype.observer = recorded.observe
        output = model(x)
    with torch.no_grad():
        h = model.layers[1](recorded.add(model.layers[0](recorded.add(x))))
        for layer in [*model.again, *model.again]:
            h = layer(h)
    assert len(recorded.draws) == 2
    assert torch.equal(output, h)


def test_an_explicit_path_may_name_several_stacks():
    _, recorded = run_with_noise(unlisted_model("mbart", **MBART), hype_layers_path="encoder.layers, decoder.layers")
    assert len(recorded.draws) == 4


def test_an_explicit_path_of_a_known_model_gives_the_noise_of_the_table():
    logits, _ = run_with_noise(tiny_model("bert", dropout=0.0))
    by_path, _ = run_with_noise(tiny_model("bert", dropout=0.0), hype_layers_path="encoder.layer")
    assert torch.equal(logits, by_path)


@pytest.mark.parametrize("path", ["nowhere", "layers.0.linear", "layers.0", "layers.nowhere"])
def test_a_path_that_leads_to_no_list_of_layers_is_refused(path):
    with pytest.raises(ValueError, match=f"OwnModel has no layers at {path}"):
        HyPe(OwnModel(), hype_layers_path=path)


@pytest.mark.parametrize(("path", "times"), [("again", "0: 2"), ("never", "0: 0")])
def test_a_path_to_layers_that_do_not_run_once_is_refused_at_the_first_forward(path, times):
    model = OwnModel().train()
    with HyPe(model, hype_layers_path=path), pytest.raises(ValueError, match=times):
        model(torch.randn(2, 6))


def test_an_empty_list_of_layers_is_refused():
    model = OwnModel()
    model.layers = nn.ModuleList()
    with pytest.raises(ValueError, match="its list is empty"):
        HyPe(model, hype_layers_path="layers")


def test_a_model_without_a_list_of_layers_is_refused():
    with pytest.raises(ValueError, match="name it with hype_layers_path"):
        HyPe(OwnModel())
