"""Reports in their forms: self-contained, harmless whatever names hold, and complete."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hype.analysis.record import Options
from hype.errors import EnvironmentFault
from hype.reproduction.experiments import CONTROL, Question, load, load_study
from hype.reproduction.report import answers, headline, progress, show, write_report
from hype.reproduction.runs import Analysis
from hype.reproduction.tables import effect_tables, folded_tables, score_tables, study_runs
from tests.reproduction.made_up_runs import record, section

SCORES = {"vanilla": [0.5, 0.6, 0.55], CONTROL: [0.52, 0.61, 0.58], "hype-n 1e-5": [0.52, 0.61, None]}
HOSTILE = "<script>alert(1)</script>|=1+1"


class Page(HTMLParser):
    """Collect a page's ids, links and sources, and check that its elements are closed."""

    VOID = ("meta", "link", "br", "path", "use")

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.sources, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.sources += [attributes[name] for name in ("src", "srcset") if name in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def cells(tables: list) -> list[list[str]]:
    """Return the rows of the only table."""
    (table,) = tables
    return table.frame.values.tolist()


def page_of(*sections, tmp_path) -> tuple[Page, str]:
    write_report(sections, None, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return Page(text), text


def test_the_page_is_self_contained_links_to_its_sections_and_shows_the_command_of_every_run(tmp_path):
    made = section(SCORES)
    page, text = page_of(made, tmp_path=tmp_path)
    assert page.open == [] and page.sources == []
    assert {link.removeprefix("#") for link in page.links} <= {*page.ids} and "table_8" in page.ids
    assert not re.search(r"(src|href)=\"?https?:|@import|url\((?!['\"]?#)", text.replace("http://www.w3.org", ""))
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    shown = html.unescape(text)
    assert all(spec.command in shown and spec.key in shown for spec in made.states)


def test_the_majority_class_stands_above_the_scores():
    (table,) = score_tables(section(SCORES))
    assert table.frame.values.tolist() == [
        ["majority class", "25.00"], ["vanilla", "55.00 ± 5.00\nn 3"], ["no dropout", "57.00 ± 4.58\nn 3"],
        ["HyPe-N 1e-5", "56.50 ± 6.36\nn 2 of 3"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "cell"),
    [
        ([0.5, "diverged"], "50.00\nn 1 of 2, 1 failed"),
        ([None, None], "-\n0 of 2 runs"),
        ([record(0.25, "0000")] * 3, "25.00 ± 0.00\nn 3, 3 collapsed, at majority level"),
    ],
)
def test_a_score_stands_beside_the_number_of_its_runs_and_what_is_wrong_with_them(runs, cell):
    assert cells(score_tables(section({"vanilla": runs})))[1][1] == cell


def test_effects_are_against_the_method_with_the_same_dropout():
    first, second = cells(effect_tables(section(SCORES), [(CONTROL, "vanilla"), ("hype-n 1e-5", CONTROL)]))
    assert [first[0], second[0]] == ["no dropout minus vanilla", "HyPe-N 1e-5 minus no dropout"]
    assert first[1].startswith("+2.00 (-0.48 to +4.48, n 3)") and second[1].startswith("+0.00 (n 2 of 3)")
    both = section({"vanilla": [0.5], CONTROL: [0.5], "hype-n+dropout": [0.6], "hype-n": [0.7]}, name="table_9")
    assert both.counterpart("hype-n+dropout") == "vanilla" and both.counterpart("hype-n") == CONTROL


def test_pairs_across_devices_are_counted_in_tables_and_answers():
    one, many = ({"device": {"type": "cpu", "threads": threads}} for threads in (1, 16))
    noisy = [record(0.6, machine=one), record(0.6, machine=many)]
    made = section({CONTROL: [record(0.5, machine=one)] * 2, "hype-n 1e-5": noisy})
    assert "1 pair across devices" in cells(effect_tables(made, [("hype-n 1e-5", CONTROL)]))[0][1]
    asked = Question("Does it help?", "hype-n 1e-5", CONTROL, (made.name,))
    [(_, answer)] = answers(replace(load_study("minilm"), questions=(asked,)), [made])
    assert "1 pair across devices" in answer


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (record(0.5, "0110"), record(0.5, "0110"), "identical predictions"),
        (record(0.5, majority_score=0.6), record(0.4, majority_score=0.6), "at majority level, proves nothing"),
    ],
)
def test_tables_and_answers_say_the_same(ours, theirs, says):
    made = section({CONTROL: [theirs] * 3, "hype-n 1e-5": [ours] * 3})
    assert says in cells(effect_tables(made, [("hype-n 1e-5", CONTROL)]))[0][1]
    asked = Question("Does it help?", "hype-n 1e-5", CONTROL, (made.name,))
    [(_, answer)] = answers(replace(load_study("minilm"), questions=(asked,)), [made])
    assert answer.lower().startswith(says)


