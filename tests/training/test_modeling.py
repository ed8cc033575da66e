"""Which models and tokenizers are loaded and how, which are refused, and the remedy in the message."""

import json
import shutil

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RoFormerConfig,
)
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from hype.errors import InputError
from hype.training.arguments import ModelArguments
from hype.training.modeling import load_config, load_model, load_tokenizer, set_dropout
from tests.tiny import CONFIGS, SAMPLE, tiny_batch, tiny_config


@pytest.fixture
def model(tiny_folder, tmp_path):
    """Return a copy of the tiny model's folder."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def configure(model, **changes) -> None:
    """Change fields of a model's config.json; None removes a field."""
    config = {**json.loads((model / "config.json").read_text()), **changes}
    (model / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def save_head(folder, tiny_folder, order, label):
    """Save a model whose head has the labels in `order` and always predicts `label`."""
    names = {"label2id": {name: i for i, name in enumerate(order)}, "id2label": dict(enumerate(order))}
    model = AutoModelForSequenceClassification.from_pretrained(tiny_folder, num_labels=len(order), **names)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([5.0 * (name == label) for name in order]))
    model.save_pretrained(folder)


def test_the_head_of_checkpoint_dir_numbers_its_labels_itself(run, tiny_folder, tmp_path):
    """Its outputs used to be interpreted in the order of the model's configuration."""
    orders = {"one": ["entailment", "neutral", "contradiction"], "other": ["contradiction", "neutral", "entailment"]}
    labels = []
    for name, order in orders.items():
        save_head(tmp_path / name, tiny_folder, order, "entailment")
        flags = {"task_name": "mnli", "checkpoint_dir": tmp_path / name, "output_dir": tmp_path / f"run-{name}"}
        record = run("do_eval", **flags)
        labels.append((record["score"], set(record["predictions"])))
        assert record["label_names"] == order and record["model"]["untrained"] == []
    assert labels[0] == labels[1] and len(labels[0][1]) == 1


def test_other_weights_in_checkpoint_dir_are_another_run(run, tiny_folder, tmp_path):
    weights = tmp_path / "weights"
    order = ["not_entailment", "entailment"]
    save_head(weights, tiny_folder, order, "entailment")
    assert "checkpoint_dir" not in run("do_eval", output_dir=tmp_path / "plain")["identity"]
    first = run("do_eval", checkpoint_dir=weights)
    assert run("do_eval", checkpoint_dir=weights) == first
    save_head(weights, tiny_folder, order, "not_entailment")
    with pytest.raises(InputError, match=r"holds another run \(the content of checkpoint_dir changed"):
        run("do_eval", checkpoint_dir=weights)


def test_checkpoint_dir_may_hold_weights_alone(run, tiny_folder, tmp_path):
    (tmp_path / "weights").mkdir()
    shutil.copy(tiny_folder / "model.safetensors", tmp_path / "weights")
    assert run("do_train", max_steps=1, checkpoint_dir=tmp_path / "weights")["status"] == "finished"


@pytest.mark.parametrize("flag", ["model_name_or_path", "checkpoint_dir", "config_name", "tokenizer_name"])
@pytest.mark.parametrize("name", ["./no/such/folder", __file__])
def test_a_missing_folder_is_named_with_its_flag(run, flag, name):
    with pytest.raises(InputError, match=rf"--{flag} {name}: no such folder"):
        run("do_train", **{flag: name})


def test_a_model_without_tokenizer_is_refused(run, tiny_folder, tmp_path):
    """transformers builds one from special tokens alone, to which every word is unknown."""
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_folder / name, tmp_path / "bare")
    with pytest.raises(InputError, match=r"bare has no tokenizer.*--tokenizer_name"):
        run("do_train", model_name_or_path=tmp_path / "bare")
    flags = {"model_name_or_path": tmp_path / "bare", "tokenizer_name": tiny_folder}
    assert run("do_train", max_steps=1, **flags)["status"] == "finished"


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"intermediate_size": 25}])
def test_parts_that_the_weights_lack_or_have_in_another_size_are_not_made_up(run, model, change):
    configure(model, **change)
    with pytest.raises(InputError, match=r"\d+ parameters of the model's body .* such as bert.encoder.layer"):
        run("do_train", model_name_or_path=model)
    flags = {"model_name_or_path": model, "max_steps": 1}
    assert run("do_train", "ignore_mismatched_sizes", **flags)["status"] == "finished"


