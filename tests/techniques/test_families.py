"""Every technique, alone and with HyPe, on the paper's five families: trains, resumes, saves, loads, evaluates."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tests.techniques.runs import FLAGS, HYPE, assert_equal_weights, trainer_of, weights_of
from tests.tiny import tiny_model


@pytest.mark.parametrize("is_regression", [False, True], ids=["classification", "regression"])
@pytest.mark.parametrize("hype", [None, HYPE], ids=["alone", "with HyPe"])
@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "xlnet", "deberta"])
def test_technique_trains_resumes_exactly_saves_loads_and_evaluates(tmp_path, model_type, name, hype, is_regression):
    def trainer(**options):
        return trainer_of(tmp_path, FLAGS[name], model_type, hype, is_regression, **options)

    straight = trainer()
    start = weights_of(straight)
    straight.train()
    trained = weights_of(straight)
    facts = straight.techniques[0].facts()
    assert facts and json.loads(json.dumps(facts)) == facts
    assert any(not torch.equal(start[key], trained[key]) for key in start)
    assert all(torch.isfinite(weight).all() for weight in trained.values())

    resumed = trainer(save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_equal_weights(weights_of(resumed), trained)

    plain = tiny_model(model_type, num_labels=1 if is_regression else 3)
    saved = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    plain.save_pretrained(tmp_path / "plain")
    assert saved.keys() == load_file(tmp_path / "plain" / "model.safetensors").keys()
    loaded, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "checkpoint-4", output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))

    batch = straight.data_collator([straight.eval_dataset[i] for i in range(8)])
    with torch.no_grad():
        expected = loaded.eval()(**batch).loss.item()
    assert straight.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)
