"""HyPe attached and detached: where it acts, what it leaves as it was, what it refuses."""

import copy
import hashlib
import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hype import HyPe
from tests.by_hand import IDS, hooks_of, run_with_noise
from tests.tiny import CONFIGS, tiny_batch, tiny_model

BATCH = tiny_batch()


def names_of(model) -> list[list[str]]:
    return [
        list(model.state_dict()),
        [name for name, _ in model.named_buffers()],
        [name for name, _ in model.named_modules()],
    ]


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
    state = torch.get_rng_state()
    with HyPe(model, "normal", 0.5, hype_intermediate=True):
        assert not torch.equal(logits_of(model), logits_of(model))
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_masks_are_those_of_a_model_without_noise():
    model, states = tiny_model("bert").train(), []
    for eps in (0.0, 1e-30):
        torch.manual_seed(0)
        with HyPe(model, "normal", eps):
            states.append((logits_of(model), torch.get_rng_state()))
    assert torch.equal(states[0][0], states[1][0]) and torch.equal(states[0][1], states[1][1])


@pytest.mark.parametrize("model_type", CONFIGS)
def test_no_parameter_buffer_or_key_is_added(model_type):
    model = tiny_model(model_type)
    before = names_of(model)
    with HyPe(model):
        assert names_of(model) == before


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_saved_model_is_a_plain_checkpoint(model_type, tmp_path):
    model = tiny_model(model_type).eval()
    model.save_pretrained(tmp_path / "plain")
    with HyPe(model, "normal", 0.5):
        model.save_pretrained(tmp_path / "noised")
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "noised")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "noised").eval()
    assert torch.equal(logits_of(loaded), logits_of(model))


def test_noise_ends_with_the_block():
    model = tiny_model("bert", dropout=0.0).train()
    expected = logits_of(model)
    with HyPe(model, "normal", 0.5, hype_intermediate=True):
        assert len(hooks_of(model)) > 0
        assert not torch.equal(logits_of(model), expected)
    assert hooks_of(model) == []
    assert torch.equal(logits_of(model), expected)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_noise_ends_with_an_exception_inside_the_block(error):
    model = tiny_model("bert")
    with pytest.raises(error), HyPe(model, hype_intermediate=True):
        raise error
    assert hooks_of(model) == []


def test_an_exception_inside_a_layer_leaves_a_model_that_still_works():
    model = tiny_model("albert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5, hype_layers=[1]) as hype:
        expected = logits_of(model)
        failing = (
            model.albert.encoder.albert_layer_groups[0].albert_layers[0].ffn.register_forward_hook(lambda *_: 1 / 0)
        )
        with pytest.raises(ZeroDivisionError):
            model(IDS)
        failing.remove()
        hype.set_step(0)
        assert torch.equal(logits_of(model), expected)
    assert hooks_of(model) == []


def test_removing_twice_does_nothing_more():
    model = tiny_model("bert")
    mine = model.register_forward_hook(lambda *_: None)
    hype = HyPe(model)
    hype.remove()
    hype.remove()
    assert len(hooks_of(model)) == 1
    mine.remove()


def test_a_model_can_be_perturbed_again_after_removal():
    model = tiny_model("bert", dropout=0.0)
    first, second = run_with_noise(model)[0], run_with_noise(model)[0]
    assert torch.equal(first, second)


def test_a_removed_one_is_not_entered_again():
    model = tiny_model("bert").train()
    with HyPe(model) as hype:
        pass
    with pytest.raises(ValueError, match="make a new one"), hype:
        pass


def test_the_noise_is_that_of_torchs_seed_unless_one_is_given():
    model = tiny_model("bert", dropout=0.0).train()

    def output(torch_seed, **options):
        torch.manual_seed(torch_seed)
        with HyPe(model, hype_eps=0.1, **options):
            return model(IDS).logits

    assert not torch.equal(output(42), output(43))
    assert torch.equal(output(42), output(42))
    assert torch.equal(output(42, seed=7), output(43, seed=7)) and torch.equal(output(42), output(7, seed=42))


def test_attaching_twice_is_refused_and_leaves_the_first():
    model = tiny_model("bert")
    with HyPe(model):
        before = hooks_of(model)
        with pytest.raises(ValueError, match="has HyPe already"):
            HyPe(model)
        assert hooks_of(model) == before
    HyPe(model).remove()


def test_attaching_to_a_part_of_a_perturbed_model_is_refused():
    model = tiny_model("bert")
    with HyPe(model), pytest.raises(ValueError, match="has HyPe already"):
        HyPe(model.bert)


def test_paused_noise_draws_nothing_and_comes_back():
    model = tiny_model("bert", dropout=0.0).train()
    plain = logits_of(model)
    with HyPe(model, "normal", 0.5) as hype:
        with hype.paused():
            assert torch.equal(logits_of(model), plain)
        after_pause = logits_of(model)
    with HyPe(model, "normal", 0.5):
        assert torch.equal(logits_of(model), after_pause)
    assert not torch.equal(after_pause, plain)


def test_a_pause_ends_with_an_exception():
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5) as hype:
        with pytest.raises(RuntimeError), hype.paused():
            raise RuntimeError
        assert not torch.equal(logits_of(model), logits_of(model))