def test_a_head_of_another_size_is_refused_with_both_numbers_and_replaced_for_training_alone(run, model, tiny_folder):
    save_head(model, tiny_folder, ["a", "b", "c"], "a")
    flags = {"model_name_or_path": model, "max_steps": 1}
    with pytest.raises(InputError, match=r"has 3 outputs, this task needs 2; pass --ignore_mismatched_sizes"):
        run("do_train", **flags)
    for switches in (["do_eval"], ["do_eval", "ignore_mismatched_sizes"]):
        with pytest.raises(InputError, match=r"has 3 outputs, this task needs 2; .* train one \(--do_train\)"):
            run(*switches, **flags)
    assert run("do_train", "ignore_mismatched_sizes", **flags)["status"] == "finished"


HEAD_ORDER = ["contradiction", "neutral", "entailment"]


def share_of(label: str) -> float:
    """Return the accuracy of always predicting `label` on the evaluated rows."""
    lines = (SAMPLE / "MNLI" / "dev_matched.tsv").read_text(encoding="utf-8").splitlines()[1:25]
    return sum(line.split("\t")[-1] == label for line in lines) / 24


def test_a_head_numbers_the_labels_that_it_names_itself(run, model, tiny_folder, tmp_path, caplog):
    """With only id2label, and in another case."""
    save_head(model, tiny_folder, ["contradiction", "NEUTRAL", "Entailment"], "NEUTRAL")
    configure(model, label2id=None)
    record = run("do_eval", task_name="mnli", model_name_or_path=model)
    assert record["label_names"] == HEAD_ORDER and record["score"] == share_of("neutral")
    run("do_train", max_steps=1, output_dir=tmp_path / "trained")
    assert "--label_order" not in caplog.text, "a head that is named, or is trained, is no assumption"


@pytest.mark.parametrize("names", [["LABEL_0", "LABEL_1", "LABEL_2"], ["c", "n", "e"]])
def test_a_head_that_does_not_name_the_tasks_labels_is_not_scored_without_a_word(
    run, model, tiny_folder, tmp_path, caplog, names
):
    """It used to be scored as if in GLUE's order: 0.00 instead of 1.00, with exit code 0."""
    save_head(model, tiny_folder, names, names[HEAD_ORDER.index("entailment")])
    flags = {"task_name": "mnli", "model_name_or_path": model}
    silent = run("do_eval", **flags)
    note = next(note for note in silent["data"]["notes"] if "--label_order" in note)
    assert "entailment, neutral, contradiction" in note and ", ".join(names) in note and caplog.text.count(note) == 1
    caplog.clear()
    flags |= {"output_dir": tmp_path / "stated", "label_order": ",".join(HEAD_ORDER)}
    stated = run("do_eval", **flags)
    assert stated["label_names"] == HEAD_ORDER and "--label_order" not in caplog.text
    assert silent["score"] == share_of("contradiction"), "in GLUE's order"
    assert stated["score"] == share_of("entailment")


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 438007\n"


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"adapter_config.json": "{}"}, "a PEFT adapter .* merge_and_unload"),
        ({"checkpoint-9/config.json": "{}", "checkpoint-10/config.json": "{}"}, "give .*checkpoint-10"),
        (
            {"modules.json": "[]", "0_Transformer/config.json": "{}", "1_Pooling/config.json": "{}"},
            "give .*0_Transformer",
        ),
        ({"config.json": "{}", "model.safetensors": LFS_POINTER}, "model.safetensors .* git lfs pull"),
    ],
)
def test_a_folder_that_holds_something_else_than_a_model_is_named_for_what_it_is(run, tmp_path, files, part):
    folder = tmp_path / "folder"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    with pytest.raises(InputError, match=f"--model_name_or_path {folder}.*{part}"):
        run("do_train", model_name_or_path=folder)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_all_dropout_rate_0_leaves_nothing_random_in_training(model_type):
    config, ids = tiny_config(model_type, dropout=0.5), tiny_batch()["input_ids"]
    model = AutoModelForSequenceClassification.from_config(config).train()
    assert not torch.equal(model(ids).logits, model(ids).logits)
    set_dropout(config, None, 0.0)
    model = AutoModelForSequenceClassification.from_config(config).train()
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_dropout_rate_is_that_of_the_hidden_states_alone_where_there_is_one():
    config = tiny_config("xlnet", dropout=0.5)
    set_dropout(config, 0.2, None)
    assert (config.dropout, config.summary_last_dropout) == (0.2, 0.5)
    with pytest.raises(InputError, match=r"0\.2: llama has no hidden dropout; pass --all_dropout_rate"):
        set_dropout(tiny_config("llama"), 0.2, None)
    with pytest.raises(InputError, match=r"0\.2: the dropout fields of model type roformer"):
        set_dropout(RoFormerConfig(), 0.2, None)


