"""What a record says about its run, and about the code that wrote it."""

import pytest

from hype.training import record as records
from hype.training.arguments import parse
from hype.training.finetune import finetune


def identity(argv, **flags):
    return records.identity(parse(argv("do_train", **flags)), {})


EVERY_STEP = {"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "eval_loss", "save_steps": 2}
PLATEAU, GREEDY = ({"lr_scheduler_type": name} for name in ("reduce_lr_on_plateau", "greedy"))
EVALUATIONS = [{"eval_steps": 6}, {"eval_strategy": "epoch"}, {"eval_delay": 4}]


@pytest.mark.parametrize(
    ("guided", "change"),
    [
        *((guided, change) for guided in (PLATEAU, GREEDY) for change in EVALUATIONS),
        ({"load_best_model_at_end": "true"}, {"eval_delay": 4}),
        ({"load_best_model_at_end": "true"}, {"save_steps": 4}),
    ],
    ids=str,
)
def test_evaluations_that_steer_a_training_or_choose_its_model_are_part_of_the_identity(argv, guided, change):
    """One run id used to stand for different weights; other evaluations change nothing."""
    assert identity(argv, **{**EVERY_STEP, **guided}) != identity(argv, **{**EVERY_STEP, **guided, **change})
    assert identity(argv, **EVERY_STEP) == identity(argv, **{**EVERY_STEP, **change})


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        ({}, "vanilla, dropout of the checkpoint"),
        ({"do_train": False, "do_eval": True}, "evaluation, dropout of the checkpoint"),
        ({"neftune_noise_alpha": 5}, "NEFTune 5, dropout of the checkpoint"),
        (
            {"hype_type": "normal", "label_smoothing_factor": 0.1, "dropout_rate": 0},
            "HyPe-N 1e-05 + label smoothing 0.1, dropout 0",
        ),
    ],
)
def test_the_label_names_what_makes_a_run_other_than_vanilla(argv, flags, label):
    assert records.method_label(parse(argv(**{"do_train": True, **flags})), []) == label


PATHS = {"output_dir", "model_name_or_path", "tokenizer_name", "config_name", "checkpoint_dir", "data_dir", "cache_dir"}


def test_the_identity_holds_the_settings_that_differ_and_no_place_device_or_process_count(argv, tiny_folder):
    flags = {"learning_rate": 1e-4, "seed": 42, "tokenizer_name": tiny_folder, "config_name": tiny_folder}
    found = records.identity(parse(argv("do_train", "do_eval", **flags)), {"model": "abc"})
    assert found["learning_rate"] == 1e-4 and found["model"] == "abc"
    assert "seed" not in found, "42 is the default"
    assert not PATHS & found.keys() and not {"world_size", "use_cpu", "device"} & found.keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"warmup_ratio": 0.1}, {"warmup_steps": 0.1}),
        ({"group_by_length": "true"}, {"train_sampling_strategy": "group_by_length"}),
        # A loop over noise types passes the same flags to all of them, including none.
        ({"hype_type": "none", "hype_eps": 1e-3, "hype_top_layers": 1}, {}),
    ],
    ids=["warmup", "lengths", "no noise"],
)
def test_flags_that_say_the_same_are_one_run(argv, one, other):
    assert identity(argv, **one) == identity(argv, **other)


def test_settings_are_the_flags_that_repeat_the_run(argv, tmp_path):
    flags = {"hype_type": "normal", "warmup_ratio": 0.1, "token": "hf_secret", "logging_steps": 3}
    arguments = parse(argv("do_train", **flags))
    settings = records.settings(arguments)
    assert "token" not in settings
    again = parse([part for name, value in settings.items() for part in (f"--{name}", str(value))])
    assert records.settings(again) == settings and again.training.logging_steps == 3


def test_the_identity_can_be_made_without_the_run(argv):
    """The reproduction uses it to name a folder before anything is trained."""
    record = finetune(parse(argv("do_train", "do_eval", max_steps=1, save_strategy="no")))
    fingerprints = {
        "model": record["model"]["fingerprint"],
        "tokenizer": record["identity"]["tokenizer"],
        **{f"data.{split}": digest for split, digest in record["data"]["fingerprint"].items()},
    }
    again = records.identity(parse(argv("do_train", "do_eval", max_steps=1, save_strategy="no")), fingerprints)
    assert again == record["identity"] and records.run_id(again) == record["run_id"]


def test_every_record_has_every_field_in_one_order(argv, tmp_path):
    fields = [
        list(finetune(parse(argv(action, max_steps=1, output_dir=tmp_path / action))))
        for action in ("do_train", "do_eval", "do_predict")
    ]
    assert fields[0] == fields[1] == fields[2]


def test_the_commit_of_a_hub_model_is_recorded(argv, tmp_path):
    """With transformers 5.23 it used to be null."""
    cached = tmp_path / "cache" / "models--someone--bert"
    (cached / "snapshots" / "abc123").mkdir(parents=True)
    (cached / "snapshots" / "abc123" / "config.json").write_text("{}")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123")
    assert records.hub_revision(parse(argv("do_train", model_name_or_path="someone/bert")).model) == "abc123"
    assert records.hub_revision(parse(argv("do_train")).model) is None
