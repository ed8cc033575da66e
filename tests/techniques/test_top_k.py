"""What Top-K Tuning trains, against names written down by hand."""

from types import SimpleNamespace

import pytest

from hype.techniques import TechniqueArguments
from hype.techniques.top_k import TopKTuning
from tests.tiny import tiny_config, tiny_model


def tuned(model, k):
    technique = TopKTuning(TechniqueArguments(top_k_layers=k))
    technique.before_training(SimpleNamespace(model=model))
    return technique


def assert_trains_exactly(model, prefixes):
    names = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {name for name in names if name.startswith(tuple(prefixes))} == {name for name in names if names[name]}
    assert all(any(name.startswith(prefix) for name in names) for prefix in prefixes)


def twelve_layers(model_type):
    field = "n_layer" if model_type == "xlnet" else "num_hidden_layers"
    return tiny_model(model_type, **{field: 12})


@pytest.mark.parametrize("k", [0, 3])
def test_bert_trains_the_published_names(vectors, k):
    model = twelve_layers("bert")
    tuned(model, k)
    assert_trains_exactly(model, vectors["top_k"][f"bert_12_layers_K_{k}_trainable_prefixes"])


@pytest.mark.parametrize(
    ("model_type", "key"),
    [
        ("roberta", "roberta_electra_K_1_of_12_trainable_prefixes"),
        ("electra", "roberta_electra_K_1_of_12_trainable_prefixes"),
        ("deberta", "deberta_K_1_of_12_trainable_prefixes"),
        ("xlnet", "xlnet_K_1_of_12_trainable_prefixes"),
    ],
)
def test_the_other_families_train_the_published_names(vectors, model_type, key):
    model = twelve_layers(model_type)
    tuned(model, 1)
    assert_trains_exactly(model, [prefix.replace("<base>", model_type) for prefix in vectors["top_k"][key]])


@pytest.mark.parametrize(
    ("model_type", "prefixes"),
    [
        ("gpt2", ["transformer.h.2.", "transformer.ln_f.", "score."]),
        ("llama", ["model.layers.2.", "model.norm.", "score."]),
        ("distilbert", ["distilbert.transformer.layer.2.", "pre_classifier.", "classifier."]),
    ],
)
def test_final_norms_and_heads_of_others_are_trained(model_type, prefixes):
    model = tiny_model(model_type)
    tuned(model, 1)
    assert_trains_exactly(model, prefixes)


def test_count_of_trainable_parameters_equals_the_number_made_by_hand(vectors):
    from transformers import BertForSequenceClassification

    sizes = {"vocab_size": 50, "intermediate_size": 32, "max_position_embeddings": 40, "num_labels": 2}
    model = BertForSequenceClassification(tiny_config("bert", **sizes, type_vocab_size=2))
    technique = tuned(model, 2)
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
