"""Models inside other modules: sentence encoders, custom modules, two towers, objects that contain modules."""

import re
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    EncoderDecoderModel,
    ErnieConfig,
    PreTrainedModel,
    TrainingArguments,
)

from hype import HyPe, HyPeCallback
from tests.by_hand import IDS, hooks_of
from tests.conftest import word_tokenizer
from tests.tiny import BERT, COMMON, SAMPLE, tiny_config


def body_of_type(model_type, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(tiny_config(model_type, dropout=0.0, **changes)).float()


def draws_of(model, forward=None, **options):
    """Run a training forward with noise, and return the noised states of all draws."""
    draws = []
    with HyPe(model, "normal", 0.5, seed=0, **options) as hype, torch.no_grad():
        hype.observer = lambda clean, noised: draws.append(noised)
        (forward or model.train())(IDS)
    return draws


class Wrapper(nn.Module):
    """A custom module that keeps the configuration of the model inside it."""

    def __init__(self, body):
        super().__init__()
        self.config, self.net, self.head = body.config, body, nn.Linear(16, 3)

    def forward(self, ids):
        return self.head(self.net(ids)[0])


class PreTrainedWrapper(PreTrainedModel):
    """A custom model class that does not define where its body is (base_model_prefix)."""

    _supports_sdpa = True

    def __init__(self, body):
        super().__init__(body.config)
        self.net = body

    def forward(self, ids):
        return self.net(ids)[0]


class Towers(nn.ModuleDict):
    def forward(self, ids):
        return [tower(ids)[0] for tower in self.values()]


@pytest.mark.parametrize("wrapper", [Wrapper, PreTrainedWrapper, lambda body: Towers({"a": Wrapper(body)})])
@pytest.mark.parametrize("model_type", ["bert", "xlnet", "albert", "modernbert", "gpt2"])
def test_a_model_gets_the_same_noise_inside_a_wrapper(model_type, wrapper):
    body = body_of_type(model_type)
    options = {"hype_layers": [0, 2], "hype_intermediate": True}
    alone, wrapped = draws_of(body, **options), draws_of(wrapper(body), **options)
    assert len(alone) == len(wrapped) == 4
    assert all(torch.equal(a, b) for a, b in zip(alone, wrapped, strict=True))


def test_a_wrapper_of_a_model_that_is_not_in_the_table_is_searched_too():
    assert len(draws_of(Wrapper(AutoModel.from_config(ErnieConfig(**COMMON, **BERT))))) == 3


def test_a_tower_that_is_used_twice_is_one_tower():
    body = body_of_type("bert")
    assert len(draws_of(Towers({"query": body, "document": Wrapper(body)}))) == 6


@pytest.mark.parametrize(
    ("towers", "path", "count"),
    [
        (lambda: {"a": body_of_type("bert"), "b": body_of_type("bert")}, "a.encoder.layer,b.encoder.layer", 6),
        (lambda: {"a": body_of_type("xlnet"), "b": body_of_type("bert")}, "a.layer,b.encoder.layer", 6),
        (lambda: {"a": body_of_type("bert"), "b": OwnTower()}, "a.encoder.layer,b.blocks", 5),
    ],
)
def test_two_towers_are_refused_with_the_path_to_both(towers, path, count):
    model = Towers(towers())
    with pytest.raises(ValueError, match=re.escape(f'hype_layers_path="{path}"')):
        HyPe(model)
    assert len(draws_of(model, hype_layers_path=path)) == count
    assert len(draws_of(model, hype_layers_path=path.partition(",")[0])) == 3


class Block(nn.Module):
    """A layer without the word attention in its names."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        return x + self.out(nn.functional.scaled_dot_product_attention(*self.qkv(x).chunk(3, -1)))


class OwnTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 16)
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, ids):
        return self.blocks(self.embedding(ids))


def test_an_encoder_and_a_decoder_of_two_types_are_refused_with_the_path_to_both():
    decoder = tiny_config("bert", is_decoder=True, add_cross_attention=True)
    model = EncoderDecoderModel(encoder=body_of_type("xlnet"), decoder=AutoModelForCausalLM.from_config(decoder))
    path = "encoder.layer,decoder.bert.encoder.layer"
    with pytest.raises(ValueError, match=rf'layers of encoder-decoder should .* hype_layers_path="{re.escape(path)}"'):
        HyPe(model)
    forward = lambda ids: model.train()(ids, decoder_input_ids=ids)  # noqa: E731
    assert len(draws_of(model, forward, hype_layers_path=path)) == 6


def test_an_object_that_is_no_module_but_holds_some_is_searched(tmp_path):
    """SetFit's model is such an object, and its Trainer passes it to the callbacks."""
    body = body_of_type("bert").train()
    model = SimpleNamespace(model_body=nn.Sequential(body), model_head=object(), labels=["no", "yes"])
    assert len(draws_of(model, body)) == 3
    callback = HyPeCallback()
    callback.on_train_begin(TrainingArguments(str(tmp_path), use_cpu=True), None, None, model=model)
    body(IDS)
    assert callback.hype.draw_count == 3
    HyPe.remove_from(model)
    assert hooks_of(body) == []


class Counting(HyPeCallback):
    counts: tuple[int, ...] = ()

    def on_step_end(self, args, state, control, **kwargs):
        self.counts += (self.hype.draw_count,)


@pytest.mark.parametrize(
    ("kind", "model_type", "layers"),
    [
        ("SentenceTransformer", "bert", 3),
        ("SentenceTransformer", "albert", 4),
        ("CrossEncoder", "bert", 3),
    ],
)
def test_a_trainer_of_sentence_transformers_trains_with_noise(kind, model_type, layers, tmp_path):
    source, is_pair = pytest.importorskip("sentence_transformers"), kind == "CrossEncoder"
    losses, auto_class = source.sentence_transformer.losses, AutoModel
    rows = {"a": ["the cat", "a dog"] * 4, "b": ["no cat", "the dog"] * 4}
    if is_pair:
        source, auto_class = source.cross_encoder, AutoModelForSequenceClassification
        losses, rows = source.losses, {**rows, "label": [0.0, 1.0] * 4}
    tokenizer = word_tokenizer(SAMPLE)
    config = tiny_config(model_type, vocab_size=len(tokenizer), pad_token_id=0, num_labels=1)
    auto_class.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, callback = getattr(source, kind)(str(tmp_path), device="cpu"), Counting("normal", 1e-3)
    arguments = getattr(source, f"{kind}TrainingArguments")(
        str(tmp_path), save_strategy="no", max_steps=2, per_device_train_batch_size=4, report_to="none", use_cpu=True
    )
    getattr(source, f"{kind}Trainer")(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
        loss=losses.BinaryCrossEntropyLoss(model) if is_pair else losses.MultipleNegativesRankingLoss(model),
        callbacks=[callback],
    ).train()
    HyPe(model).remove()  # raises if the model still has HyPe
    passes = 1 if is_pair else 2  # both columns pass through a sentence encoder
    assert callback.counts == (passes * layers, passes * layers)
