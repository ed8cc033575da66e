"""Models that are not in the table: the generic rule, an explicit path, and what is refused."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, AutoModelForSequenceClassification

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


SWIN = {"image_size": 32, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}


def unlisted_model(model_type, auto_class=AutoModelForSequenceClassification, **changes):
    options = changes if model_type in ("funnel", "mbart", "swin") else {**UNLISTED, **changes}
    return auto_class.from_config(AutoConfig.for_model(model_type, **options))


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
        ("swin", SWIN, "3 lists of layers .encoder.layers, encoder.layers.0.blocks", "stages"),
        ("luke", {}, "luke cannot take HyPe", "two states"),
        ("funnel", {"vocab_size": 40, "d_model": 16, "block_sizes": [1, 1]}, "query, key and value", "one layer input"),
    ],
)
def test_what_cannot_be_perturbed_is_refused_in_one_line_with_the_reason(model_type, changes, reason, remedy):
    classes = {"swin": AutoModelForImageClassification, "luke": AutoModel}
    model = unlisted_model(model_type, classes.get(model_type, AutoModelForSequenceClassification), **changes)
    with pytest.raises(ValueError, match=reason) as caught:
        HyPe(model)
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


def test_a_path_to_layers_that_do_not_run_is_refused_at_the_first_forward():
    model = OwnModel().train()
    with HyPe(model, hype_layers_path="never"), pytest.raises(ValueError, match="none of the layers ran"):
        model(torch.randn(2, 6))


def test_layers_that_run_twice_in_a_forward_get_noise_of_their_own_each_time():
    """A model that calls its body twice (SimCSE)."""
    _, recorded = run_own("again")
    assert len(recorded.draws) == 4
    assert len({noised.sub(state).sum().item() for state, noised in recorded.draws}) == 4


def test_layers_may_be_left_out_of_a_forward_once_the_list_is_known_to_be_right():
    """LayerDrop, frozen layers in evaluation mode, generation from states that the encoder gave before."""
    model, x = OwnModel().train(), torch.randn(2, 6)
    with HyPe(model, "normal", 0.5, hype_layers_path="layers") as hype:
        model.layers[0].eval()
        model(x)
        assert hype.draw_count == 1
        model.layers = nn.ModuleList()
        model(x)


def run_own(path, **layers):
    """Run a model of one's own with noise, its `layers` replaced by those given."""
    model, recorded = OwnModel().train(), Recorded()
    for name, stack in layers.items():
        setattr(model, name, nn.ModuleList(stack))
    with HyPe(model, "normal", 0.5, hype_layers_path=path) as hype, torch.no_grad():
        hype.observer = recorded.observe
        return model(torch.randn(2, 6)), recorded


class Calling(Layer):
    """Call a layer in another way than layers are called."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer, self.call = nn.ModuleList([layer]), call

    def forward(self, x):
        return self.call(self.layer[0], x)


class Masked(Layer):
    def forward(self, mask, x):
        return super().forward(x)


def test_a_state_passed_by_any_keyword_gets_the_noise():
    called = Calling(Layer(), lambda layer, x: layer(x=x))
    _, recorded = run_own("layers.*.layer", layers=[called])
    assert len(recorded.draws) == 1 and not torch.equal(*recorded.draws[0])


def test_which_of_two_keywords_is_the_state_is_not_guessed():
    called = Calling(Masked(), lambda layer, x: layer(mask=x, x=x))
    with pytest.raises(ValueError, match=r"which of a layer's keywords \(mask, x\)"):
        run_own("layers.*.layer", layers=[called])


@pytest.mark.parametrize("first", [torch.ones(2, 6, dtype=torch.long), None, (), (None, 1)], ids=str)
def test_a_layer_whose_first_argument_is_no_state_is_refused(first):
    called = Calling(Masked(), lambda layer, x: layer(first, x))
    with pytest.raises(ValueError, match="first argument"):
        run_own("layers.*.layer", layers=[called])


def test_a_layer_that_stands_in_its_list_twice_is_refused():
    layer = Layer()
    with pytest.raises(ValueError, match="one layer several times"):
        run_own("layers", layers=[layer, Layer(), layer])


def test_what_is_called_base_model_need_not_be_one():
    model = OwnModel().train()
    model.base_model = "bert-base"
    with HyPe(model, hype_layers_path="layers") as hype:
        model(torch.randn(2, 6))
    assert hype.draw_count == 2 and not any(module._forward_pre_hooks for module in model.modules())


def test_an_empty_list_of_layers_is_refused():
    model = OwnModel()
    model.layers = nn.ModuleList()
    with pytest.raises(ValueError, match="its list is empty"):
        HyPe(model, hype_layers_path="layers")


def test_a_model_without_a_list_of_layers_is_refused():
    with pytest.raises(ValueError, match="name it with hype_layers_path"):
        HyPe(OwnModel())
