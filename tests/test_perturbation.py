"""Attaching and removing HyPe: where it acts, what it leaves unchanged, what it refuses."""

import copy
import hashlib
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hype import HyPe, HyPeCallback
from tests.by_hand import IDS, hooks_of
from tests.tiny import CONFIGS, tiny_batch, tiny_model

BATCH = tiny_batch()


def names_of(model) -> list[list[str]]:
    named = (model.state_dict().items(), model.named_buffers(), model.named_modules())
    return [[name for name, _ in pairs] for pairs in named]


def logits_of(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def files_of(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_noise_is_absent_in_evaluation(model_type):
    model = tiny_model(model_type).eval()
    expected = logits_of(model)
    with HyPe(model, "normal", 0.5, hype_intermediate=True):
        assert torch.equal(logits_of(model), expected)
        logits_of(model.train())
        assert torch.equal(logits_of(model.eval()), expected)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_noise_is_fresh_at_every_forward_and_draws_nothing_from_torch_generators(model_type):
    model = tiny_model(model_type, dropout=0.0).train()
    before = torch.get_rng_state()
    logits_of(model), logits_of(model)
    alone = torch.get_rng_state()  # BART of transformers 5.17 draws for LayerDrop
    torch.set_rng_state(before)
    with HyPe(model, "normal", 0.5, hype_intermediate=True):
        assert not torch.equal(logits_of(model), logits_of(model))
    assert torch.equal(torch.get_rng_state(), alone)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_nothing_is_added_to_a_model_that_is_saved_as_a_plain_checkpoint(model_type, tmp_path):
    model = tiny_model(model_type).eval()
    names = names_of(model)
    model.save_pretrained(tmp_path / "plain")
    with HyPe(model, "normal", 0.5):
        assert names_of(model) == names
        model.save_pretrained(tmp_path / "noised")
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "noised")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "noised").eval()
    assert torch.equal(logits_of(loaded), logits_of(model))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_noise_ends_with_the_block_however_it_ends(error):
    model = tiny_model("bert", dropout=0.0).train()
    expected = logits_of(model)
    with pytest.raises(error) if error else nullcontext(), HyPe(model, "normal", 0.5, hype_intermediate=True):
        assert len(hooks_of(model)) > 0 and not torch.equal(logits_of(model), expected)
        if error:
            raise error
    assert hooks_of(model) == [] and torch.equal(logits_of(model), expected)


def test_an_exception_inside_a_layer_leaves_a_model_that_still_works():
    model = tiny_model("albert", dropout=0.0).train()
    feed_forward = model.albert.encoder.albert_layer_groups[0].albert_layers[0].ffn
    with HyPe(model, "normal", 0.5, hype_layers=[1]) as hype:
        expected = logits_of(model)
        failing = feed_forward.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(IDS)
        failing.remove()
        hype.set_step(0)
        assert torch.equal(logits_of(model), expected)
    assert hooks_of(model) == []


def test_a_removed_one_stays_away_and_leaves_hooks_of_others_and_room_for_the_next():
    model = tiny_model("bert", dropout=0.0).train()
    mine = model.register_forward_hook(lambda *_: None)
    with HyPe(model, "normal", 0.5, seed=0) as hype:
        with pytest.raises(ValueError, match="inner"), hype:  # would remove the noise of this block
            pass
        first = logits_of(model)
    hype.remove()
    assert len(hooks_of(model)) == 1
    with pytest.raises(ValueError, match="was removed"), hype:
        pass
    with HyPe(model, "normal", 0.5, seed=0):
        assert torch.equal(logits_of(model), first)
    mine.remove()


