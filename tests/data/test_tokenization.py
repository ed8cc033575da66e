"""Texts are tokenized once, exactly as by the tokenizer itself, and a failing cache costs only time."""

import os

import datasets
import pytest
from transformers import BertTokenizer

from hype.data.splits import Splits
from hype.data.tasks import TASKS
from hype.data.tokenization import tokenize
from hype.errors import InputError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
PAIRS = {"sentence1": ["a b", "c d e f g", ""], "sentence2": ["a", "b c d", "h h h"], "label": [1, 0, 1]}


def tokenizer_of(words=WORDS, **settings):
    return BertTokenizer(vocab={word: i for i, word in enumerate(words)}, **settings)


def splits_of(columns, task="rte"):
    return Splits(TASKS[task], {"train": datasets.Dataset.from_dict(columns)}, "folder")


@pytest.fixture
def call_count(monkeypatch):
    """Return a function that counts how often texts were actually tokenized."""
    calls = []
    encode = BertTokenizer.__call__

    def count(self, *texts, **settings):
        calls.extend([1] if isinstance(texts[0], list) and settings.get("truncation") else [])
        return encode(self, *texts, **settings)

    monkeypatch.setattr(BertTokenizer, "__call__", count)
    return lambda: len(calls)


def test_pairs_become_what_the_tokenizer_gives_row_by_row(tmp_path):
    tokenizer = tokenizer_of()
    rows = tokenize(splits_of(PAIRS), tokenizer, 7, cache_dir=str(tmp_path))["train"]
    assert set(rows.column_names) == {"input_ids", "attention_mask", "token_type_ids", "label"}
    for i, row in enumerate(rows):
        alone = tokenizer(PAIRS["sentence1"][i], PAIRS["sentence2"][i], truncation=True, max_length=7)
        assert row == {**alone, "label": PAIRS["label"][i]}


def test_single_texts_without_labels_are_padded_on_request(tmp_path):
    splits = splits_of({"sentence1": PAIRS["sentence1"]}, "cola")
    rows = tokenize(splits, tokenizer_of(), 8, pad_to_max_length=True, cache_dir=str(tmp_path))["train"]
    assert "label" not in rows.column_names
    assert [len(ids) for ids in rows["input_ids"]] == [8, 8, 8]
    assert [sum(mask) for mask in rows["attention_mask"]] == [4, 7, 2]


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("settings", [{}, {"model_input_names": ["input_ids"]}], ids=["BERT's", "without a mask"])
def test_inputs_that_are_cut_are_counted_in_every_run(tmp_path, settings, pad):
    """FNet's tokenizer returns no mask by itself, which ended in a traceback."""
    # Lengths with [CLS] and two [SEP]: 6, 11, 6; an input of exactly 6 tokens is not cut.
    for _ in range(2):
        splits = splits_of(PAIRS)
        tokenize(splits, tokenizer_of(**settings), 6, pad_to_max_length=pad, cache_dir=str(tmp_path))
        assert splits.notes == ["train: 1 of 3 inputs (33.3 %) cut to 6 tokens"]


def test_the_same_texts_tokenizer_and_settings_are_tokenized_once(tmp_path, call_count):
    first = tokenize(splits_of(PAIRS), tokenizer_of(), 7, cache_dir=str(tmp_path))["train"]
    tokenizer = tokenizer_of()
    tokenizer("a b c", truncation=True, max_length=3, padding="max_length")  # changes the tokenizer's state
    second = tokenize(splits_of(PAIRS), tokenizer, 7, cache_dir=str(tmp_path))["train"]
    assert call_count() == 1
    assert second[:] == first[:]


def test_labels_are_those_of_the_data_not_of_the_cache(tmp_path, call_count):
    tokenize(splits_of(PAIRS), tokenizer_of(), 7, cache_dir=str(tmp_path))
    again = tokenize(splits_of({**PAIRS, "label": [0, 1, 0]}), tokenizer_of(), 7, cache_dir=str(tmp_path))
    assert call_count() == 1
    assert again["train"]["label"][:] == [0, 1, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"max_seq_length": 8},
        {"pad_to_max_length": True},
        {"overwrite_cache": True},
        {"tokenizer": tokenizer_of([*WORDS[:5], *"hgfedcba"])},
        {"tokenizer": tokenizer_of(do_lower_case=False)},
        {"splits": splits_of({**PAIRS, "sentence1": ["a b", "c d e f g", "a"]})},
        {"splits": splits_of({"sentence1": PAIRS["sentence1"]})},
    ],
)
def test_what_changes_the_result_tokenizes_again(tmp_path, call_count, change):
    arguments = {"splits": splits_of(PAIRS), "tokenizer": tokenizer_of(), "max_seq_length": 7}
    tokenize(**arguments, cache_dir=str(tmp_path))
    tokenize(**{**arguments, **change}, cache_dir=str(tmp_path))
    assert call_count() == 2


def test_a_cache_file_that_was_cut_off_costs_only_the_cache(tmp_path):
    before = tokenize(splits_of(PAIRS), tokenizer_of(), 7, cache_dir=str(tmp_path))["train"][:]
    (path,) = (tmp_path / "hype_tokenized").iterdir()
    for size in (0, 9, path.stat().st_size // 2, path.stat().st_size - 9):
        os.truncate(path, size)
        assert tokenize(splits_of(PAIRS), tokenizer_of(), 7, cache_dir=str(tmp_path))["train"][:] == before


def test_a_write_that_fails_leaves_no_file_and_costs_only_the_cache(tmp_path, monkeypatch, caplog):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.arrow_dataset.shutil, "move", fail)
    assert len(tokenize(splits_of(PAIRS), tokenizer_of(), 7, cache_dir=str(tmp_path))["train"]) == 3
    assert "No space left" in caplog.text
    assert not list((tmp_path / "hype_tokenized").glob("*.arrow"))


def test_a_file_in_the_place_of_the_cache_costs_only_the_cache(tmp_path, caplog):
    (tmp_path / "hype_tokenized").write_text("not a folder")
    assert len(tokenize(splits_of(PAIRS), tokenizer_of(), 7, cache_dir=str(tmp_path))["train"]) == 3
    assert "not be cached" in caplog.text


def test_lengths_that_cannot_be_are_refused_or_lowered(tmp_path):
    with pytest.raises(InputError, match="--max_seq_length 3: 3 special tokens leave no room"):
        tokenize(splits_of(PAIRS), tokenizer_of(), 3, cache_dir=str(tmp_path))
    splits = splits_of(PAIRS)
    rows = tokenize(splits, tokenizer_of(model_max_length=7), 99, cache_dir=str(tmp_path))["train"]
    assert max(map(len, rows["input_ids"])) == 7
    assert "inputs are cut to the 7 tokens that the model takes" in splits.notes
