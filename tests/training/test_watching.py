"""What a run shows during training: its first line, loss curve, reporters and progress bars."""

import json
import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import main
from hype.training.parser import parse

SHORT = {"max_steps": 4, "save_strategy": "no", "save_model": False}


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"hype_type": "normal", "dropout_rate": 0}, ("HyPe-N 1e-05", "dropout 0,", "rte", "4 steps", "cpu")),
        ({"max_steps": 1}, ("vanilla (--hype_type normal adds HyPe)", "dropout 0.1", "1 step,")),
    ],
)
def test_one_line_says_what_is_trained_and_what_would_make_it_hype(run, caplog, flags, parts):
    caplog.set_level("INFO", "hype")
    run("do_train", **{**SHORT, **flags})
    assert any(all(part in message for part in parts) for message in caplog.messages)


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ({"num_train_epochs": 0.5}, 3), ({"gradient_accumulation_steps": 4}, 2),
        ({"per_device_train_batch_size": 9}, 6),
        # Noise is measured before training, without dropping batches.
        ({"per_device_train_batch_size": 9, "dataloader_drop_last": True, "hype_type": "normal"}, 5),
    ],
    ids=str,
)  # fmt: skip
def test_the_steps_that_are_announced_are_those_that_are_trained(run, caplog, flags, steps):
    caplog.set_level("INFO", "hype")
    record = run("do_train", **{**SHORT, "max_steps": -1, **flags})
    assert any(f" {steps} steps, " in message for message in caplog.messages) and record["steps"] == steps


def test_noise_that_drowns_the_hidden_states_is_warned_of(run, caplog):
    run("do_train", **SHORT, hype_type="normal", hype_eps=0.1)
    assert "signal to noise down to" not in caplog.text
    run("do_train", "overwrite_output_dir", **SHORT, hype_type="normal", hype_eps=10)
    assert re.search(r"--hype_eps 10: .*down to -\d+ dB", caplog.text)


def losses(folder) -> list[int]:
    state = json.loads((folder / "trainer_state.json").read_text())
    return [entry["step"] for entry in state["log_history"] if "loss" in entry]


def test_the_loss_is_logged_often_enough_for_a_curve_however_short_the_training(run, tmp_path):
    run("do_train", **SHORT)
    assert losses(tmp_path / "run") == [1, 2, 3, 4]
    run("do_train", **{**SHORT, "max_steps": 100}, output_dir=tmp_path / "long")
    assert len(losses(tmp_path / "long")) == 50
    run("do_train", **SHORT, logging_steps=3, output_dir=tmp_path / "asked")
    assert losses(tmp_path / "asked") == [3]


def test_how_often_is_logged_does_not_decide_how_often_is_evaluated(argv):
    assert parse(argv("do_train", eval_strategy="steps")).training.eval_steps == 500
    assert parse(argv("do_train", eval_strategy="steps", logging_steps=7)).training.eval_steps == 7


def test_tensorboard_gets_the_flags_of_hype_and_what_the_noise_does(run, tmp_path):
    logs = tmp_path / "logs"
    run("do_train", **SHORT, hype_type="normal", report_to="tensorboard", logging_dir=logs)
    events = EventAccumulator(str(logs)).Reload()
    assert {"train/noise_changed", "train/noise_snr_db", "train/noise_logit_change", "train/loss"} <= set(
        events.Tags()["scalars"]
    )
    text = events.Tensors("args/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"hype_type": "normal"' in text and "HyPe-N 1e-05" in text


def test_without_bars_nothing_draws_any(argv, capfd):
    assert main.main(argv("do_train", "do_eval", max_steps=2, save_steps=1, disable_tqdm=True)) == 0
    assert "%|" not in capfd.readouterr().err
    assert main.main(argv("do_train", "do_eval", "overwrite_output_dir", max_steps=2, save_steps=1)) == 0
    assert "%|" in capfd.readouterr().err
