"""The flags of main.py: which are accepted, translated or refused, and the messages."""

import json
import os
import re

import pytest

from hype.errors import InputError
from hype.training.arguments import described_flags
from hype.training.old_flags import IGNORED_FLAGS, REMOVED_FLAGS, RENAMED_FLAGS
from hype.training.parser import parse

REQUIRED = ["--model_name_or_path", "model", "--task_name", "rte", "--output_dir", "run"]


def parse_with(*flags: str):
    return parse([*REQUIRED, *flags])


OUT_OF_RANGE = {
    "max_steps": "0 -5",
    "save_steps logging_steps eval_steps": "0 -1 nan inf",
    "save_steps": "1.5",
    "save_total_limit eval_accumulation_steps per_device_train_batch_size per_device_eval_batch_size": "0 -8 x",
    "gradient_accumulation_steps": "0 0.5",
    "num_train_epochs": "0 -1 nan inf three",
    "hype_eps learning_rate weight_decay adam_epsilon max_grad_norm neftune_noise_alpha": "-1e-5 nan inf small",
    "dropout_rate all_dropout_rate adam_beta1 adam_beta2 label_smoothing_factor warmup_ratio": "1 -0.1 nan",
    "warmup_steps": "-1 1.5 inf",
    "dataloader_num_workers": "-1",
    "seed data_seed": "-1 4294967296 1.5",
    "max_seq_length": "0 -1",
    "max_train_samples max_eval_samples max_predict_samples": "0",
    "hype_type hype_stream dtype optimizer_semantics optim task_name do_train": "other",
    "attn_implementation": "someone/kernel",
    "logging_nan_inf_filter prediction_loss_only batch_eval_metrics enable_jit_checkpoint": "true",
    "eval_do_concat_batches": "false",
    "label_names": "labels",
}
CASES = [
    (name, value) for names, values in OUT_OF_RANGE.items() for name in names.split() for value in values.split()
] + [(name, "") for name in ("hype_type", "hype_eps", "seed", "model_name_or_path", "output_dir")]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_value_out_of_range_is_refused_by_its_name(name, value):
    with pytest.raises(InputError, match=f"--{name}") as caught:
        parse_with(f"--{name}", value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["--model_name_or_path", "--task_name", "--output_dir"])
def test_what_every_run_needs_is_asked_for_by_name(missing):
    place = REQUIRED.index(missing)
    with pytest.raises(InputError, match=missing):
        parse(REQUIRED[:place] + REQUIRED[place + 2 :])


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ("--train_file x.csv", "--train_file"),
        ("--dropout_rate 0.1 --all_dropout_rate 0.1", "--all_dropout_rate"),
        ("--overwrite_output_dir --resume_from_checkpoint true", "--overwrite_output_dir and --resume_from_checkpoint"),
        ("--optimizer_semantics release --optim sgd", "--optim sgd"),
        ("--optimizer_semantics release --optim adamw_torch_4bit", "--optim adamw_torch_4bit"),
        ("--fp16 --bf16", "fp16"),
        ("--load_best_model_at_end", "--eval_strategy and --save_strategy .* they are no and steps"),
        ("--load_best_model_at_end --eval_strategy epoch", "they are epoch and steps"),
        ("--lr_scheduler_kwargs {x}", "{x}: not JSON"),
        ("--accelerator_config no_such_file", "no_such_file"),
        ("--attn_implementation flash_attention_2", "--bf16"),
    ],
)
def test_flags_that_exclude_or_need_each_other_are_named(flags, part):
    with pytest.raises(InputError, match=part):
        parse_with(*flags.split())


@pytest.mark.parametrize(
    ("flag", "answer"),
    [
        ("--learning_rat", "did you mean --learning_rate"),
        ("--hype_e", "did you mean --hype_eps"),
        ("--num_train", ""),
        ("--frobnicate", "see --help"),
    ],
)
def test_no_flag_is_abbreviated_or_guessed_but_the_nearest_one_is_named(flag, answer):
    with pytest.raises(InputError, match=f"{flag}: no such flag; .*{answer}"):
        parse_with(flag, "1")


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("--evaluation_strategy epoch", "eval_strategy", "epoch"),
        ("--evaluation-strategy=steps --eval_steps 3", "eval_strategy", "steps"),
        ("--per_gpu_train_batch_size 32 --per_device_train_batch_size 8", "per_device_train_batch_size", 8),
        ("--no_cuda", "use_cpu", True),
        ("--per_gpu_eval_batch_size=5 --seed 4", "per_device_eval_batch_size", 5),
        ("--adafactor --seed 4", "optim", "adafactor"),
        ("--adafactor false", "optim", "adamw_torch_fused"),
        ("--use_fast_tokenizer false --seed 4", "seed", 4),
    ],
)
def test_a_flag_of_the_papers_transformers_is_taken_with_a_warning(flags, field, value, caplog):
    assert getattr(parse_with(*flags.split()).training, field) == value
    name = re.split("[ =]", flags)[0].lstrip("-").replace("-", "_")
    assert f"--{name} " in caplog.text


