"""Evaluation batches examples of like length; what comes out is in the order of the data."""

import numpy as np
import pytest
import torch
from transformers import Trainer

from hype.training.length_order import in_given_order, longest_first
from hype.training.trainer import HyPeTrainer
from tests.small_training import arguments, padded, rows, rows_of_lengths
from tests.tiny import tiny_model

LENGTHS = (4, 9, 3, 12, 7, 7, 5, 10, 3, 6, 8)
DATA = rows_of_lengths(LENGTHS)


def trainer(tmp_path, compute_metrics=None, **changes):
    args = arguments(tmp_path, per_device_eval_batch_size=4, **changes)
    options = {"data_collator": padded, "compute_metrics": compute_metrics, "eval_dataset": DATA}
    return HyPeTrainer(tiny_model("bert"), args, train_dataset=rows(8), **options)


def logits_one_by_one(model):
    model.eval()
    with torch.no_grad():
        return np.concatenate([model(torch.tensor([row["input_ids"]])).logits.numpy() for row in DATA])


@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_predictions_are_in_the_order_of_the_data(tmp_path, sampling):
    """With group_by_length, transformers 5.23 returns them in the order of its batches."""
    predicting = trainer(tmp_path, train_sampling_strategy=sampling)
    output = predicting.predict(DATA)
    np.testing.assert_allclose(output.predictions, logits_one_by_one(predicting.model), rtol=0, atol=1e-5)
    assert output.label_ids.tolist() == DATA["labels"][:]


def test_training_groups_by_length_as_trainer_does_without_a_look_at_every_row(tmp_path, monkeypatch):
    grouped = trainer(tmp_path, train_sampling_strategy="group_by_length", gradient_accumulation_steps=2)
    grouped.train_dataset = DATA
    expected = Trainer.get_train_dataloader(grouped).batch_sampler.sampler
    monkeypatch.setattr(type(DATA), "__iter__", None)
    found = grouped.get_train_dataloader().batch_sampler.sampler
    assert found.lengths == expected.lengths == list(LENGTHS) and found.batch_size == expected.batch_size


def test_metrics_and_loss_are_those_of_the_examples_in_their_order(tmp_path):
    seen = {}

    def compute_metrics(output):
        seen.update(predictions=output.predictions, labels=output.label_ids, inputs=output.inputs)
        return {}

    evaluating = trainer(tmp_path, compute_metrics, include_for_metrics=["inputs"])
    loss = evaluating.evaluate()["eval_loss"]
    expected = logits_one_by_one(evaluating.model)
    np.testing.assert_allclose(seen["predictions"], expected, rtol=0, atol=1e-5)
    assert seen["labels"].tolist() == DATA["labels"][:]
    assert [row[:4].tolist() for row in seen["inputs"][[0, 3]]] == [DATA[i]["input_ids"][:4] for i in (0, 3)]
    labels = torch.tensor(DATA["labels"][:])
    # Trainer weighs each batch's mean by the examples in it.
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(torch.tensor(expected), labels).item(), abs=1e-5)
    assert evaluating.compute_metrics is compute_metrics


def test_batches_hold_examples_of_like_length_the_longest_first(tmp_path):
    evaluating, shapes = trainer(tmp_path), []
    evaluating.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    evaluating.evaluate()
    assert shapes == [(4, 12), (4, 7), (3, 4)]


def test_only_training_drops_its_last_batch(tmp_path):
    predicting = trainer(tmp_path, dataloader_drop_last=True, per_device_train_batch_size=3)
    np.testing.assert_allclose(
        predicting.predict(DATA).predictions, logits_one_by_one(predicting.model), rtol=0, atol=1e-5
    )
    assert predicting.evaluate()["eval_samples_per_second"] > 0 and predicting.args.dataloader_drop_last
    assert len(predicting.get_train_dataloader()) == 2


def test_predictions_that_are_kept_by_batch_come_from_batches_in_the_order_of_the_data(tmp_path):
    output = trainer(tmp_path, eval_do_concat_batches=False).predict(DATA)
    assert np.concatenate(output.label_ids).tolist() == DATA["labels"][:]


def test_the_order_of_selected_rows_is_theirs():
    chosen = DATA.select([2, 3, 1, 8])
    assert longest_first(chosen).tolist() == [1, 2, 0, 3]
    assert longest_first(list(DATA)) is None


def test_rows_return_to_their_places():
    order = np.array([2, 0, 1])
    values = np.array([[12], [10], [11]])
    assert in_given_order((values, None), order)[0].tolist() == [[10], [11], [12]]
    assert in_given_order((values, None), order)[1] is None