@pytest.mark.parametrize("model_type", ["bert", "albert", "xlnet", "t5"])
def test_a_deep_copy_keeps_its_own_noise(model_type):
    model = tiny_model(model_type, dropout=0.0).train()
    plain = logits_of(model)
    with HyPe(model, "normal", 0.5, hype_intermediate=True):
        logits_of(model)
        twin = copy.deepcopy(model)
        second = logits_of(twin)
        assert torch.equal(second, logits_of(model))  # the copy's stream goes on from where it was copied
    assert torch.equal(logits_of(model), plain)
    assert hooks_of(model) == [] and len(hooks_of(twin)) > 0
    assert not torch.equal(logits_of(twin), plain)
    with pytest.raises(ValueError, match="has HyPe already"):
        HyPe(twin)


def test_a_model_and_its_deep_copy_are_trained_apart():
    model = tiny_model("bert").train()
    with HyPe(model, "normal", 0.5) as hype:
        twin = copy.deepcopy(model)
        before = copy.deepcopy(model.state_dict())
        for network in (twin, model):
            optimizer = torch.optim.SGD(network.parameters(), 0.1)
            network(**BATCH).loss.backward()
            optimizer.step()
            changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
            assert len(changed) == len(list(network.parameters()))
            if network is twin:
                assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        twins_hype = next(hook.hype for hook in hooks_of(twin) if hasattr(hook, "hype"))
        assert twins_hype is not hype and twins_hype.draw_count == hype.draw_count == 3
        HyPe.remove_from(twin)
        assert hooks_of(twin) == [] and len(hooks_of(model)) > 0


def test_gradients_are_those_of_the_noised_states():
    """d loss / d h_1 by central differences on a float64 model with its noise repeated."""
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


def test_eps_0_attaches_nothing():
    model = tiny_model("bert")
    with HyPe(model, "uniform", 0, hype_intermediate=True):
        assert hooks_of(model) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hype_eps": -1e-5}, "hype_eps -1e-05"),
        ({"hype_eps": math.nan}, "hype_eps nan"),
        ({"hype_eps": math.inf}, "hype_eps inf"),
        ({"hype_type": "gaussian"}, "hype_type gaussian"),
        ({"hype_type": "none"}, "hype_type none"),
        ({"hype_type": None}, "hype_type None"),
        ({"hype_type": "uniform", "hype_uniform_support": "negative"}, "support negative"),
        ({"hype_stream": "mine"}, "hype_stream mine"),
    ],
)
def test_a_wrong_value_is_refused_and_nothing_attached(options, message):
    model = tiny_model("bert")
    with pytest.raises(ValueError, match=message):
        HyPe(model, **options)
    assert hooks_of(model) == []


@pytest.mark.parametrize(("dtype", "eps"), [(torch.bfloat16, 1e-5), (torch.bfloat16, 5e-4), (torch.float16, 1e-5)])
def test_half_precision_weights_that_round_the_noise_away_are_refused(dtype, eps):
    model, name = tiny_model("bert").to(dtype), str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=rf"hype_eps {eps:g}.*{name}.*allow_vanishing_noise"):
        HyPe(model, hype_eps=eps)
    assert hooks_of(model) == []
    with HyPe(model, hype_eps=eps, allow_vanishing_noise=True):
        assert len(hooks_of(model)) > 0


@pytest.mark.parametrize(
    ("dtype", "eps", "is_warned"),
    [
        (torch.bfloat16, 5e-3, True), (torch.bfloat16, 0.5, False), (torch.float16, 1e-3, True),
        (torch.float16, 0.1, False), (torch.float32, 1e-5, False), (torch.float64, 1e-9, False),
    ],
)  # fmt: skip
def test_half_precision_weights_that_round_part_of_the_noise_away_are_named(dtype, eps, is_warned, caplog):
    with HyPe(tiny_model("bert").to(dtype), hype_eps=eps):
        warned = [record.getMessage() for record in caplog.records if record.name == "hype.perturbation"]
    assert len(warned) == is_warned and all("measure_noise" in line for line in warned)


def test_half_precision_is_that_of_the_layers_not_of_the_head():
    model = tiny_model("bert")
    model.classifier.to(torch.bfloat16)
    HyPe(model).remove()
    model.bert.encoder.layer[1].output.to(torch.bfloat16)
    with pytest.raises(ValueError, match="bfloat16"):
        HyPe(model)


def test_a_scale_given_as_text_is_taken_as_a_number():
    model = tiny_model("bert", dropout=0.0)
    noised = []
    for eps in (0.5, "5e-1"):
        with HyPe(model.train(), "normal", eps, seed=1):
            noised.append(logits_of(model))
    assert torch.equal(*noised)


def test_a_refused_model_keeps_no_hook():
    model = tiny_model("bert")
    for options in ({"hype_top_layers": 9}, {"hype_layers_path": "encoder.layer", "hype_intermediate": True}):
        with pytest.raises(ValueError):
            HyPe(model, **options)
        assert hooks_of(model) == []


def test_hidden_states_recorded_in_training_are_the_noised_ones():
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5):
        noised = model(IDS, output_hidden_states=True).hidden_states
    clean = model(IDS, output_hidden_states=True).hidden_states
    assert not torch.equal(noised[0], clean[0])
