"""Models missing from the table: the generic rule, an explicit path, and what is refused."""

import itertools
import re

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

from hype import HyPe
from hype.architectures import ARCHITECTURES, REFUSED
from tests.by_hand import IDS, Recorded, hooks_of, run_with_noise
from tests.tiny import tiny_model

SMALL = {
    "vocab_size": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "hidden_size": 16,
    "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 24,
    "max_position_embeddings": 64, "embedding_size": 16,
}  # fmt: skip
GPT = {
    "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40, "rotary_dim": 4, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
# model type -> the class of its layers, and what its configuration needs besides SMALL
BY_THE_RULE = {
    "convbert": ("ConvBertLayer", {}),
    "big_bird": ("BigBirdLayer", {"attention_type": "original_full", "sep_token_id": 2}),
    "longformer": ("LongformerLayer", {"attention_window": 4}),
    "mobilebert": ("MobileBertLayer", {"intra_bottleneck_size": 8, "true_hidden_size": 8}),
    "esm": ("EsmLayer", {}),
    "fnet": ("FNetLayer", {}),
    "gptj": ("GPTJBlock", GPT),
    "bloom": ("BloomBlock", {"n_layer": 3, "n_head": 2}),
    "opt": ("OPTDecoderLayer", {"ffn_dim": 24, "word_embed_proj_dim": 16}),
    "gemma2": ("Gemma2DecoderLayer", {}),
    "mixtral": ("MixtralDecoderLayer", {"num_local_experts": 2}),
    "mamba": ("MambaBlock", {"state_size": 4}),
    "lfm2": ("Lfm2DecoderLayer", {}),
}
SEQ2SEQ = {
    "vocab_size": 40, "d_model": 16, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}  # fmt: skip
UMT5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
SWIN = {"image_size": 32, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
FOCALNET = {"image_size": 32, "embed_dim": 8, "depths": [2, 2], "hidden_sizes": [8, 16], "focal_levels": [1, 1],
            "focal_windows": [3, 3]}  # fmt: skip


def unlisted_model(model_type, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(AutoConfig.for_model(model_type, **{**SMALL, **changes})).float()


def add_by_hand(layer, recorded):
    """Make a layer add the recorded noise to its state itself."""
    forward = layer.forward

    def noised_forward(*args, **kwargs):
        if args:
            return forward(recorded.add(args[0]), *args[1:], **kwargs)
        return forward(**{**kwargs, "hidden_states": recorded.add(kwargs["hidden_states"])})

    layer.forward = noised_forward


@pytest.mark.parametrize("model_type", BY_THE_RULE)
def test_output_of_a_model_found_by_the_rule_equals_that_with_the_noise_added_by_hand(model_type):
    layer_class, changes = BY_THE_RULE[model_type]
    model, recorded = unlisted_model(model_type, **changes).train(), Recorded()
    layers = [module for module in model.modules() if type(module).__name__ == layer_class]
    assert model_type not in ARCHITECTURES and len(layers) == 3

    def run():
        torch.manual_seed(0)  # of dropout
        with torch.no_grad():
            return model(input_ids=IDS)[0]

    clean = run()
    with HyPe(model, "uniform", 0.5) as hype:
        hype.observer = recorded.observe
        noised = run()
    for layer in layers:
        add_by_hand(layer, recorded)
    assert torch.equal(run(), noised) and not torch.equal(clean, noised)
    assert len(recorded.draws) == len(recorded.states) == 3
    assert all(torch.equal(state, by_hand) for (state, _), by_hand in zip(recorded.draws, recorded.states, strict=True))


def test_noise_after_attention_needs_the_table():
    model = unlisted_model("esm")
    with pytest.raises(ValueError, match=r"after self-attention needs .* the table"):
        HyPe(model, hype_intermediate=True)
    assert hooks_of(model) == []


# model type -> class, configuration, the path suggested by its error, and its number of layers
PATHS = {
    "mbart": (AutoModel, SEQ2SEQ, "encoder.layers,decoder.layers", 4),
    "umt5": (AutoModel, UMT5, "encoder.block,decoder.block", 4),  # its blocks contain module lists themselves
    "ibert": (AutoModel, SMALL, "encoder.layer", 3),
    "swin": (AutoModelForImageClassification, SWIN, "swin.encoder.layers.0.blocks,swin.encoder.layers.1.blocks", 4),
    "focalnet": (AutoModel, FOCALNET, "encoder.stages.0.layers,encoder.stages.1.layers", 4),
}


@pytest.mark.parametrize("model_type", PATHS)
def test_a_model_whose_layers_are_not_certain_is_refused_with_a_path_that_works(model_type):
    auto_class, changes, path, count = PATHS[model_type]
    model = auto_class.from_config(AutoConfig.for_model(model_type, **changes)).train()
    with pytest.raises(ValueError, match=re.escape(f'hype_layers_path="{path}"')) as caught:
        HyPe(model)
    assert "\n" not in str(caught.value) and model_type in str(caught.value)
    inputs = {"input_ids": IDS, **({"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {})}
    if model.main_input_name == "pixel_values":
        inputs = {"pixel_values": torch.randn(2, 3, 32, 32)}
    with HyPe(model, hype_layers_path=path.replace(",", ", ")) as hype:
        model(**inputs)
    assert hype.draw_count == hype.count == count


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_model_for_which_no_path_can_be_right_is_refused_with_any_path(model_type):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(model_type, architectures=[]))
    for path in (None, "encoder.layer"):
        with pytest.raises(ValueError, match=f"model type {model_type} cannot take HyPe: its"):
            HyPe(model, hype_layers_path=path)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.linear(x)


class Attention(Layer):
    """A layer that the search recognises as attention by its name."""


class OwnModel(nn.Module):
    """A model without a configuration: `layers` run once, `again` twice, `never` not at all."""

    def __init__(self):
        super().__init__()
        self.layers, self.again, self.never = (nn.ModuleList([Layer(), Layer()]) for _ in range(3))

    def forward(self, x):
        for layer in [*self.layers, *self.again, *self.again]:
            x = layer(x)
        return x


def run_own(path, **layers):
    """Run an `OwnModel` with noise, with its layer lists replaced by the given ones."""
    model, recorded, x = OwnModel().train(), Recorded(), torch.randn(2, 6)
    for name, stack in layers.items():
        setattr(model, name, nn.ModuleList(stack))
    with HyPe(model, "normal", 0.5, hype_layers_path=path) as hype, torch.no_grad():
        hype.observer = recorded.observe
        return model, recorded, x, model(x)


def test_an_explicit_path_perturbs_any_module():
    model, recorded, x, output = run_own("layers")
    with torch.no_grad():
        h = model.layers[1](recorded.add(model.layers[0](recorded.add(x))))
        for layer in [*model.again, *model.again]:
            h = layer(h)
    assert len(recorded.draws) == 2
    assert torch.equal(output, h)


def test_an_explicit_path_of_a_known_model_gives_the_noise_of_the_table():
    logits, _ = run_with_noise(tiny_model("bert", dropout=0.0))
    by_path, _ = run_with_noise(tiny_model("bert", dropout=0.0), hype_layers_path="encoder.layer")
    assert torch.equal(logits, by_path)


@pytest.mark.parametrize("path", ["nowhere", "nowhere.*.x", "layers.0.linear", "layers.0", "layers.nowhere", "empty"])
def test_a_path_that_leads_to_no_list_of_layers_is_refused_with_one_that_would(path):
    model = OwnModel()
    model.empty, model.blocks = nn.ModuleList(), nn.Sequential(Attention())
    with pytest.raises(ValueError, match=rf"OwnModel has no list of layers at {re.escape(path)}: .* such as blocks"):
        HyPe(model, hype_layers_path=path)


def test_a_path_to_layers_that_do_not_run_is_refused_at_the_first_forward():
    model = OwnModel().train()
    with HyPe(model, hype_layers_path="never"), pytest.raises(ValueError, match="none of the layers ran"):
        model(torch.randn(2, 6))


def test_layers_that_run_twice_in_a_forward_get_noise_of_their_own_each_time():
    """A model that calls its body twice (SimCSE)."""
    _, recorded, *_ = run_own("again")
    noises = [recorded.noise(draw) for draw in range(4)]
    assert len(recorded.draws) == 4
    assert all((a - b).abs().max() > 0.1 for a, b in itertools.combinations(noises, 2))


def test_layers_may_be_left_out_of_a_forward_once_the_list_is_known_to_be_right():
    """LayerDrop, frozen layers in evaluation mode, generation from precomputed encoder states."""
    model, x = OwnModel().train(), torch.randn(2, 6)
    with HyPe(model, "normal", 0.5, hype_layers_path="layers") as hype:
        model.layers[0].eval()
        model(x)
        assert hype.draw_count == 1
        model.layers = nn.ModuleList()
        model(x)


def test_the_chosen_layers_may_be_left_out_of_the_first_forward():
    """LayerDrop, with noise in some layers only."""
    model = OwnModel().train()
    model.forward = lambda x: model.layers[1](x)
    with HyPe(model, "normal", 0.5, hype_layers_path="layers", hype_layers=[0]) as hype:
        model(torch.randn(2, 6))
        assert hype.draw_count == 0


def test_a_changed_model_of_a_listed_type_needs_no_attention_for_noise_on_its_inputs():
    model = tiny_model("bert", dropout=0.0).train()
    for layer in model.bert.encoder.layer:
        layer.mixer = layer.attention
        del layer.attention
        layer.forward = lambda states, *args, **kwargs: states
    _, recorded = run_with_noise(model)
    assert len(recorded.draws) == 3


class Calling(Layer):
    """Call a layer in an unusual way."""

    def __init__(self, call):
        super().__init__()
        self.layer, self.call = nn.ModuleList([Masked()]), call

    def forward(self, x):
        return self.call(self.layer[0], x)


class Masked(Layer):
    def forward(self, x, mask=None):
        return super().forward(x)


def test_a_state_passed_by_any_keyword_gets_the_noise():
    _, recorded, *_ = run_own("layers.*.layer", layers=[Calling(lambda layer, x: layer(mask=None, x=x))])
    assert len(recorded.draws) == 1 and not torch.equal(*recorded.draws[0])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda layer, x: layer(x=x, mask=x), ValueError("a layer gets only keywords (x, mask)")),
        (lambda layer, x: layer(torch.ones(2, 6, dtype=torch.long), x), ValueError("first argument")),
        (lambda layer, x: layer(None, x), TypeError("must be Tensor")),
    ],
    ids=["two keywords", "integers", "nothing"],
)
def test_a_call_that_does_not_show_which_argument_is_the_state_is_refused(call, error):
    with pytest.raises(type(error), match=re.escape(str(error))):
        run_own("layers.*.layer", layers=[Calling(call)])


def test_a_layer_that_stands_in_its_list_twice_is_refused():
    layer = Layer()
    with pytest.raises(ValueError, match="several times"):
        run_own("layers", layers=[layer, Layer(), layer])


def test_a_model_without_a_list_of_layers_is_refused():
    with pytest.raises(ValueError, match="pass its attribute path as hype_layers_path"):
        HyPe(OwnModel())
