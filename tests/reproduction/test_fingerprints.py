"""Fingerprints: what names a run's model and data, and what stands for them where they are not at hand."""

import hashlib
import shutil
from pathlib import Path

import pytest

from hype.errors import InputError
from hype.reproduction.expansion import expand
from hype.reproduction.experiments import load
from hype.reproduction.fingerprints import (
    Fingerprints,
    data_fingerprint,
    file_fingerprint,
    model_fingerprint,
    tokenizer_fingerprint,
)
from hype.reproduction.narrowing import Narrowing
from tests.reproduction.small_runs import SAMPLE, cells_in, write_tiny_model

TASKS = ("rte", "cola")


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / "model")


@pytest.fixture
def known(model):
    hashes = model_fingerprint(str(model)), tokenizer_fingerprint(str(model))
    return Fingerprints(*hashes, 3, {task: data_fingerprint(str(SAMPLE), task) for task in TASKS})


def test_a_model_is_the_hash_of_its_configuration_and_weights(model):
    hashes = [hashlib.sha256((model / name).read_bytes()).hexdigest() for name in ("config.json", "model.safetensors")]
    assert model_fingerprint(str(model)) == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_what_is_not_at_hand_is_taken_as_the_studys(known, tmp_path):
    assert known.model_of("some/model") == known.model
    assert known.data_of(str(tmp_path / "nothing"), "rte") == known.data["rte"]


def test_what_is_at_hand_is_compared(known, model):
    assert known.model_of(str(model)) == known.model
    assert known.data_of(str(SAMPLE), "cola") == known.data["cola"]


def test_other_data_and_another_model_are_refused_by_their_place(known, tmp_path):
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    (tmp_path / "glue" / "RTE" / "train.tsv").write_text("other")
    with pytest.raises(InputError, match=r"glue, rte: not what the study was made with"):
        known.data_of(str(tmp_path / "glue"), "rte")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"other: not what the study was made with"):
        known.model_of(str(tmp_path / "other"))


def test_a_task_that_the_study_does_not_have_is_refused(known):
    with pytest.raises(InputError, match="mrpc: the study has no data of this task; it has rte, cola"):
        known.data_of(str(SAMPLE), "mrpc")


def test_advglues_file_is_compared_where_it_is_at_hand(tmp_path):
    file = tmp_path / "dev.json"
    file.write_text("{}")
    known = Fingerprints("", "", 3, {"advglue": file_fingerprint(str(file))})
    assert known.file_of(str(file)) == known.file_of("path/to/none")
    file.write_text('{"rte": []}')
    file_fingerprint.cache_clear()
    with pytest.raises(InputError, match=r"dev.json: not what the study was made with"):
        known.file_of(str(file))


def folder_of(**changes) -> str:
    (cell,) = cells_in(Path("results"), Path("some/model"), methods=("vanilla",), seeds=(1,), **changes)
    return cell.folder.name


def test_rates_that_differ_in_the_seventh_digit_are_two_runs():
    assert folder_of(learning_rates=(1e-5,)) != folder_of(learning_rates=(1.0000001e-5,))


def test_another_tokenizer_is_another_run_whatever_else_is_in_the_folder(model, known):
    def folder() -> str:
        tokenizer_fingerprint.cache_clear()
        (cell,) = cells_in(Path("results"), model, methods=("vanilla",), seeds=(1,))
        return cell.folder.name

    before = folder()
    (model / "README.md").write_text("a card")
    assert folder() == before
    path = model / "tokenizer.json"
    path.write_text(path.read_text().replace('"a"', '"ä"'))
    assert folder() != before
    with pytest.raises(InputError, match="not what the study was made with"):
        known.tokenizer_of(str(model))


def test_where_a_run_predicts_the_test_set_is_part_of_it(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "glue")
    cells = [expand(load("table_12"), Narrowing(tasks=("rte",), data_dir=str(tmp_path / "glue")))[0].folder]
    plain = folder_of(data_dir=str(tmp_path / "glue"))
    test_file = tmp_path / "glue" / "RTE" / "test.tsv"
    test_file.write_text(test_file.read_text().replace("a", "b"))
    data_fingerprint.cache_clear()
    cells.append(expand(load("table_12"), Narrowing(tasks=("rte",), data_dir=str(tmp_path / "glue")))[0].folder)
    assert cells[0] != cells[1] and folder_of(data_dir=str(tmp_path / "glue")) == plain
