"""Where a study finds data besides GLUE's: no placeholder reaches a run or a printed line."""

import pytest

from hype.reproduction import sections
from hype.reproduction.__main__ import main
from hype.reproduction.fingerprints import Fingerprints, data_fingerprint
from hype.reproduction.options import parser
from hype.reproduction.sections import PLACES, sections_of
from hype.reproduction.state import FINISHED, State
from hype.reproduction.studies import Entry, Study
from tests.analysis.test_transfer import nli_folder

ONE = "--methods vanilla --seeds 1 --learning_rates 1e-3 --max_train_samples 32"
ENTRIES = (
    Entry("moved", "Transfer", "table_7", f"--tasks snli {ONE}"),
    Entry("attacked", "Attacks", "table_6", f"--tasks rte {ONE}"),
)


@pytest.fixture
def glue(tmp_path):
    """A GLUE folder without NLI sets, and beside it one with them."""
    nli_folder(tmp_path / "glue")
    (tmp_path / "nli").mkdir()
    for name in ("SNLI", "SICK", "SciTail"):
        (tmp_path / "glue" / name).rename(tmp_path / "nli" / name)
    return tmp_path / "glue"


@pytest.fixture(autouse=True)
def _study(glue, monkeypatch):
    monkeypatch.delenv("GLUE_DIR", raising=False)
    data = {task: data_fingerprint(str(glue), task) for task in ("rte", "qqp", "mnli")}
    data |= {task: data_fingerprint(str(glue.parent / "nli"), task) for task in ("snli", "sick", "scitail")}
    prints = Fingerprints("0" * 64, "0" * 64, 3, data | {"advglue": "0" * 64})
    monkeypatch.setattr(sections, "STUDIES", ("small",))
    monkeypatch.setattr(
        sections, "load_study", lambda name: Study("small", "Small", "", "absent/model", prints, ENTRIES)
    )
    monkeypatch.setattr(sections, "packaged_model", lambda: "absent/model")


def line_of(section, glue, *options) -> list[str]:
    results_dir = str(glue.parent / "results")
    return ["small", "--sections", section, "--data_dir", str(glue), "--results_dir", results_dir, *options]


@pytest.mark.parametrize(
    ("section", "action", "message"),
    [
        ("moved", "--run", "--nli_dir: the section moved of small needs it; give the one that holds SNLI/"),
        ("moved", "--commands", "--nli_dir: the section moved of small needs it; give the one that holds SNLI/"),
        ("attacked", "--run", "--adv_file: the section attacked of small needs it; give AdvGLUE's dev.json"),
    ],
)
def test_what_is_still_to_do_is_refused_without_its_data(section, action, message, glue, capsys):
    assert main(line_of(section, glue, action)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"error: {message}") and captured.err.count("\n") == 1
    assert not (glue.parent / "results").exists()


def test_what_is_done_already_needs_no_data(glue, monkeypatch):
    monkeypatch.setattr(sections, "state_of", lambda cell: State(FINISHED))
    for section in ("moved", "attacked"):
        assert sections_of(parser().parse_args(line_of(section, glue, "--run")), is_to_run=True)


def test_training_on_glue_alone_is_a_line_without_other_data(glue, capsys):
    assert main(line_of("attacked", glue, "--commands")) == 0
    assert str(glue) in capsys.readouterr().out


@pytest.mark.parametrize("is_in_glue", [True, False])
def test_nli_sets_are_read_from_their_folder_or_from_a_glue_folder_that_holds_snli(is_in_glue, glue, capsys):
    nli = glue.parent / "nli"
    if is_in_glue:
        for path in list(nli.iterdir()):
            path.rename(glue / path.name)
    assert main(line_of("moved", glue, "--commands", *([] if is_in_glue else ["--nli_dir", str(nli)]))) == 0
    text = capsys.readouterr().out
    assert f"--data_dir {glue if is_in_glue else nli} " in text and not any(place in text for place in PLACES.values())