def save_with_tokenizer(folder, tiny_folder, model_type, **tokens):
    """Save a random model of another type, with the words of the tiny model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    for name, token in tokens.items():
        setattr(tokenizer, name, token)
    tokenizer.save_pretrained(folder)
    config = tiny_config(model_type, vocab_size=len(tokenizer), initializer_range=1.0)
    AutoModel.from_config(config).save_pretrained(folder)


def test_a_decoder_without_a_padding_token_pads_with_its_end_of_text(run, tiny_folder, tmp_path):
    save_with_tokenizer(tmp_path / "gpt2", tiny_folder, "gpt2", pad_token=None, eos_token="[UNK]")
    flags = {"model_name_or_path": tmp_path / "gpt2", "hype_type": "normal", "learning_rate": 0}
    record = run("do_train", "do_eval", **flags)
    assert len(record["noise"]["layers"]) == 3 and len(set(record["predictions"])) == 2
    alone = {"model_name_or_path": tmp_path / "run", "per_device_eval_batch_size": 1, "output_dir": tmp_path / "alone"}
    assert run("do_eval", **alone)["predictions"] == record["predictions"], "without padding"
    save_with_tokenizer(tmp_path / "neither", tiny_folder, "gpt2", pad_token=None)
    with pytest.raises(InputError, match="has no padding token; pass --tokenizer_name"):
        run("do_train", model_name_or_path=tmp_path / "neither", output_dir=tmp_path / "none")


def test_noise_that_autocast_rounds_away_is_refused_with_the_share_that_is_left(run, tiny_folder, tmp_path):
    """The weights are float32, but ALBERT's embeddings leave a linear map, which autocast computes in bfloat16."""
    save_with_tokenizer(tmp_path / "albert", tiny_folder, "albert")
    flags = {"model_name_or_path": tmp_path / "albert", "hype_type": "normal", "max_steps": 1}
    with pytest.raises(InputError, match=r"changes \d\.\d% of the entries of bfloat16 .*--allow_vanishing_noise"):
        run("do_train", "bf16", **flags)
    assert run("do_train", "bf16", "allow_vanishing_noise", **flags)["noise"]["least_changed"] < 0.1


class Vocabulary(list):
    pad_token_id = 1


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_pretrained_checkpoint_of_any_kind_lacks_nothing_of_the_body(tmp_path, model_type):
    """Base models and language models, with or without a pooler."""
    config = tiny_config(model_type)
    generating = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    heads = (AutoModelForMaskedLM, AutoModelForPreTraining, generating)
    kinds = [AutoModel, *(kind for kind in heads if type(config) in kind._model_mapping)]
    assert len(kinds) > 1
    for kind in kinds:
        folder = tmp_path / kind.__name__
        kind.from_config(config).save_pretrained(folder)
        arguments = ModelArguments(model_name_or_path=str(folder))
        _, new = load_model(arguments, load_config(arguments), Vocabulary(range(40)))
        assert new, "the head is new"


