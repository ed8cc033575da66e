"""HyPe with torch.compile, PEFT and DistributedDataParallel."""

from shutil import which

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch._inductor import config as inductor
from torch.nn.parallel import DistributedDataParallel

from hype import HyPe
from hype.training.arguments import RunArguments
from tests.by_hand import IDS
from tests.tiny import enable_checkpointing, tiny_batch, tiny_model

BATCH = tiny_batch()
COMPILER = "inductor" if which("g++") else "aot_eager"  # inductor needs a C++ compiler


@pytest.mark.filterwarnings("error:Dynamo")
@pytest.mark.parametrize(
    ("backend", "stream"),
    [
        ("aot_eager", "global"),
        pytest.param(COMPILER, "own", marks=pytest.mark.slow),
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


@pytest.mark.slow
def test_a_model_that_is_compiled_already_takes_the_noise_and_gives_it_back():
    """torch.compile reuses code compiled without hooks, or for another model of the class, until it is reset."""
    torch.compiler.reset()
    vanilla, model = (tiny_model("bert", dropout=0.0, num_hidden_layers=1).train() for _ in range(2))
    compiled, other = (torch.compile(m, backend="aot_eager") for m in (model, vanilla))
    clean = compiled(IDS).logits
    with HyPe(model, "normal", 0.5):
        assert (compiled(IDS).logits - clean).abs().max() > 1e-3
        torch.testing.assert_close(other(IDS).logits, clean, rtol=0, atol=1e-6)
    torch.testing.assert_close(compiled(IDS).logits, clean, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("is_given_compiled", "path"), [(False, None), (True, None), (True, "encoder.layer")])
def test_a_compiled_model_gets_the_noise_of_the_uncompiled_one(is_given_compiled, path):
    torch.compiler.reset()
    model = tiny_model("bert", dropout=0.0, num_hidden_layers=1).train()
    compiled = torch.compile(model, backend="eager")
    with HyPe(compiled if is_given_compiled else model, "normal", 0.5, hype_layers_path=path) as hype:
        expected = model(IDS).logits
        hype.set_step(0)
        actual = compiled(IDS).logits
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)
    assert (model(IDS).logits - expected).abs().max() > 1e-3


def gradient(model_type, is_compiled, use_reentrant=None):
    """Return the gradient of one training forward, compiled or not; no checkpointing if use_reentrant is None."""
    torch.compiler.reset()
    # With checkpointing, transformers logs that it disables the cache, and logging cannot be compiled.
    model = tiny_model(model_type, dropout=0.0, use_cache=False).train()
    if use_reentrant is not None:
        enable_checkpointing(model, use_reentrant)
    with HyPe(model, "normal", 0.5, hype_stream="global", hype_intermediate=True):
        forward = torch.compile(model, backend="aot_eager", fullgraph=True) if is_compiled else model
        torch.manual_seed(0)
        forward(IDS).logits.square().sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


@pytest.mark.parametrize(
    ("model_type", "use_reentrant"),
    [
        ("bert", None),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("bert", False), ("bert", True), ("albert", None))),
    ],
)
def test_a_global_stream_is_compiled_into_one_graph(model_type, use_reentrant):
    expected, compiled = gradient(model_type, False), gradient(model_type, True, use_reentrant)
    torch.testing.assert_close(compiled, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_model_outside_of_the_table_is_compiled_into_one_graph_too():
    torch.compiler.reset()
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5, hype_layers_path="encoder.layer", hype_stream="global") as hype:
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        first, second = compiled(IDS).logits, compiled(IDS).logits
        with hype.paused():
            clean = compiled(IDS).logits
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(clean, model(IDS).logits, rtol=0, atol=1e-6)


# PEFT uses a name that transformers has deprecated.
ignore_name_in_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@ignore_name_in_peft
@pytest.mark.parametrize("model_type", ["bert", "albert"])
def test_a_model_with_lora_gets_noise_and_saves_plain_adapters(model_type, tmp_path):
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=2)
    model = get_peft_model(tiny_model(model_type, dropout=0.0), config).train()
    clean, keys = model(IDS).logits, list(model.state_dict())
    model.save_pretrained(tmp_path / "plain")
    with HyPe(model, "normal", 0.5) as hype:
        assert not torch.equal(model(IDS).logits, clean)
        assert hype.draw_count == model.config.num_hidden_layers
        model(**BATCH).loss.backward()
        assert list(model.state_dict()) == keys
        model.save_pretrained(tmp_path / "noised")
    plain, noised = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("plain", "noised"))
    assert plain.keys() == noised.keys() and all(torch.equal(plain[key], noised[key]) for key in plain)
    assert torch.equal(model(IDS).logits, clean)
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained and all("lora_" in name or "classifier" in name for name in trained)


@ignore_name_in_peft
def test_a_model_may_be_wrapped_in_lora_after_hype_is_attached():
    model = tiny_model("bert", dropout=0.0)
    with HyPe(model, "normal", 0.5) as hype:
        get_peft_model(model, LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2)).train()(IDS)
    assert hype.draw_count == 3


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_ddp_model_is_perturbed_and_left_as_it_was(process_group):
    model, gradients = tiny_model("bert", dropout=0.0).train(), []
    wrapped = DistributedDataParallel(model)
    for attached in (wrapped, model):
        with HyPe(attached, "normal", 0.5) as hype:
            wrapped(**BATCH).loss.backward()
        assert hype.draw_count == 3 and hype.rank == 0
        gradients.append(model.bert.encoder.layer[0].attention.self.query.weight.grad.clone())
        wrapped.zero_grad()
    assert torch.equal(*gradients)
    wrapped(**BATCH)
    assert hype.draw_count == 3


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.dropout = torch.nn.Linear(8, 8), torch.nn.Dropout(0.5)

    def forward(self, states):
        return states + self.dropout(self.linear(states))


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="inductor needs a C++ compiler")
@inductor.patch(fallback_random=False)  # restores it
def test_compiled_runs_with_and_without_noise_have_the_same_dropout_masks(tmp_path):
    RunArguments(output_dir=str(tmp_path), torch_compile=True)
    torch.manual_seed(0)
    model, outputs = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Sequential(Residual(), Residual())), []
    for eps in (0, 1e-6):
        torch.compiler.reset()
        torch.manual_seed(1)
        with HyPe(model, hype_eps=eps, hype_layers_path="1"):
            compiled = torch.compile(model, backend="inductor")
            outputs.append(torch.stack([compiled(torch.ones(4, 8)) for _ in range(2)]))
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-4)


def test_threads_of_one_process_are_refused():
    with pytest.raises(ValueError, match="one process per GPU"):
        HyPe(torch.nn.DataParallel(tiny_model("bert")))
    model = tiny_model("bert").train()
    with HyPe(model), pytest.raises(ValueError, match="torchrun"):
        model._replicate_for_data_parallel()(IDS)


def test_a_model_that_is_pickled_with_its_noise_keeps_it_until_it_is_removed(tmp_path):
    model = tiny_model("bert", dropout=0.0).train()
    with HyPe(model, "normal", 0.5):
        torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert not torch.equal(loaded(IDS).logits, model(IDS).logits)
    HyPe.remove_from(loaded)
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