def test_the_noise_is_that_of_torchs_seed_unless_one_is_given():
    model = tiny_model("bert", dropout=0.0).train()

    def output(torch_seed, **options):
        torch.manual_seed(torch_seed)
        with HyPe(model, hype_eps=0.1, **options):
            return model(IDS).logits

    assert not torch.equal(output(42), output(43))
    assert torch.equal(output(42), output(42))
    assert torch.equal(output(42, seed=7), output(43, seed=7)) and torch.equal(output(42), output(7, seed=42))
    assert torch.equal(output(42, seed=7), output(42, seed=np.int64(7)))


@pytest.mark.parametrize("part", [lambda model: model, lambda model: model.bert], ids=["twice", "to a part"])
def test_attaching_again_is_refused_and_leaves_the_first(part):
    model = tiny_model("bert")
    with HyPe(model):
        before = hooks_of(model)
        with pytest.raises(ValueError, match="has HyPe already"):
            HyPe(part(model))
        assert hooks_of(model) == before


def test_noise_added_by_hand_is_fresh_at_every_call():
    states = torch.zeros(3, 4)
    with HyPe(tiny_model("bert"), "normal", 0.5, seed=1) as hype:
        draws = [hype.perturb(states) for _ in range(2)]
        hype.set_step(0)
        assert torch.equal(hype.perturb(states), draws[0]) and not torch.equal(*draws)


@pytest.mark.parametrize("thing", ["bert-base-cased", None])
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(TypeError, match="HyPe takes a model, not"):
        HyPe(thing)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_a_model_may_contain_a_scripted_module():
    model = tiny_model("bert").train()
    model.extra = torch.jit.script(torch.nn.Linear(2, 2))
    with HyPe(model) as hype:
        model(IDS)
        assert hype.draw_count == 3


def test_paused_noise_draws_nothing_and_comes_back():
    model = tiny_model("bert", dropout=0.0).train()
    plain = logits_of(model)
    with HyPe(model, "normal", 0.5) as hype:
        with pytest.raises(RuntimeError), hype.paused():
            assert torch.equal(logits_of(model), plain)
            raise RuntimeError
        after_pause = logits_of(model)
    with HyPe(model, "normal", 0.5):
        assert torch.equal(logits_of(model), after_pause)
    assert not torch.equal(after_pause, plain)


@pytest.mark.parametrize("model_type", ["bert", "albert", "xlnet", "t5"])
def test_a_deep_copy_keeps_its_own_noise(model_type):
    model = tiny_model(model_type, dropout=0.0).train()
    plain = logits_of(model)
    with HyPe(model, "normal", 0.5, hype_intermediate=True):
        logits_of(model)
        twin, kept = copy.deepcopy(model), copy.deepcopy(model)
        assert torch.equal(logits_of(twin), logits_of(model))  # the copy's stream continues from where it was copied
        with pytest.raises(ValueError, match="has HyPe already"):
            HyPe(twin)
        HyPe.remove_from(twin)
        assert hooks_of(twin) == [] and torch.equal(logits_of(twin), plain)
        assert not torch.equal(logits_of(model), plain)
    assert hooks_of(model) == [] and torch.equal(logits_of(model), plain)
    assert not torch.equal(logits_of(kept), plain)


