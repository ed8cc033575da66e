"""HyPe under gradient checkpointing, torch.compile, PEFT and DistributedDataParallel."""

from shutil import which

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

from hype import HyPe
from tests.by_hand import IDS, Recorded
from tests.tiny import CONFIGS, tiny_batch, tiny_model

BATCH = tiny_batch()
NEEDS_COMPILER = pytest.mark.skipif(which("g++") is None, reason="inductor needs a C++ compiler")
WITHOUT_CHECKPOINTING = ("xlnet", "albert", "mpnet")


def backward_once(model, hype):
    model(**BATCH).loss.backward()


def backward_of_a_sum(model, hype):
    (model(**BATCH).loss + 2 * model(**BATCH).loss).backward()


def backward_in_the_order_of_the_forwards(model, hype):
    first, second = model(**BATCH).loss, model(**BATCH).loss
    (2 * first).backward()
    second.backward()


def backward_of_clean_and_noised(model, hype):
    with hype.paused():
        clean = model(**BATCH).loss
    (clean + 2 * model(**BATCH).loss).backward()


def backward_after_a_forward_without_graph(model, hype):
    loss = model(**BATCH).loss
    with torch.no_grad():
        model(**BATCH)
    loss.backward()


def backward_after_a_forward_that_is_thrown_away(model, hype):
    loss = model(**BATCH).loss
    model(**BATCH)
    loss.backward()


def backward_twice(model, hype):
    loss = model(**BATCH).loss
    loss.backward(retain_graph=True)
    loss.backward()


PATTERNS = [function for name, function in list(globals().items()) if name.startswith("backward_")]


def gradients(model_type, pattern, use_reentrant=None, **options):
    """Return all gradients of one pattern of forwards and backwards; use_reentrant None: without checkpointing."""
    model = tiny_model(model_type).train()
    if use_reentrant is not None:
        model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    torch.manual_seed(0)
    with HyPe(model, "normal", 0.5, **options) as hype:
        pattern(model, hype)
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_equal_gradients(actual, expected):
    assert actual.keys() == expected.keys() and len(expected) > 10
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
@pytest.mark.parametrize("stream", ["own", "global"])
def test_gradients_after_attention_are_unchanged_by_checkpointing(pattern, stream):
    """The hook after attention runs inside of the checkpoint, hence again in the backward pass."""
    options = {"hype_intermediate": True, "hype_stream": stream}
    expected = gradients("bert", pattern, **options)
    for use_reentrant in (False, True):
        assert_equal_gradients(gradients("bert", pattern, use_reentrant, **options), expected)


@pytest.mark.parametrize("options", [{}, {"hype_intermediate": True}], ids=["input", "both"])
@pytest.mark.parametrize("model_type", [name for name in CONFIGS if name not in WITHOUT_CHECKPOINTING])
def test_gradients_are_unchanged_by_checkpointing(model_type, options):
    expected = gradients(model_type, backward_of_a_sum, **options)
    for use_reentrant in (False, True):
        assert_equal_gradients(gradients(model_type, backward_of_a_sum, use_reentrant, **options), expected)


@pytest.mark.parametrize("model_type", WITHOUT_CHECKPOINTING)
def test_transformers_offers_no_checkpointing_for_the_rest(model_type):
    with pytest.raises(ValueError, match="does not support"):
        tiny_model(model_type).activation_checkpointing_enable()


@pytest.mark.filterwarnings("error:Dynamo")
@pytest.mark.parametrize(
    ("backend", "stream"),
    [
        ("aot_eager", "own"),
        ("aot_eager", "global"),
        pytest.param("inductor", "own", marks=[pytest.mark.slow, NEEDS_COMPILER]),
    ],
)
def test_a_compiled_model_has_fresh_noise_in_training_and_none_in_evaluation(backend, stream):
    torch.compiler.reset()
    model = tiny_model("bert", dropout=0.0, num_hidden_layers=1)
    clean = model.eval()(IDS).logits
    with HyPe(model, "normal", 0.5, hype_stream=stream):
        compiled = torch.compile(model, backend=backend)
        compiled.train()
        first, second = compiled(IDS).logits, compiled(IDS).logits
        second.sum().backward()
        compiled.eval()
        torch.testing.assert_close(compiled(IDS).logits, clean, rtol=0, atol=1e-5)
    assert (first - second).abs().max() > 1e-3 and (first - clean).abs().max() > 1e-3
    assert model.bert.encoder.layer[0].attention.self.query.weight.grad.abs().max() > 0


def test_a_model_that_is_compiled_already_takes_the_noise_and_gives_it_back():
    """torch.compile keeps the code of a model without hooks, and that of another model of its class, until told."""
    torch.compiler.reset()
    vanilla, model = (tiny_model("bert", dropout=0.0, num_hidden_layers=1).train() for _ in range(2))
    compiled, other = (torch.compile(m, backend="aot_eager") for m in (model, vanilla))
    clean = compiled(IDS).logits
    with HyPe(model, "normal", 0.5):
        assert (compiled(IDS).logits - clean).abs().max() > 1e-3
        torch.testing.assert_close(other(IDS).logits, clean, rtol=0, atol=1e-6)
    torch.testing.assert_close(compiled(IDS).logits, clean, rtol=0, atol=1e-6)


