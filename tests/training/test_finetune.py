"""Complete runs in one process: what they write, what they reproduce, and what they refuse."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hype.errors import EnvironmentFault, InputError
from hype.training.finetune import finetune
from hype.training.parser import parse
from hype.training.summary import summary
from hype.training.trainer import HyPeTrainer
from tests.small_training import assert_equal_weights
from tests.tiny import SAMPLE

TRAIN = ("do_train", "do_eval")
NOISE = {"hype_type": "normal", "hype_eps": 1e-3}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_leaves_a_plain_checkpoint_and_the_files_that_run_glue_users_know(run, tmp_path):
    record = run(*TRAIN, "do_predict", **NOISE)
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.json", "model.safetensors", "tokenizer.json", "run.json", "README.md", "all_results.json",
        "train_results.json", "eval_results.json", "trainer_state.json", "RTE.tsv",
    } <= names  # fmt: skip
    assert json.loads((folder / "run.json").read_text()) == json.loads(json.dumps(record))
    assert record["status"] == "finished"
    assert record["sample"], "a score on the sample is called one"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "The method is HyPe" in card and ", hype]" in card


def test_the_score_of_the_record_is_the_saved_models_accuracy_by_scikit_learn(run, tmp_path):
    """The model is loaded again with transformers' own choice of attention."""
    record = run(*TRAIN, **NOISE, attn_implementation="eager")
    assert record["identity"]["attn_implementation"] == "eager"
    folder = tmp_path / "run"
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [line.split("\t") for line in (SAMPLE / "RTE" / "dev.tsv").read_text(encoding="utf-8").split("\n")[1:25]]
    with torch.no_grad():
        logits = [
            model(**tokenizer(a, b, truncation=True, max_length=32, return_tensors="pt")).logits for _, a, b, _ in rows
        ]
    predicted = [model.config.id2label[int(row.argmax())] for row in logits]
    assert record["score"] == pytest.approx(accuracy_score([row[3] for row in rows], predicted))
    assert record["metrics"]["eval"]["eval_accuracy"] == record["score"]


@pytest.mark.parametrize("flags", [{}, {**NOISE, "hype_eps": 0}], ids=["vanilla", "eps 0"])
def test_the_card_does_not_name_hype_where_there_was_no_noise(run, tmp_path, flags):
    run("do_train", max_steps=1, **flags)
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "The method is HyPe" not in card and ", hype]" not in card


def test_a_finished_run_without_its_model_says_so(run, tmp_path, caplog):
    run(*TRAIN, save_model=False)
    run(*TRAIN, save_model=False)
    assert "the model is missing" not in caplog.text
    assert not (tmp_path / "run" / "README.md").exists(), "a card is of a saved model"
    run(*TRAIN)
    assert "the model is missing; pass --overwrite_output_dir" in caplog.text


def test_the_last_upload_has_the_final_record_and_the_card(run, tmp_path, monkeypatch):
    uploads = []

    def upload(api, folder_path, **kwargs):
        card, record = (Path(folder_path) / name for name in ("README.md", "run.json"))
        has_card = card.exists() and "vanilla" in card.read_text()  # Trainer's own does not name the method
        uploads.append((json.loads(record.read_text())["status"], has_card))
        return SimpleNamespace(done=lambda: True, result=lambda: None)

    monkeypatch.setattr("hype.training.finetune.hub_is_reachable", lambda: True)
    monkeypatch.setattr(HfApi, "create_repo", lambda api, name, **kwargs: SimpleNamespace(repo_id=f"me/{name}"))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    run("do_train", "do_eval", "push_to_hub", max_steps=2)
    assert uploads[-1] == ("finished", True)


@pytest.mark.parametrize(("save_steps", "warned"), [(1, False), (30000, True)])
def test_a_best_step_without_a_checkpoint_is_warned_of(run, caplog, save_steps, warned):
    steps = {"eval_strategy": "steps", "eval_steps": 1, "save_steps": save_steps, "max_steps": 3}
    run("do_train", "load_best_model_at_end", learning_rate=0.0, **steps)
    assert ("the best step has no checkpoint, so the model is that of the last step" in caplog.text) == warned


