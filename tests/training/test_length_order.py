"""Evaluation batches examples of similar length; its outputs are in the order of the data."""

import json

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hype.training.trainer import HyPeTrainer

LENGTHS = (4, 9, 3, 12, 7, 7, 5, 10, 3, 6, 8)


def test_predictions_are_in_the_order_of_the_data_and_batches_begin_with_the_longest(run, tmp_path, monkeypatch):
    """With group_by_length, transformers 5.23 returns them in the order of its batches."""
    texts = [("in " if i % 2 else "the ") * length for i, length in enumerate(LENGTHS)]
    lines = [json.dumps({"text": text, "label": f"class {i % 2}"}) for i, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    names = {f"{split}_file": tmp_path / "rows.jsonl" for split in ("train", "validation", "test")}
    lengths, step = [], HyPeTrainer.prediction_step

    def watched(self, model, inputs, *args, **kwargs):
        lengths.append(inputs["input_ids"].shape[1])
        return step(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(HyPeTrainer, "prediction_step", watched)
    own = {"task_name": None, "data_dir": None, "max_predict_samples": None, **names}
    flags = {"per_device_eval_batch_size": 4, "max_steps": 30, "learning_rate": 1e-2, **own}
    record = run("do_train", "do_eval", "do_predict", "group_by_length", "dataloader_drop_last", **flags)
    assert lengths == 2 * sorted(lengths[:3], reverse=True) and len(set(lengths)) == 3

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    with torch.no_grad():
        logits = [model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=32)).logits for t in texts]
    assert record["predictions"] == "".join(str(int(row.argmax())) for row in logits)
    assert record["metrics"]["test"]["test_accuracy"] == record["score"], "the same rows"
    assert set(record["predictions"]) == {"0", "1"}, "otherwise no order is seen"
