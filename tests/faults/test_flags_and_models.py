"""Flags and models that cannot work end with 2 and one line, before anything is trained."""

import json

import pytest
from transformers import AutoConfig, AutoModel, AutoTokenizer

import main
from hype.errors import InputError
from hype.training.arguments import REMOVED_FLAGS, parse, parser
from hype.training.trainer import HyPeTrainer

REQUIRED = ["--model_name_or_path", "model", "--task_name", "rte", "--output_dir", "run"]
OUT_OF_RANGE = {
    "max_steps": ["0", "-5"],
    "save_steps": ["0", "-1", "nan", "1.5"],
    "logging_steps": ["0", "nan"],
    "eval_steps": ["0", "inf"],
    "save_total_limit": ["0", "-1"],
    "eval_accumulation_steps": ["0"],
    "gradient_accumulation_steps": ["0", "0.5"],
    "per_device_eval_batch_size": ["0", "-8"],
    "num_train_epochs": ["0", "-1", "nan", "inf"],
    "learning_rate": ["-1e-5", "nan", "inf", "2e-5x"],
    "weight_decay": ["-0.1"],
    "max_grad_norm": ["nan"],
    "adam_beta1": ["1", "-0.1", "nan"],
    "label_smoothing_factor": ["1", "2"],
    "warmup_ratio": ["1.0", "-0.1", "nan"],
    "warmup_steps": ["-1", "1.5"],
    "neftune_noise_alpha": ["-5", "nan"],
    "dataloader_num_workers": ["-1"],
    "seed": ["-1", "4294967296", "1.5", ""],
    "data_seed": ["-1"],
    "hype_eps": ["-1e-5", "nan", "inf", ""],
    "hype_type": ["", "Normal", "gauss"],
    "hype_layers": ["0-999999999999", "5-2", "0,x", "+1"],
    "dropout_rate": ["1", "nan"],
    "max_seq_length": ["0", "-1"],
    "optim": ["sgdd"],
    "lr_scheduler_type": ["none"],
    "report_to": ["nobody"],
    "do_train": ["maybe"],
    "logging_nan_inf_filter": ["true"],
    "prediction_loss_only": ["true"],
    "eval_do_concat_batches": ["false"],
    "batch_eval_metrics": ["true"],
    "label_names": ["foo", "labels"],
}
CASES = [(name, value) for name, values in OUT_OF_RANGE.items() for value in dict.fromkeys(values)]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_value_out_of_range_is_refused_by_its_name(name, value):
    with pytest.raises(InputError, match=f"--{name}|{name}") as caught:
        parse([*REQUIRED, f"--{name}", value])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", REMOVED_FLAGS)
def test_a_removed_flag_names_what_takes_its_place(name):
    with pytest.raises(InputError, match=f"--{name}: transformers 5 dropped it; use ") as caught:
        parse([*REQUIRED, f"--{name}", "1"])
    instead = str(caught.value).rpartition("use ")[2].split()[0]
    assert not instead.startswith("--") or instead in parser()._option_string_actions


@pytest.mark.parametrize("flag", ["--learning_rat", "--hype_e", "--do_tra", "--num_train", "--outputdir"])
def test_no_flag_is_abbreviated_or_guessed(flag):
    with pytest.raises(InputError, match=f"{flag}: no such flag"):
        parse([*REQUIRED, flag, "1"])


CONTRADICTIONS = [
    ({"hype_type": "normal", "hype_layers": "5-2"}, "hype_layers"),
    ({"hype_type": "normal", "hype_layers": "-1"}, "hype_layers"),
    ({"hype_type": "normal", "hype_top_layers": "-1"}, "hype_top_layers"),
    ({"task_name": "ax"}, "has no train data"),
    ({"task_name": None, "validation_file": "x.csv"}, "--train_file"),
    ({"load_best_model_at_end": "true", "eval_strategy": "no"}, "load_best_model"),
    ({"fp16": "true", "bf16": "true"}, "16"),
    ({"dropout_rate": 0.1, "all_dropout_rate": 0.1}, "exclude each other"),
    ({"rdrop_alpha": 1.0, "r3f_lambda": 1.0}, "exclude each other"),
    ({"optimizer_semantics": "release", "optim": "sgd"}, "--optim sgd and --optimizer_semantics release exclude"),
    ({"optimizer_semantics": "release", "optim": "adafactor"}, "--optim adafactor"),
    ({"task_name": "stsb", "label_smoothing_factor": 0.1}, "--label_smoothing_factor 0.1: stsb has scores"),
    ({"model_name_or_path": "main.py"}, "main.py"),
    ({"dataloader_drop_last": "true", "per_device_train_batch_size": 64}, "leaves nothing of 48 training examples"),
    ({"push_to_hub": "true"}, "--push_to_hub: the hub cannot be reached"),
    ({"save_strategy": "best"}, "metric_for_best_model"),
    ({"run_name": "caf\udce9"}, "not UTF-8"),
]
UNREACHABLE = ("model_name_or_path", "push_to_hub")