KNOWN = {f"--{name}" for flags in described_flags().values() for name, *_ in flags}


def test_every_successor_is_a_flag():
    assert {successor.split()[0] for successor in RENAMED_FLAGS.values()} <= KNOWN
    assert not KNOWN & {f"--{name}" for name in (*RENAMED_FLAGS, *IGNORED_FLAGS, *REMOVED_FLAGS)}


@pytest.mark.parametrize("name", REMOVED_FLAGS)
def test_a_flag_without_a_successor_is_refused_by_name_with_the_way_out(name):
    with pytest.raises(InputError, match=f"^--{name}: ") as caught:
        parse_with(f"--{name}", "1")
    suggested = {word.strip(",;'") for word in str(caught.value).split()[1:] if word.startswith("--")}
    assert suggested <= KNOWN


def test_flags_of_the_papers_transformers_with_another_meaning_today(monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "elsewhere")
    training = parse_with("--warmup_ratio", "0.5", "--group_by_length", "--logging_dir", "logs").training
    assert training.warmup_steps == 0.5, "transformers 5 reads a number below 1 as a share"
    assert parse_with("--warmup_steps", "5", "--warmup_ratio", "0.1").training.warmup_steps == 5, "which overrides it"
    assert training.train_sampling_strategy == "group_by_length"
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "logs"


@pytest.mark.parametrize("flags", ["--hype_eps 1e-5", "--hype_top_layers 0"])
def test_a_flag_of_the_noise_without_noise_is_refused_unless_none_was_asked_for(flags, caplog):
    """Whatever its value: --hype_eps 1e-5, the default, used to train vanilla silently."""
    name, value = flags.split()
    with pytest.raises(InputError, match=f"{name} has no effect here: .* --hype_type .*uniform"):
        parse_with(name, value)
    for hype_type in ("uniform", "none"):
        assert parse_with(name, value, f"--hype-type={hype_type}").hype.hype_type == hype_type
    assert caplog.text == ""


def test_a_json_file_of_flags_may_be_overridden_after_it(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"seed": 3, "do_train": True, "lr_scheduler_kwargs": {"a": 1}, "token": None}))
    training = parse([str(path), *REQUIRED]).training
    assert (training.seed, training.do_train, training.lr_scheduler_kwargs) == (3, True, {"a": 1})
    assert parse([str(path), *REQUIRED, "--seed", "5"]).training.seed == 5


@pytest.mark.parametrize(("content", "part"), [("{not json", "not JSON"), ("[1]", "one JSON"), (None, "No such")])
def test_an_unfit_json_file_is_named(tmp_path, content, part):
    path = tmp_path / "flags.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"flags.json: .*{part}"):
        parse([str(path)])


def test_a_home_folder_is_expanded_where_the_shell_does_not(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    arguments = parse_with("--data_dir=~/glue", "--cache-dir=~/cache", "--checkpoint_dir", "~/w", "--run_name", "a~/b")
    assert (arguments.data.data_dir, arguments.model.cache_dir) == ("/home/me/glue", "/home/me/cache")
    assert (arguments.model.checkpoint_dir, arguments.training.run_name) == ("/home/me/w", "a~/b")


def test_a_path_that_no_record_could_hold_is_refused():
    with pytest.raises(InputError, match="not UTF-8"):
        parse_with("--run_name", "caf\udce9")


@pytest.mark.parametrize("variables", [{"LOCAL_RANK": "0"}, {"WORLD_SIZE": "2"}, {"LOCAL_RANK": "1", "RANK": "1"}])
def test_what_torchrun_has_left_in_the_environment_is_named(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"no .*MASTER_ADDR.*: unset {' '.join(variables)}"):
        parse(REQUIRED)


def test_a_precision_that_accelerate_launch_sets_is_to_be_a_flag(monkeypatch):
    """It was used, but not recorded."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(InputError, match=r"ACCELERATE_MIXED_PRECISION=bf16.*pass --bf16"):
        parse(REQUIRED)
    assert parse_with("--bf16").training.bf16


def test_a_reporter_that_is_not_there_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["mlflow"])
    with pytest.raises(InputError, match=r"--report_to wandb: .*install its package, or give none, mlflow"):
        parse_with("--report_to", "wandb")


@pytest.mark.parametrize("flags", ["--torch_compile", "--torch_compile_backend eager"])
def test_the_compiler_does_not_round_products_unless_told(flags):
    """transformers enables TF32 together with torch.compile."""
    assert parse_with(*flags.split()).training.tf32 is False
    assert parse(REQUIRED).training.tf32 is None


@pytest.mark.parametrize("name", ["ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"])
def test_what_accelerate_would_read_from_the_environment_is_refused(name, monkeypatch):
    monkeypatch.setenv(name, "true")
    with pytest.raises(InputError, match=name):
        parse(REQUIRED)
