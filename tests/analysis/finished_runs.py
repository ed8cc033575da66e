"""Miniature finished runs: a random model of two or three layers, a word tokenizer and a handwritten run.json."""

import json

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from hype.data.tasks import TASKS
from tests.tiny import tiny_config

WORDS = ["<cls>", "<pad>", "</s>", "<unk>", "<sep>", *"abcdefghijklmnopqrstuvwxyz"]
# For each style of special tokens: templates for single texts and pairs, the tokens, and the padding side.
BERT_LIKE = ("<cls> $A <sep>", "<cls> $A <sep> $B <sep>", {"cls_token": "<cls>", "sep_token": "<sep>"}, "right")
FAMILIES = {
    "bert": BERT_LIKE,
    "deberta": BERT_LIKE,
    "xlnet": ("$A <sep> <cls>", "$A <sep> $B <sep> <cls>", {"cls_token": "<cls>", "sep_token": "<sep>"}, "left"),
    "gpt2": ("$A", "$A $B", {"eos_token": "</s>"}, "right"),
    "bart": ("<cls> $A </s>", "<cls> $A $B </s>", {"cls_token": "<cls>", "eos_token": "</s>"}, "right"),
    "t5": ("$A </s>", "$A $B </s>", {"eos_token": "</s>"}, "right"),
}


def tokenizer_of(model_type):
    single, pair, names, side = FAMILIES[model_type]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    specials = [("<cls>", 0), ("</s>", 2), ("<sep>", 4)]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=specials)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=40,
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side=side,
        **names,
    )


def write_run(folder, task="mnli", model_type="bert", label_names=None, seed=0, change=lambda model: None, **record):
    """Write a finished run on `task` whose head has its labels in the order of `label_names`."""
    label_names = list(label_names or TASKS[task].label_names)
    settings = {"num_labels": len(label_names), "label2id": {name: i for i, name in enumerate(label_names)}}
    settings["id2label"] = dict(enumerate(label_names))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(tiny_config(model_type, **settings))
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    tokenizer_of(model_type).save_pretrained(folder)
    content = {
        "schema": 2, "status": "finished", "identity": {}, "run_id": f"{seed:016x}", "task": task, "label": "vanilla",
        "seed": seed,
        "label_names": label_names, "model": {"name": model_type}, "settings": {"max_seq_length": 32},
        **record,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
