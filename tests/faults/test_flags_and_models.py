"""Flags and models that cannot work end with 2 and one line, before anything is trained."""

from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from transformers import AutoConfig, AutoModel, AutoTokenizer

from hype.cli import main
from hype.training.trainer import HyPeTrainer

REFUSED = [
    ({"learning_rate": -1}, "--learning_rate -1"),
    ({"hype_type": "normal", "hype_eps": 1e38}, "--hype_eps 1e+38"),
    ({"hype_type": "normal", "hype_layers_path": "encoder.blocks"}, "encoder.blocks"),
    ({"fp16": "true"}, "--fp16: accelerate ignores it on a CPU"),
    ({"fsdp": "full_shard"}, "--fsdp full_shard: it replaces the parameters"),
    ({"do_train": "false"}, "--do_train, --do_eval or --do_predict"),
    ({"text_columns": "premise,hypothesis"}, "--text_columns is for your own files"),
    ({"task_name": "stsb", "label_smoothing_factor": 0.1}, "--label_smoothing_factor 0.1: stsb has scores"),
    ({"model_name_or_path": "no-such-model"}, "no-such-model"),
    ({"dataloader_drop_last": "true", "per_device_train_batch_size": 64}, "drops all 48 training examples"),
    ({"push_to_hub": "true"}, "--push_to_hub: the hub cannot be reached"),
    ({"save_strategy": "best"}, "metric_for_best_model"),
    # What libraries refuse
    ({"optim": "galore_adamw"}, "--optim, --optim_args: "),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "--lr_scheduler_type, --lr_scheduler_kwargs: "),
    ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": '{"foo": 1}'}, "--lr_scheduler_type"),
]
UNREACHABLE = ("model_name_or_path", "push_to_hub")


@pytest.mark.parametrize(("flags", "part"), REFUSED, ids=[" ".join(map(str, flags.items())) for flags, _ in REFUSED])
def test_what_cannot_work_is_refused_in_one_line_before_the_first_step(argv, capsys, monkeypatch, flags, part):
    monkeypatch.setattr(HyPeTrainer, "training_step", lambda *args, **kwargs: pytest.fail("trained"))
    for place in ("hub", "training.finetune"):
        monkeypatch.setattr(f"hype.{place}.hub_is_reachable", lambda: False)
    assert main(argv(**{"do_train": "true", **flags})) == (4 if flags.keys() & set(UNREACHABLE) else 2)
    out, err = capsys.readouterr()
    line = err.rstrip().split("\n")[-1]
    assert line.startswith("error: ") and part in line
    assert out == "" and err.count("error: ") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    "error",
    [
        HfHubHTTPError("401 Client Error.\n\nInvalid password", response=SimpleNamespace(headers={}, request=None)),
        HTTPError("the connection broke"),
    ],
)
def test_a_hub_that_refuses_an_upload_is_quoted_with_the_way_out(error, argv, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr("hype.training.finetune.hub_is_reachable", lambda: True)
    monkeypatch.setattr(HfApi, "create_repo", refuse)
    assert main(argv("do_train", "push_to_hub")) == 4
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert line.startswith(f"error: --push_to_hub: {str(error)[:10]}") and "hf auth login" in line


def test_a_best_metric_that_there_is_not_is_wrong_input(argv, capsys):
    flags = {"metric_for_best_model": "nope", "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    assert main(argv("do_train", "load_best_model_at_end", **flags)) == 2
    line = capsys.readouterr().err.rstrip().split("\n")[-1]
    assert "metric_for_best_model" in line and "eval_accuracy" in line


@pytest.mark.parametrize("following", [{"load_best_model_at_end": True}, {"lr_scheduler_type": "reduce_lr_on_plateau"}])
def test_an_undefined_metric_is_never_the_best(argv, tmp_path, following):
    """Correlation with scores that are all alike: None was compared with numbers."""
    rows = [f"text {i},{i % 5}.5" for i in range(8)]
    for name, column in (("train", rows), ("dev", [f"text {i},1.5" for i in range(4)])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["sentence1,label", *column]) + "\n")
    flags = {
        "task_name": None, "data_dir": None, "train_file": tmp_path / "train.csv", "eval_strategy": "epoch",
        "validation_file": tmp_path / "dev.csv", "save_strategy": "epoch", "metric_for_best_model": "pearson",
    }  # fmt: skip
    assert main(argv("do_train", "do_eval", **flags, **following)) == 0


def test_a_model_that_cannot_be_perturbed_is_refused_by_its_type(argv, capsys, tmp_path, tiny_folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    config = AutoConfig.for_model(
        "squeezebert", vocab_size=len(tokenizer), hidden_size=16, embedding_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=24, max_position_embeddings=64,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    flags = {"model_name_or_path": tmp_path / "model", "max_steps": 1, "save_strategy": "no"}
    assert main(argv("do_train", hype_type="normal", **flags)) == 2
    assert "squeezebert cannot" in capsys.readouterr().err.rstrip().split("\n")[-1]
    assert main(argv("do_train", **flags)) == 0, "without noise it trains"
