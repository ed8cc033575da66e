"""The flags of the techniques: what is refused, and which are selected in what order."""

import math

import pytest

from hype.errors import InputError
from hype.techniques import FLAGS as ALL_FLAGS
from hype.techniques import TechniqueArguments, selected, switches_of
from tests.techniques.runs import FLAGS


def names(hype_is_on=False, **flags):
    return [technique.name for technique in selected(TechniqueArguments(**flags), hype_is_on)]


@pytest.mark.parametrize("hype_is_on", [False, True])
def test_its_flags_switch_one_technique_on(hype_is_on):
    assert names(hype_is_on) == []
    for name, flags in FLAGS.items():
        assert names(hype_is_on, **flags) == [name]
    assert names(hype_is_on, top_k_layers=0) == ["Top-K Tuning"]


def test_anchors_and_fisher_information_come_before_noise_on_the_parameters():
    flags = {**FLAGS["NoisyTune"], **FLAGS["RecAdam"], **FLAGS["Child-Tuning D"], **FLAGS["Mixout"]}
    assert names(**flags)[-1] == "NoisyTune"


def switched_on(flag):
    """Return the flags that switch on the technique of which `flag` is an option, if any."""
    switches = {switch.name for switch in switches_of(flag)}
    return next((flags for flags in FLAGS.values() if switches & set(flags)), {})


OUT_OF_RANGE = [
    *((name, value) for name, flag in ALL_FLAGS.items() if flag.low is not None for value in (math.nan, math.inf, -1)),
    *((name, 1.01) for name in ("reserve_p", "mixout_p")),
    *((name, "other") for name, flag in ALL_FLAGS.items() if flag.choices),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_values_out_of_range_and_unknown_choices_are_refused_by_name(name, value):
    expected = "give .* or " if value == "other" else "give a finite number "
    with pytest.raises(InputError, match=f"^--{name} {value}: {expected}"):
        TechniqueArguments(**{**switched_on(ALL_FLAGS[name]), name: value})


@pytest.mark.parametrize("name", [name for name, flag in ALL_FLAGS.items() if switches_of(flag)])
def test_an_option_without_its_technique_is_refused(name):
    value = {"kl_reduction": "sum", "r3f_noise_type": "uniform", "rdrop_ce_factor": 1.0}.get(name, 0.9)
    TechniqueArguments(**{**switched_on(ALL_FLAGS[name]), name: value})
    with pytest.raises(InputError, match=f"^--{name} has no effect"):
        TechniqueArguments(**{name: value})


@pytest.mark.parametrize("mode", ["ChildTuning-F", "ChildTuning-D"])
def test_child_tuning_without_a_share_is_refused(mode):
    with pytest.raises(InputError, match="--reserve_p"):
        TechniqueArguments(mode=mode)


@pytest.mark.parametrize("option", [{"r3f_eps": 1e-4}, {"r3f_noise_type": "uniform"}])
def test_noise_of_r3f_beside_hype_is_refused_as_without_effect(option):
    assert names(False, r3f_lambda=1.0, **option) == ["R3F"]
    with pytest.raises(InputError, match=r"D\.2"):
        names(True, r3f_lambda=1.0, **option)
