"""The parameters that Top-K Tuning trains equal a list written by hand."""

from types import SimpleNamespace

import pytest

from hype.techniques import TechniqueArguments
from hype.techniques.top_k import TopKTuning
from tests.tiny import tiny_model

# Model type, layers, K, and the trained names, or their key in the file of numbers.
TRAINED = [
    ("bert", 12, 0, "bert_12_layers_K_0_trainable_prefixes"),
    ("bert", 12, 3, "bert_12_layers_K_3_trainable_prefixes"),
    ("roberta", 12, 1, "roberta_electra_K_1_of_12_trainable_prefixes"),
    ("electra", 12, 1, "roberta_electra_K_1_of_12_trainable_prefixes"),
    ("deberta", 12, 1, "deberta_K_1_of_12_trainable_prefixes"),
    ("xlnet", 12, 1, "xlnet_K_1_of_12_trainable_prefixes"),
    ("gpt2", 3, 1, ["transformer.h.2.", "transformer.ln_f.", "score."]),
    ("llama", 3, 1, ["model.layers.2.", "model.norm.", "score."]),
    ("distilbert", 3, 1, ["distilbert.transformer.layer.2.", "pre_classifier.", "classifier."]),
]
LAYERS = {"xlnet": "n_layer", "gpt2": "n_layer", "distilbert": "n_layers"}


def tuned(model, k):
    technique = TopKTuning(TechniqueArguments(top_k_layers=k))
    technique.before_training(SimpleNamespace(model=model))
    return technique


@pytest.mark.parametrize(("model_type", "count", "k", "expected"), TRAINED)
def test_the_published_names_are_trained(vectors, model_type, count, k, expected):
    prefixes = [
        prefix.replace("<base>", model_type)
        for prefix in (vectors["top_k"][expected] if isinstance(expected, str) else expected)
    ]
    model = tiny_model(model_type, **{LAYERS.get(model_type, "num_hidden_layers"): count})
    tuned(model, k)
    names = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {name for name in names if name.startswith(tuple(prefixes))} == {name for name in names if names[name]}
    assert all(any(name.startswith(prefix) for name in names) for prefix in prefixes)


def test_the_number_of_trained_parameters_equals_that_made_by_hand(vectors):
    sizes = {"vocab_size": 50, "intermediate_size": 32, "max_position_embeddings": 40, "type_vocab_size": 2}
    technique = tuned(tiny_model("bert", num_labels=2, **sizes), 2)
    assert technique.facts()["trainable_parameters"] == vectors["top_k"]["tiny_bert_count"]["trainable_K_2"]


def test_all_layers_still_freezes_the_embeddings_and_the_end_of_training_thaws_them():
    model = tiny_model("bert")
    technique = tuned(model, 3)
    assert {n.split(".")[1] for n, p in model.named_parameters() if not p.requires_grad} == {"embeddings"}
    technique.after_training(SimpleNamespace(model=model))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("model_type", "k", "message"), [("bert", 4, "give 0 to 3"), ("albert", 1, "shares weights")])
def test_what_cannot_work_is_refused(model_type, k, message):
    with pytest.raises(ValueError, match=message):
        tuned(tiny_model(model_type), k)