def test_a_compiled_model_gets_the_noise_of_the_uncompiled_one():
    torch.compiler.reset()
    model = tiny_model("bert", dropout=0.0, num_hidden_layers=1).train()
    with HyPe(model, "normal", 0.5) as hype:
        expected = model(IDS).logits
        hype.set_step(0)
        actual = torch.compile(model, backend="eager")(IDS).logits
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_a_compiled_model_is_perturbed_when_it_is_the_compiled_one_that_is_given():
    torch.compiler.reset()
    model, recorded = tiny_model("bert", dropout=0.0, num_hidden_layers=2).train(), Recorded()
    with HyPe(torch.compile(model, backend="eager"), "normal", 0.5) as hype:
        hype.observer = recorded.observe
        model(IDS)
    assert len(recorded.draws) == 2


def test_a_global_stream_is_compiled_into_one_graph():
    torch.compiler.reset()
    body = tiny_model("bert", dropout=0.0, num_hidden_layers=2).bert.encoder.train()
    model = tiny_model("bert", dropout=0.0, num_hidden_layers=2).train()
    with HyPe(model, "normal", 0.5, hype_stream="global"):
        encoder = torch.compile(model.bert.encoder, backend="eager", fullgraph=True)
        state = torch.zeros(2, 3, 16)
        noised = encoder(state).last_hidden_state
    torch.testing.assert_close(body(state).last_hidden_state, model.bert.encoder(state).last_hidden_state)
    assert not torch.allclose(noised, body(state).last_hidden_state)


# PEFT asks transformers by a name that is deprecated there.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("model_type", ["bert", "albert"])
def test_a_model_with_lora_gets_noise_and_saves_plain_adapters(model_type, tmp_path):
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=2)
    model = get_peft_model(tiny_model(model_type, dropout=0.0), config).train()
    clean, keys = model(IDS).logits, list(model.state_dict())
    model.save_pretrained(tmp_path / "plain")
    recorded = Recorded()
    with HyPe(model, "normal", 0.5) as hype:
        hype.observer = recorded.observe
        for forward in (1, 2):
            assert not torch.equal(model(IDS).logits, clean)
            assert len(recorded.draws) == forward * model.config.num_hidden_layers
        model(**BATCH).loss.backward()
        assert list(model.state_dict()) == keys
        model.save_pretrained(tmp_path / "noised")
    plain, noised = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("plain", "noised"))
    assert plain.keys() == noised.keys() and all(torch.equal(plain[key], noised[key]) for key in plain)
    assert torch.equal(model(IDS).logits, clean)
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained and all("lora_" in name or "classifier" in name for name in trained)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_ddp_model_is_perturbed_and_left_as_it_was(process_group):
    model = tiny_model("bert", dropout=0.0).train()
    wrapped = DistributedDataParallel(model)
    recorded = Recorded()
    with HyPe(wrapped, "normal", 0.5) as hype:
        hype.observer = recorded.observe
        wrapped(**BATCH).loss.backward()
    wrapped(**BATCH)
    assert len(recorded.draws) == 3 and hype.rank == 0
    gradient = model.bert.encoder.layer[0].attention.self.query.weight.grad.clone()
    model.zero_grad()
    with HyPe(model, "normal", 0.5):
        model(**BATCH).loss.backward()
    assert torch.equal(model.bert.encoder.layer[0].attention.self.query.weight.grad, gradient)


def two_forwards_in_one_checkpoint(model, hype):
    embeddings = torch.randn(4, 7, 16, requires_grad=True)
    twice = lambda e: model(inputs_embeds=e).logits + model(inputs_embeds=e).logits  # noqa: E731
    torch.utils.checkpoint.checkpoint(twice, embeddings, use_reentrant=False).sum().backward()


def more_forwards_than_are_remembered(model, hype):
    model.activation_checkpointing_enable({"use_reentrant": False})
    sum(model(**BATCH).loss for _ in range(17)).backward()


@pytest.mark.parametrize("pattern", [two_forwards_in_one_checkpoint, more_forwards_than_are_remembered])
def test_a_backward_pass_that_could_not_repeat_its_noise_is_refused(pattern):
    model = tiny_model("bert").train()
    with HyPe(model, hype_intermediate=True) as hype, pytest.raises(ValueError, match="gradient checkpointing: which"):
        pattern(model, hype)


def test_two_forwards_in_one_checkpoint_are_right_with_the_global_stream():
    def gradient(is_checkpointed):
        model, embeddings = tiny_model("bert", dropout=0.0).double().train(), torch.ones(4, 7, 16, dtype=torch.float64)
        embeddings.requires_grad_()
        torch.manual_seed(0)
        with HyPe(model, "normal", 0.5, hype_stream="global"):
            twice = lambda e: model(inputs_embeds=e).logits + model(inputs_embeds=e).logits  # noqa: E731
            out = torch.utils.checkpoint.checkpoint(twice, embeddings, use_reentrant=False) if is_checkpointed else None
            (twice(embeddings) if out is None else out).square().sum().backward()
        return embeddings.grad

    torch.testing.assert_close(gradient(True), gradient(False))


def test_threads_of_one_process_are_refused():
    with pytest.raises(ValueError, match="one process per GPU"):
        HyPe(torch.nn.DataParallel(tiny_model("bert")))


def test_a_model_that_is_pickled_with_its_noise_keeps_it_until_it_is_removed(tmp_path):
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5):
        torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert not torch.equal(loaded(IDS).logits, model(IDS).logits)
    HyPe.remove_from(loaded)
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