def test_an_interrupted_run_resumes_to_the_same_weights(run, tmp_path, monkeypatch):
    flags = {**NOISE, "num_train_epochs": 2, "per_device_train_batch_size": 8, "save_steps": 3}
    run(*TRAIN, **flags, output_dir=tmp_path / "straight")
    # Step of the interruption -> the checkpoint to resume from, and all checkpoints in the end.
    cases = {1: (None, [*range(1, 13)]), 5: (3, [*range(3, 13)]), 8: (6, [3, *range(6, 13)])}
    step = HyPeTrainer.training_step
    for stop, (first_step, checkpoints) in cases.items():
        folder = tmp_path / f"stopped at {stop}"

        def interrupted(self, *args, stop=stop, **kwargs):
            if self.state.global_step == stop:
                raise KeyboardInterrupt
            return step(self, *args, **kwargs)

        monkeypatch.setattr(HyPeTrainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(*TRAIN, **flags, output_dir=folder)
        assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
        monkeypatch.setattr(HyPeTrainer, "training_step", step)
        resumed = run(*TRAIN, **{**flags, "save_steps": 1}, output_dir=folder)
        assert resumed["steps"] == 12
        assert sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*")) == checkpoints
        assert resumed["timings"].get("first_step") == first_step, "its timings cover the steps after the checkpoint"
        assert_equal_weights(weights(folder), weights(tmp_path / "straight"))


def test_noise_that_bfloat16_rounds_away_is_refused_unless_asked_for(run, tmp_path):
    with pytest.raises(InputError, match=r"bfloat16.*allow_vanishing_noise"):
        run("do_train", dtype="bfloat16", hype_type="normal")
    record = run("do_train", "allow_vanishing_noise", dtype="bfloat16", hype_type="normal")
    assert record["noise"]["least_changed"] < 0.1


def test_weights_are_float32_whatever_the_checkpoint_holds(run, tiny_folder, tmp_path):
    half = tmp_path / "half"
    AutoModelForSequenceClassification.from_pretrained(tiny_folder, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(half)
    record = run("do_train", model_name_or_path=half, hype_type="uniform", hype_eps=1e-5)
    noise = record["noise"]
    assert record["dtype"] == "float32" and 0.99 < noise["least_changed"] <= 1
    assert [layer["dtype"] for layer in noise["layers"]] == ["float32"] * 2
    assert 90 < noise["layers"][0]["snr_db"] < 115  # 20 log10(1 / (1e-5 / sqrt 3)) = 104.8 for states of variance 1
    assert 0 < noise["logit_change"] < 1e-3
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "run").values())


def test_a_head_that_was_never_trained_is_named_where_scores_are_made_with_it(run, tiny_folder, tmp_path, caplog):
    raw = run("do_eval", "do_predict")
    assert raw["model"]["untrained"] == ["classifier.bias", "classifier.weight"]
    told = f"{tiny_folder} has no classifier.bias, classifier.weight: random and not trained"
    assert told in caplog.text and told in summary(raw)

    tuned = run(*TRAIN, output_dir=tmp_path / "tuned")
    assert list(raw) == list(tuned), "every record has every field"
    again = run("do_eval", model_name_or_path=tmp_path / "tuned", output_dir=tmp_path / "again")
    for record in (tuned, again):
        assert record["model"]["untrained"] == [] and "not trained" not in summary(record)
    assert again["score"] == tuned["score"]


@pytest.mark.parametrize(
    ("task", "files"),
    [
        ("cola", ["CoLA.tsv"]),  # one text
        ("mrpc", ["MRPC.tsv"]),  # two metrics
        ("stsb", ["STS-B.tsv"]),  # regression
        ("mnli", ["MNLI-m.tsv", "MNLI-mm.tsv"]),  # two validation sets
    ],
)
def test_tasks_of_every_kind_train_evaluate_and_predict(run, tmp_path, task, files):
    record = run(*TRAIN, "do_predict", **NOISE, task_name=task, max_train_samples=16)
    assert [Path(path).name for path in record["submissions"]] == files
    for name in files:
        lines = (tmp_path / "run" / name).read_text().split("\n")
        assert lines[0] == "index\tprediction" and lines[-1] == "" and len(lines) == 8 + 2
    assert ("eval_accuracy_mm" in record["metrics"]["eval"]) == (task == "mnli")
    if task == "mnli":  # its model predicts AX
        ax = run("do_predict", task_name="ax", model_name_or_path=tmp_path / "run", output_dir=tmp_path / "ax")
        assert list(ax) == list(record)
        words = {line.split("\t")[1] for line in Path(ax["submissions"][0]).read_text().split("\n")[1:-1]}
        assert words <= {"entailment", "neutral", "contradiction"}


def test_the_released_optimiser_trains_differently_from_torchs(run, tmp_path):
    run("do_train", optimizer_semantics="release")
    run("do_train", output_dir=tmp_path / "torch")
    assert not torch.equal(
        weights(tmp_path / "run")["classifier.weight"], weights(tmp_path / "torch")["classifier.weight"]
    )


def test_test_data_that_has_labels_is_scored(run, tmp_path):
    rows = [f"text {i},{'yes' if i % 3 else 'no'}" for i in range(12)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "unlabelled.csv").write_text("text\nsome text\n")
    files = {name: tmp_path / "own.csv" for name in ("train_file", "validation_file", "test_file")}
    flags = {"task_name": None, "data_dir": None, "max_predict_samples": None, "max_eval_samples": None}
    record = run("do_train", "do_eval", "do_predict", **flags, **files)
    assert record["metrics"]["test"] == {
        "test_accuracy": record["metrics"]["eval"]["eval_accuracy"],
        "test_samples": 12,
    }
    assert f"test_accuracy {100 * record['score']:.2f} on 12 test examples" in summary(record)
    assert json.loads((tmp_path / "run" / "test_results.json").read_text()) == record["metrics"]["test"]
    files |= {"test_file": tmp_path / "unlabelled.csv", "output_dir": tmp_path / "other"}
    assert "test" not in run("do_train", "do_predict", **flags, **files)["metrics"]


def test_several_visible_gpus_are_refused_with_the_remedy(argv, monkeypatch):
    arguments = parse(argv("do_train"))
    monkeypatch.setattr(type(arguments.training), "n_gpu", property(lambda self: 2))
    with pytest.raises(EnvironmentFault, match="CUDA_VISIBLE_DEVICES"):  # a grid stops instead of failing run by run
        finetune(arguments)