@pytest.mark.parametrize(
    ("model_type", "longest"),
    [("bert", 40), ("roberta", 38), ("t5", VERY_LARGE_INTEGER), ("xlnet", VERY_LARGE_INTEGER)],
)
@pytest.mark.parametrize("limit", [VERY_LARGE_INTEGER, 30])
def test_a_tokenizers_limit_is_at_most_the_models(tiny_folder, tmp_path, model_type, longest, limit):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.model_max_length = limit
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(ModelArguments(model_name_or_path=str(tmp_path)), tiny_config(model_type))
    assert loaded.model_max_length == min(longest, limit)


@pytest.mark.parametrize(
    ("settings", "kept", "part"),
    [
        ({}, 0.5, ""), ({}, 0, ""), ({"model_type": None, "architectures": None}, 1, ""),
        ({"hidden_size": "abc"}, 1, "hidden_size"),
    ],
    ids=["truncated", "empty", "not a config", "wrong types"],
)  # fmt: skip
def test_a_damaged_model_is_refused(run, model, settings, kept, part):
    configure(model, **settings)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(kept * weights.stat().st_size)])
    with pytest.raises(InputError, match=f"cannot load --model_name_or_path {model}.*{part}"):
        run("do_train", model_name_or_path=model)


def test_a_tokenizer_with_more_words_than_the_model_is_refused_with_both_numbers(run, tiny_folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    size = len(tokenizer)
    tokenizer.add_tokens([f"new{i}" for i in range(5)])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(InputError, match=f"{size + 5} tokens, the model {size} embeddings"):
        run("do_train", tokenizer_name=tmp_path / "tokenizer")


@pytest.mark.parametrize(
    "said",
    [
        "electra does not appear to have a file named model.safetensors or model.safetensors.index.json and ...",
        "Could not create safetensors conversion PR. The repo does not appear to have a file named ...",
    ],
)
def test_a_hub_model_without_safetensors_is_refused_with_the_way_out(said, monkeypatch):
    def fail(*args, **options):
        raise OSError(said)

    monkeypatch.setattr("hype.hub.hub_is_reachable", lambda: True)
    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    with pytest.raises(InputError, match="allow_pickle_weights"):
        load_config(ModelArguments(model_name_or_path="electra"))


def test_a_cached_revision_of_a_hub_model_is_trained_without_a_connection(run, tiny_folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("hype.hub.hub_is_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("socket.getaddrinfo", lambda *address, **options: asked.append(address) or [])
    cached, commit = tmp_path / "cache" / "models--someone--bert", "b" * 40
    shutil.copytree(tiny_folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "v2").write_text(commit)  # and no main
    record = run("do_train", model_name_or_path="someone/bert", model_revision="v2", max_steps=1)
    assert (record["status"], record["model"]["revision"], asked) == ("finished", commit, [])
    assert run("do_train", max_steps=1, output_dir=tmp_path / "local")["model"]["revision"] is None


def test_a_model_with_its_own_code_is_trained_if_the_code_is_trusted(run, model, monkeypatch, tmp_path):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (model / "own.py").write_text(
        "from transformers import BertConfig, BertForSequenceClassification\n"
        "class OwnConfig(BertConfig): model_type = 'own'\n"
        "class OwnModel(BertForSequenceClassification): config_class = OwnConfig\n"
    )
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}
    configure(model, model_type="own", auto_map=own)
    record = run("do_train", trust_remote_code=True, model_name_or_path=model, max_steps=1, hype_type="normal")
    assert record["status"] == "finished" and record["noise"]["layers"]


def test_an_attention_that_is_not_installed_is_named_with_the_way_out(run):
    with pytest.raises(InputError, match=r"installed.*; pass another --attn_implementation"):
        run("do_train", "bf16", attn_implementation="flash_attention_2")