@pytest.mark.parametrize(("flags", "part"), CONTRADICTIONS, ids=[" ".join(map(str, f)) for f, _ in CONTRADICTIONS])
def test_flags_that_contradict_each_other_or_the_data_are_refused(argv, capsys, monkeypatch, flags, part):
    monkeypatch.setattr(HyPeTrainer, "train", lambda *args, **kwargs: pytest.fail("trained"))
    for place in ("hub", "training.job"):
        monkeypatch.setattr(f"hype.{place}.hub_is_reachable", lambda: False)
    assert main.main(argv("do_train", **flags)) == (4 if flags.keys() & set(UNREACHABLE) else 2)
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert line.startswith("error: ") and part in line


def test_a_best_metric_that_there_is_not_is_wrong_input(argv, capsys):
    flags = {"metric_for_best_model": "nope", "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    assert main.main(argv("do_train", "load_best_model_at_end", **flags)) == 2
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert "metric_for_best_model" in line and "eval_accuracy" in line


REFUSED_BY_LIBRARIES = [
    ({"optim": "galore_adamw"}, "--optim, --optim_args: "),
    ({"optim": "sgd", "optim_args": "foo"}, "--optim, --optim_args: "),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "--lr_scheduler_type, --lr_scheduler_kwargs: "),
    ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": '{"foo": 1}'}, "--lr_scheduler_type"),
    ({"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}, "--lr_scheduler_type"),
]


@pytest.mark.parametrize(("flags", "part"), REFUSED_BY_LIBRARIES, ids=lambda value: str(value)[:60])
def test_what_an_optimizer_or_a_schedule_refuses_is_wrong_input(argv, capsys, flags, part):
    assert main.main(argv("do_train", **flags)) == 2
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert line.startswith("error: ") and part in line


@pytest.mark.parametrize("steering", ["load_best_model_at_end", "reduce_lr_on_plateau"])
def test_an_undefined_metric_is_no_best_one_and_steers_no_learning_rate(argv, tmp_path, capsys, steering):
    """Correlation with scores that are all alike: None was compared with numbers."""
    rows = [f"text {i},{i % 5}.5" for i in range(8)]
    for name, column in (("train", rows), ("dev", [f"text {i},1.5" for i in range(4)])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["sentence1,label", *column]) + "\n")
    flags = {
        "task_name": None, "data_dir": None, "train_file": tmp_path / "train.csv", "eval_strategy": "epoch",
        "validation_file": tmp_path / "dev.csv", "save_strategy": "epoch", "metric_for_best_model": "pearson",
        **({"load_best_model_at_end": True} if "best" in steering else {"lr_scheduler_type": steering}),
    }  # fmt: skip
    assert main.main(argv("do_train", "do_eval", **flags)) == (0 if "best" in steering else 2)
    if "best" not in steering:
        assert "--metric_for_best_model pearson is undefined at step" in capsys.readouterr().err


IDLE = [
    ("hype_eps", "1e-3"), ("hype_eps", "0"), ("hype_layers", "0"), ("hype_top_layers", "1"), ("hype_low_layers", "1"),
    ("hype_intermediate", "true"), ("hype_only_intermediate", "true"), ("hype_layers_path", "layers"),
    ("hype_stream", "global"), ("hype_uniform_support", "positive"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), IDLE)
def test_a_flag_of_the_noise_without_noise_is_refused_unless_none_was_asked_for(name, value, caplog):
    """It trained vanilla without a word."""
    with pytest.raises(InputError, match=f"--{name} is without effect here: it belongs to --hype_type .*uniform"):
        parse([*REQUIRED, f"--{name}", value])
    assert parse([*REQUIRED, f"--{name}", value, "--hype_type", "uniform"]).hype.hype_type == "uniform"
    assert caplog.text == ""
    for none in (["--hype_type", "none"], ["--hype-type=none"]):
        assert parse([*REQUIRED, f"--{name}", value, *none]).hype.hype_type == "none"
        assert f"--{name} is without effect here" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("flags", ["--hype_eps 1e-5", "--hype_top_layers 0", "--hype_uniform_support symmetric"])
def test_what_is_so_anyway_may_be_said(flags, caplog):
    assert parse([*REQUIRED, *flags.split()]).hype.hype_type == "none" and caplog.text == ""


def test_the_support_of_uniform_noise_is_refused_with_normal_noise():
    with pytest.raises(InputError, match="--hype_uniform_support is without effect here"):
        parse([*REQUIRED, "--hype_type", "normal", "--hype_uniform_support", "positive"])


UNFIT = {
    "squeezebert": {
        "hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "q_groups": 1, "k_groups": 1, "v_groups": 1, "post_attention_groups": 1,
        "intermediate_groups": 1, "output_groups": 1,
    },
    "xlm": {"emb_dim": 16, "n_layers": 2, "n_heads": 2},
}  # fmt: skip


@pytest.mark.parametrize("model_type", UNFIT)
def test_a_model_that_cannot_be_perturbed_is_refused_by_its_type(argv, capsys, tmp_path, tiny_folder, model_type):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    config = AutoConfig.for_model(
        model_type, vocab_size=len(tokenizer), max_position_embeddings=64, **UNFIT[model_type]
    )
    AutoModel.from_config(config).save_pretrained(tmp_path / model_type)
    tokenizer.save_pretrained(tmp_path / model_type)
    flags = {"model_name_or_path": tmp_path / model_type, "max_steps": 1, "save_strategy": "no"}
    assert main.main(argv("do_train", hype_type="normal", **flags)) == 2
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert "Layer" in line or "layers" in line
    assert main.main(argv("do_train", **flags)) == 0, "without noise it trains"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["model_type"] == model_type
