"""The command line: what is refused, in one line, with which exit code; and where the output goes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer

import main
from hype.files import file_sha256
from hype.training.arguments import parse
from hype.training.folder import locked
from tests.tiny import SAMPLE

ROOT = Path(__file__).parents[1]


def fails(capsys, argv: list[str]) -> tuple[int, str]:
    """Run a command that must fail; return its exit code and its one line on stderr."""
    code = main.main(argv)
    captured = capsys.readouterr()
    assert captured.out == "", "a failed command has no result"
    lines = [line for line in captured.err.split("\n") if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in captured.err
    return code, lines[0]


BAD_FLAGS = [
    ({"learning_rat": 1}, ["--learning_rat", "did you mean --learning_rate"]),
    ({"evaluation_strategy": "steps"}, ["--evaluation_strategy", "--eval_strategy"]),
    ({"per_gpu_train_batch_size": 8}, ["--per_device_train_batch_size"]),
    ({"hype_eps": -1e-5}, ["--hype_eps -1e-05", "at least 0"]),
    ({"attn_implementation": "someone/kernel"}, ["--attn_implementation someone/kernel", "eager, sdpa"]),
    ({"hype_eps": "nan"}, ["--hype_eps nan", "finite"]),
    ({"hype_eps": "inf"}, ["--hype_eps inf", "finite"]),
    ({"hype_type": "normal", "hype_eps": 1e38}, ["--hype_eps 1e+38", "overflow"]),
    ({"hype_eps": "small"}, ["--hype_eps", "'small'"]),
    ({"hype_type": "gaussian"}, ["--hype_type gaussian", "normal, uniform or none"]),
    ({"hype_type": "normal", "hype_layers": "0,x"}, ["--hype_layers 0,x", "0,1,5-7"]),
    ({"hype_type": "normal", "hype_layers": "1-0", "model_name_or_path": "."}, ["--hype_layers 1-0", "0,1,5-7"]),
    ({"hype_type": "normal", "hype_layers": "0,9"}, ["layers 0 to 1"]),
    ({"hype_type": "normal", "hype_top_layers": 3}, ["hype_top_layers 3", "2 layers"]),
    ({"hype_type": "normal", "hype_layers_path": "encoder.blocks"}, ["encoder.blocks"]),
    ({"task_name": "qqqp"}, ["--task_name qqqp", "qqp"]),
    ({"learning_rate": -1}, ["--learning_rate -1"]),
    ({"num_train_epochs": "nan"}, ["--num_train_epochs nan"]),
    ({"per_device_train_batch_size": 0}, ["--per_device_train_batch_size 0"]),
    ({"seed": -1}, ["--seed -1"]),
    ({"warmup_ratio": 1.0}, ["--warmup_ratio 1.0", "below 1"]),
    ({"warmup_ratio": 0.1, "warmup_steps": 5}, ["--warmup_ratio", "--warmup_steps"]),
    ({"adam_beta2": 1.0}, ["--adam_beta2 1.0"]),
    ({"dropout_rate": 1.5}, ["--dropout_rate 1.5"]),
    ({"dtype": "int8"}, ["--dtype int8"]),
    ({"max_seq_length": 0}, ["--max_seq_length 0"]),
    ({"max_train_samples": 0}, ["--max_train_samples 0"]),
    ({"optimizer_semantics": "new"}, ["--optimizer_semantics new"]),
    ({"logging_nan_inf_filter": True}, ["--logging_nan_inf_filter"]),
    ({"enable_jit_checkpoint": True}, ["--enable_jit_checkpoint", "leave the flag out"]),
    ({"train_file": "x.csv"}, ["--task_name", "--train_file"]),
    ({"task_name": None}, ["--task_name", "--train_file"]),
    ({"model_name_or_path": None}, ["--model_name_or_path"]),
    ({"model_name_or_path": "./no/such/model"}, ["./no/such/model", "no such folder"]),
    ({"output_dir": None}, ["--output_dir"]),
    ({"data_dir": "/no/such/glue"}, ["/no/such/glue"]),
    ({"resume_from_checkpoint": "no/checkpoint-3"}, ["no/checkpoint-3"]),
]


@pytest.mark.parametrize(
    ("flags", "parts"), BAD_FLAGS, ids=[" ".join(f) + f" {next(iter(f.values()))}" for f, _ in BAD_FLAGS]
)
def test_a_bad_flag_ends_in_one_line_that_names_it_and_the_remedy(argv, capsys, flags, parts):
    code, line = fails(capsys, argv("do_train", **flags))
    assert code == 2
    assert all(part in line for part in parts), line


def test_help_goes_to_stdout(capsys):
    assert main.main(["--help"]) == 0
    assert "--hype_eps" in capsys.readouterr().out


def test_an_attention_that_is_not_installed_or_fits_no_float32_is_refused(argv, capsys):
    asked = {"attn_implementation": "flash_attention_2"}
    code, line = fails(capsys, argv("do_train", **asked))
    assert code == 2 and "--attn_implementation flash_attention_2" in line and "--bf16" in line
    code, line = fails(capsys, argv("do_train", "bf16", **asked))
    assert code == 2 and "installed" in line and "pass another --attn_implementation" in line


def test_a_run_with_nothing_to_do_is_refused(argv, capsys):
    code, line = fails(capsys, argv())
    assert code == 2 and "--do_train" in line


def test_a_command_may_be_corrected_after_a_refusal_in_the_same_folder(argv, capsys):
    assert main.main(argv("do_train", hype_type="normal", hype_layers="9")) == 2
    assert main.main(argv("do_train", hype_type="normal", hype_layers="1")) == 0


def test_the_result_goes_to_stdout_and_the_log_to_stderr(argv, capsys, tmp_path):
    assert main.main(argv("do_train", "do_eval", hype_type="normal")) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("rte: HyPe-N 1e-05") and captured.out.rstrip().endswith("run.json")
    assert "accuracy" in captured.out and "train_runtime" not in captured.out
    assert "signal to noise" in captured.err or "train_runtime" in captured.err


def test_the_released_command_runs_as_it_is_printed(argv, tiny_folder, tmp_path, monkeypatch, capsys):
    glue = tmp_path / "glue" / "RTE"
    glue.mkdir(parents=True)
    header, *rows = (SAMPLE / "RTE" / "train.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    rows = [f"{i}\t{i} {row.split(chr(9), 1)[1]}" for i, row in enumerate((rows * 20)[:1100])]
    for name in ("train", "dev"):
        (glue / f"{name}.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    monkeypatch.setenv("GLUE_DIR", str(glue.parent))
    command = (
        "--adam_epsilon 1e-6 --max_seq_length 128 --eval_accumulation_steps 20 --do_eval --do_train --warmup_ratio 0.1 "
        "--weight_decay 0.01 --save_total_limit 1 --save_steps 30000 --model_name_or_path {MODEL} --task_name rte "
        "--per_device_train_batch_size 16 --learning_rate 2e-5 --num_train_epochs 3.0 --seed 42 "
        "--output_dir {OUTPUT_DIR} --low_resource --dropout_rate 0.0 --hype_type uniform --hype_eps 1e-5"
    )
    assert main.main(command.format(MODEL=tiny_folder, OUTPUT_DIR=tmp_path / "run").split()) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["steps"] == 189  # ceil(1000 / 16) * 3
    assert record["data"]["rows"]["train"] == 1000
    assert AutoConfig.from_pretrained(tmp_path / "run").hidden_dropout_prob == 0.0
    assert AutoConfig.from_pretrained(tmp_path / "run").attention_probs_dropout_prob == 0.1


def test_a_json_file_of_flags_may_be_overridden_behind_it(argv, tmp_path, capsys):
    flags = argv("do_train", "do_eval", seed=3)
    pairs = dict(zip([flag.removeprefix("--") for flag in flags[:-2:2]], flags[1:-2:2], strict=True))
    (tmp_path / "flags.json").write_text(json.dumps({**pairs, "do_train": True, "do_eval": True}))
    assert main.main([str(tmp_path / "flags.json"), "--seed", "5"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 5
    capsys.readouterr()
    (tmp_path / "flags.json").write_text("{not json")
    assert fails(capsys, [str(tmp_path / "flags.json")])[0] == 2


def test_flags_that_transformers_5_dropped_still_work(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "elsewhere")
    flags = {"warmup_ratio": 0.5, "logging_dir": tmp_path / "logs"}
    assert main.main(argv("do_train", "group_by_length", "overwrite_output_dir", **flags)) == 0
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "logs")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["arguments"]["training"]["train_sampling_strategy"] == "group_by_length"
    log = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    assert record["arguments"]["training"]["warmup_steps"] == 0.5 and log["global_step"] == 6


@pytest.mark.parametrize("flags", [{"torch_compile": True}, {"torch_compile_backend": "eager"}])
def test_the_compiler_does_not_round_products_unless_told(argv, flags):
    """transformers switches TF32 on with it."""
    assert parse(argv("do_train", **flags)).training.tf32 is False
    assert parse(argv("do_train")).training.tf32 is None


def test_a_folder_in_use_by_a_live_process_is_refused_with_its_holder(argv, capsys, tmp_path):
    with locked(tmp_path / "run"):
        code, line = fails(capsys, argv("do_train"))
    assert code == 6 and str(os.getpid()) in line


def test_an_unreachable_hub_says_what_to_pass_instead(argv, capsys, monkeypatch):
    monkeypatch.setattr("hype.hub.hub_is_reachable", lambda: False)
    code, line = fails(capsys, argv("do_train", model_name_or_path="bert-large-uncased"))
    assert code == 4 and "bert-large-uncased" in line and "folder" in line


@pytest.mark.parametrize("damage", ["truncated", "missing", "not a config", "code of its own"])
def test_a_damaged_or_unsafe_model_is_refused(argv, capsys, tiny_folder, tmp_path, damage):
    model = tmp_path / "model"
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(model)
    config, weights = (tiny_folder / name for name in ("config.json", "model.safetensors"))
    settings = json.loads(config.read_text())
    if damage == "not a config":
        settings = {"answer": 42}
    if damage == "code of its own":
        settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (model / "config.json").write_text(json.dumps(settings))
    if damage != "missing":
        content = weights.read_bytes()
        (model / "model.safetensors").write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
    code, line = fails(capsys, argv("do_train", model_name_or_path=model))
    assert code == 2 and str(model) in line


def test_a_tokenizer_with_more_words_than_the_model_is_refused_with_both_numbers(argv, capsys, tiny_folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    size = len(tokenizer)
    tokenizer.add_tokens([f"new{i}" for i in range(5)])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    code, line = fails(capsys, argv("do_train", tokenizer_name=tmp_path / "tokenizer"))
    assert code == 2 and str(size) in line and str(size + 5) in line


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_in_the_same_weights(argv, tmp_path):
    """SIGKILL twice at different moments, then let the command finish."""
    flags = {"hype_type": "normal", "hype_eps": 1e-3, "num_train_epochs": 12, "per_device_train_batch_size": 4,
             "save_steps": 5, "save_total_limit": 1}  # fmt: skip
    command = [sys.executable, str(ROOT / "main.py"), *argv("do_train", **flags)]
    for step in (10, 90):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (tmp_path / "run" / f"checkpoint-{step}").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    killed = file_sha256(tmp_path / "run" / "model.safetensors")
    straight = [sys.executable, str(ROOT / "main.py"), *argv("do_train", **flags, output_dir=tmp_path / "straight")]
    assert subprocess.run(straight, cwd=tmp_path, capture_output=True).returncode == 0
    assert file_sha256(tmp_path / "straight" / "model.safetensors") == killed


@pytest.mark.slow
def test_torchrun_trains_in_two_processes_without_a_gpu_and_without_being_told(argv, tmp_path):
    """Without --use_cpu, transformers 5.23 took both for a process of its own: two trainings in one folder."""
    flags = argv("do_train", "do_eval", use_cpu=None, hype_type="normal", per_device_train_batch_size=4)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--standalone",
        "main.py",
        *flags,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["world_size"] == 2 and record["steps"] == 6  # 48 / (4 * 2)
    assert done.stdout.count("rte: HyPe-N") == 1, "one process reports"
