"""What a record says about its run."""

import pytest

from hype.training import record as records
from hype.training.parser import parse


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
