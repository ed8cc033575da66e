"""The scripts in examples/ run on tiny models; those whose package is not installed are skipped."""

import logging
import math
import runpy
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from tests.conftest import word_tokenizer
from tests.tiny import SAMPLE, tiny_config

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "make_sample_glue")
NEEDED = {"peft_lora": "peft", "sentence_transformers_example": "sentence_transformers", "trl_sft": "trl"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of PEFT and TRL
@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains_with_hype_and_without_hidden_dropout(
    name, tiny_folder, tmp_path, monkeypatch, caplog, capsys
):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    model = tiny_folder
    if name == "trl_sft":
        model, tokenizer = tmp_path / "llama", word_tokenizer(SAMPLE)
        tokenizer.eos_token = "[SEP]"
        AutoModelForCausalLM.from_config(tiny_config("llama", vocab_size=len(tokenizer))).save_pretrained(model)
        tokenizer.save_pretrained(model)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, "hype")
    assert math.isfinite(runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](str(model)))
    if name == "loop":
        assert "the noise changes" in capsys.readouterr().out
    else:
        assert "hidden dropout is off" in caplog.text
