"""What the identity of a run depends on, and what it does not."""

import pytest

from hype.training import identity as identities
from hype.training.arguments import RunArguments
from hype.training.parser import parse


def identity(argv, **flags):
    return identities.identity(parse(argv("do_train", **flags)), {})


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


def test_the_identity_holds_the_settings_that_differ_and_no_place_or_device(argv, tiny_folder):
    flags = {"learning_rate": 1e-4, "seed": 42, "tokenizer_name": tiny_folder, "config_name": tiny_folder}
    found = identities.identity(parse(argv("do_train", "do_eval", **flags)), {"model": "abc"})
    assert found == {
        "model": "abc", "task_name": "rte", "do_train": True, "learning_rate": 1e-4, "num_train_epochs": 1,
        "max_seq_length": 32, "max_train_samples": 48, "max_eval_samples": 24, "max_predict_samples": 8,
    }  # fmt: skip


def test_two_processes_train_with_twice_the_batch_so_they_are_another_run(argv, monkeypatch):
    alone = identity(argv)
    monkeypatch.setattr(RunArguments, "world_size", 2)
    assert identity(argv) == {**alone, "world_size": 2}


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
    settings = identities.settings(arguments)
    assert "token" not in settings
    again = parse([part for name, value in settings.items() for part in (f"--{name}", str(value))])
    assert identities.settings(again) == settings and again.training.logging_steps == 3