def test_gradients_are_those_of_the_noised_states():
    """d loss / d h_1 by central differences on a float64 model with the same noise repeated."""
    model = tiny_model("bert", dropout=0.0).double().train()
    embeddings = model.bert.embeddings(IDS).detach().requires_grad_()
    direction = torch.randn(embeddings.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with HyPe(model, "normal", 0.5) as hype:

        def loss(states):
            hype.set_step(1)
            hidden = model.bert.encoder(states).last_hidden_state
            return torch.nn.functional.cross_entropy(model.classifier(model.bert.pooler(hidden)), BATCH["labels"])

        (gradient,) = torch.autograd.grad(loss(embeddings), embeddings)
        with torch.no_grad():
            numerical = (loss(embeddings + 1e-6 * direction) - loss(embeddings - 1e-6 * direction)) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(numerical.item(), rel=1e-6)


def test_eps_may_be_text_as_yaml_reads_it():
    assert HyPe(tiny_model("bert"), hype_eps="1e-5").eps == 1e-5


def test_eps_0_attaches_nothing():
    model = tiny_model("bert")
    with HyPe(model, "uniform", 0, hype_intermediate=True):
        assert hooks_of(model) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hype_eps": -1e-5}, ValueError, "hype_eps -1e-05"),
        ({"hype_eps": math.nan}, ValueError, "hype_eps nan"),
        ({"hype_eps": math.inf}, ValueError, "hype_eps inf"),
        ({"hype_eps": "small"}, ValueError, "hype_eps small"),
        ({"hype_type": "gaussian"}, ValueError, "hype_type gaussian"),
        ({"hype_type": "none"}, ValueError, "hype_type none"),
        ({"hype_type": None}, ValueError, "hype_type None"),
        ({"hype_stream": "mine"}, ValueError, "hype_stream mine"),
        ({"eps": 1e-5}, TypeError, "eps"),
    ],
)
def test_a_wrong_value_is_refused_when_a_hype_or_a_callback_is_made(options, error, message):
    model = tiny_model("bert")
    with pytest.raises(error, match=message):
        HyPe(model, **options)
    assert hooks_of(model) == []
    with pytest.raises(error, match=message):
        HyPeCallback(**options)


@pytest.mark.parametrize(
    ("dtype", "eps", "warnings"),
    [
        (torch.bfloat16, 1e-5, None), (torch.bfloat16, 5e-4, None), (torch.float16, 1e-5, None),
        (torch.bfloat16, 5e-3, 1), (torch.bfloat16, 0.5, 0), (torch.float16, 1e-3, 1),
        (torch.float16, 0.1, 0), (torch.float32, 1e-5, 0), (torch.float64, 1e-9, 0),
    ],
)  # fmt: skip
def test_half_precision_weights_that_round_the_noise_away_are_refused_or_named(dtype, eps, warnings, caplog):
    """warnings: the number of logged lines, or None if refused."""
    model, name = tiny_model("bert").to(dtype), str(dtype).removeprefix("torch.")
    if warnings is None:
        with pytest.raises(ValueError, match=rf"hype_eps {eps:g}.*{name}.*allow_vanishing_noise"):
            HyPe(model, hype_eps=eps)
        assert hooks_of(model) == []
    with HyPe(model, hype_eps=eps, allow_vanishing_noise=warnings is None):
        assert len(hooks_of(model)) > 0
    logged = [record.getMessage() for record in caplog.records if record.name == "hype.perturbation"]
    assert len(logged) == (warnings or 0) and all("measure_noise" in line for line in logged)


@pytest.mark.parametrize(("model_type", "eps", "count"), [("albert", 1e-5, 1), ("albert", 0.1, 0), ("bert", 1e-5, 0)])
def test_hidden_states_that_autocast_makes_half_precision_are_named_once(model_type, eps, count, caplog):
    """A linear layer projects ALBERT's embeddings."""
    model = tiny_model(model_type).train()
    with HyPe(model, hype_eps=eps), torch.autocast("cpu", dtype=torch.bfloat16):
        model(**tiny_batch())
    logged = [record.getMessage() for record in caplog.records if record.name == "hype.perturbation"]
    assert len(logged) == count and all("the hidden states are torch.bfloat16" in line for line in logged)


def test_half_precision_is_that_of_the_layers_not_of_the_head():
    model = tiny_model("bert")
    model.classifier.to(torch.bfloat16)
    HyPe(model).remove()
    model.bert.encoder.layer[1].output.to(torch.bfloat16)
    with pytest.raises(ValueError, match="bfloat16"):
        HyPe(model)


def test_hidden_states_recorded_in_training_are_the_noised_ones():
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5):
        noised = model(IDS, output_hidden_states=True).hidden_states
    clean = model(IDS, output_hidden_states=True).hidden_states
    assert not torch.equal(noised[0], clean[0])
