"""Evaluation batches examples of similar length; its outputs are in the order of the data."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hype.training.arguments import parse
from hype.training.finetune import finetune
from hype.training.length_order import in_given_order, longest_first
from hype.training.trainer import HyPeTrainer
from tests.small_training import arguments, padded, rows, rows_of_lengths
from tests.tiny import tiny_model

LENGTHS = (4, 9, 3, 12, 7, 7, 5, 10, 3, 6, 8)
DATA = rows_of_lengths(LENGTHS)


def test_sorted_values_return_to_their_places():
    chosen = DATA.select([2, 3, 1, 8])
    sorted_rows, order = longest_first(chosen)
    assert [len(row) for row in sorted_rows["input_ids"]] == [12, 9, 3, 3] and order.tolist() == [1, 2, 0, 3]
    assert in_given_order(np.array(sorted_rows["input_ids"], dtype=object), order).tolist() == chosen["input_ids"][:]


@pytest.mark.parametrize("flags", [{}, {"group_by_length": True, "dataloader_drop_last": True}], ids=str)
def test_predictions_are_in_the_order_of_the_data_and_batches_begin_with_the_longest(
    argv, tmp_path, monkeypatch, flags
):
    """With group_by_length, transformers 5.23 returns them in the order of its batches."""
    texts = ["word " * length for length in LENGTHS]
    lines = [json.dumps({"text": text, "label": f"class {i % 2}"}) for i, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    names = {f"{split}_file": tmp_path / "rows.jsonl" for split in ("train", "validation", "test")}
    lengths, step = [], HyPeTrainer.prediction_step

    def watched(self, model, inputs, *args, **kwargs):
        lengths.append(inputs["input_ids"].shape[1])
        return step(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(HyPeTrainer, "prediction_step", watched)
    own = {"task_name": None, "data_dir": None, "max_predict_samples": None, **names}
    flags = {"per_device_eval_batch_size": 4, "max_steps": 2, **own, **flags}
    record = finetune(parse(argv("do_train", "do_eval", "do_predict", **flags)))
    assert lengths == 2 * sorted(lengths[:3], reverse=True) and len(set(lengths)) == 3

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    with torch.no_grad():
        logits = [model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=32)).logits for t in texts]
    assert record["predictions"] == "".join(str(int(row.argmax())) for row in logits)


def test_only_training_drops_its_last_batch(tmp_path):
    args = arguments(tmp_path, per_device_eval_batch_size=4, dataloader_drop_last=True, per_device_train_batch_size=3)
    predicting = HyPeTrainer(tiny_model("bert"), args, train_dataset=rows(8), data_collator=padded, eval_dataset=DATA)
    assert predicting.predict(DATA).label_ids.tolist() == DATA["labels"][:]
    assert predicting.args.dataloader_drop_last and len(predicting.get_train_dataloader()) == 2