def test_a_headline_says_which_effects_differ_from_0_or_that_none_does():
    base = [0.5, 0.6, 0.55]
    more = section({"vanilla": base, CONTROL: [0.6, 0.71, 0.65]})
    assert headline(more) == "1 of 1 effects differ from 0: no dropout on RTE (raises the score)"
    variants = {replace(s, variant="alpha 1" * (s.method == CONTROL)): state for s, state in more.states.items()}
    varied = replace(more, states=variants)
    assert headline(varied) == "1 of 1 effects differ from 0: no dropout alpha 1 on RTE (raises the score)"
    cola = {replace(spec, task="cola"): state for spec, state in more.states.items()}
    tasks = replace(more, states=more.states | cola)
    assert headline(tasks) == "1 of 1 effects differ from 0: no dropout on all tasks (raises the score)"
    assert headline(section({"vanilla": base, CONTROL: [0.6, 0.5, 0.55]})) == "No effect out of 1 differs from 0"
    assert headline(section({"vanilla": [0.5], CONTROL: [0.6]})) == "Too few seeds to compare methods"
    assert headline(section({"vanilla": [None]})) == "No pair of runs yet"


def test_what_is_missing_of_a_study_is_said():
    whole, made = section({"vanilla": [0.5, 0.6]}), section(SCORES)
    waiting = replace(made, states={}, waits_for="the runs of rates")
    assert progress([whole]) == "" and progress([made]) == "Interim: 8 of 9 runs and their analyses are finished."
    assert progress([made, waiting]).endswith(" 1 section still without learning rates.")
    unanalysed = section({"vanilla": [0.5, 0.6]})
    last = list(unanalysed.states)[-1]
    unanalysed.states[last] = replace(unanalysed.states[last], status="missing")
    assert progress([unanalysed]) == "Interim: 1 of 2 runs and their analyses are finished.", "an analysis is missing"
    assert headline(waiting) == "Waits for the runs of rates"


def test_the_effects_of_a_study_are_of_the_runs_that_a_question_is_about():
    made, study = section(SCORES), load_study("minilm")
    asked = replace(made, name=study.questions[0].sections[0])
    assert list(study_runs(study, [made, asked])["key"]) == [spec.key for spec in asked.states]
    assert study_runs(study, [made]).empty


def test_printed_numbers_are_folded_and_left_out_beside_another_scale():
    made = section(SCORES)
    titles = [table.title for table in folded_tables(made)]
    assert "Printed in the paper: BERT-large" in titles
    other = replace(made, overrides=replace(made.overrides, hype_eps=0.5))
    assert not any("Printed" in table.title for table in folded_tables(other))


def test_a_report_without_a_single_finished_run_is_written(tmp_path):
    page_of(section({"vanilla": [None, None], CONTROL: [None]}), tmp_path=tmp_path)
    assert "No pair of runs yet" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_hostile_names_stay_text(tmp_path):
    made = section(SCORES, model=HOSTILE, title=HOSTILE)
    _, text = page_of(made, tmp_path=tmp_path)
    assert HOSTILE not in text and "&lt;script&gt;" in text
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown and "&lt;script&gt;alert(1)&lt;/script&gt;\\|=1+1" in markdown


def test_the_same_runs_give_the_same_bytes_and_no_temporary_files(tmp_path):
    for name in ("a", "b"):
        write_report([section(SCORES)], None, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["report.html", "report.md"]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="choose a folder you can write"):
        write_report([section(SCORES)], None, tmp_path / "file")


def test_a_summary_says_how_to_see_all_of_it():
    made = section(SCORES)
    summary, full = (show([made], None, is_full) for is_full in (False, True))
    assert "--show full" in summary and "Every learning rate and grid point" not in summary
    assert "Every learning rate and grid point" in full and all(note in full for note in load("table_8").common_notes)


def test_a_collapsed_run_is_marked_where_its_score_is_that_of_another_set():
    made = section({"vanilla": [record(0.5, "1111")]}, name="table_6")
    analysis = Analysis("adversarial", ("rte",), Path(), Options(), ("0" * 64,))
    ((spec, state),) = made.states.items()
    analyses = {"rte": {"results": {"accuracy": 0.4}}}
    states = {replace(spec, analysis=analysis): replace(state, analyses=analyses)}
    (table,) = score_tables(replace(made, states=states))
    assert table.frame["RTE"].iloc[-1] == "40.00\nn 1, 1 collapsed"
