"""Reports from made-up runs: parsed back from HTML, CSV and Markdown, with hostile, missing and diverged cells."""

import csv
import json
import math
import re
from html.parser import HTMLParser

import markupsafe
import pandas as pd
import pytest

from hype.analysis.layer_plot import layer_plot
from hype.errors import EnvironmentFault
from hype.reproduction.contents import contents_of
from hype.reproduction.report import show, write_report, write_study
from hype.reproduction.studies import Study
from tests.reproduction.made_up_runs import CONTROL, paper_table, run, runs_of, seeds

HOSTILE = "<script>alert('$1$|')</script>"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collect a page's elements, the text of its table cells, its ids and links; refuse elements left open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.cells, self.ids, self.links, self.attributes = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append(tag)
        self.attributes += named
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "a":
            self.links.append(named["href"])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def small_runs():
    return runs_of(
        *seeds("vanilla", [0.70, 0.72, 0.77]),
        *seeds(CONTROL, [0.60, None, 0.61]),
        *seeds("hype-n", [0.71, 0.75, 0.80], variant="eps 1e-05"),
        *seeds("hype-n", [0.90, 0.91], variant="eps 0.0001"),
        run("hype-n", math.nan, 3, variant="eps 0.0001", status="diverged"),
    )


def small_table(**changes):
    printed = {("bert", "vanilla", "rte"): (72.24, 2.18), ("bert", "hype-n", "rte"): (74.37, None)}
    return paper_table(**({"printed": printed} | changes))


def squeezed(text):
    return [re.sub(r" +", " ", line).strip() for line in text.splitlines()]


def test_terminal_sets_ours_printed_and_difference_under_each_other_with_n():
    lines = squeezed(show(contents_of(small_table(), small_runs())))
    place = lines.index("vanilla ours 73.00 ± 3.61 (n 3) 73.00 (n 3)")
    assert lines[place + 1 : place + 3] == ["printed 72.24 ± 2.18 72.24", "diff. +0.76 +0.76"]
    assert "hype-n ours 75.33 ± 4.51 (n 3, grid 1/2) 75.33 (n 3)" in lines
    assert "11 runs: 9 finished, 1 diverged, 1 missing" not in lines
    assert "12 runs: 10 finished, 1 diverged, 1 missing" in lines


def test_incomplete_and_absent_cells_are_dashes_never_zeros_or_means():
    table = small_table(methods=["vanilla", CONTROL, "hype-n", "hype-u"])
    lines = squeezed(show(contents_of(table, small_runs())))
    assert f"{CONTROL} ours - (n 2 of 3, incomplete) -" in lines
    assert "hype-u ours - -" in lines


def test_table_without_any_run_shows_what_is_planned_and_no_differences():
    text = show(contents_of(small_table(), runs_of(*seeds("vanilla", [None] * 3), *seeds("hype-n", [None] * 3))))
    assert "hype-n ours - (n 0 of 3) -" in squeezed(text)
    assert "Paired differences" not in text


def test_differences_of_few_seeds_give_their_reason_instead_of_a_p_value():
    lines = squeezed(show(contents_of(small_table(), small_runs())))
    # Differences 1, 3, 3 points.
    (line,) = [x for x in lines if x.startswith("rte hype-n eps 1e-05 3 3 of 3 +2.33")]
    assert line.endswith("- (n < 5) - (n < 5)")
    assert "rte hype-n eps 1e-05 2 2 of 3 +15.00 - (n < 3) - (n < 5) - (n < 5)" in lines


def test_one_model_stands_in_the_titles_and_several_stand_in_the_rows():
    differences = [line for line in squeezed(show(contents_of(small_table(), small_runs()))) if "hype-n" in line]
    assert "Paired differences to vanilla: bert" in show(contents_of(small_table(), small_runs()))
    two = pd.concat([small_runs(), small_runs().replace({"model": {"bert": "roberta"}})])
    both = squeezed(show(contents_of(small_table(models=["bert", "roberta"]), two)))
    assert "Paired differences to vanilla" in both
    for model in ("bert", "roberta"):
        assert any(line.startswith(f"{model} rte hype-n eps 1e-05 3 3 of 3 +2.33") for line in both)
    assert not any(line.startswith("bert ") for line in differences)


def test_average_is_compared_with_what_the_printed_scores_give():
    table = small_table(printed_averages={("bert", "vanilla"): 79.31})
    text = show(contents_of(table, small_runs()))
    assert "72.24 (printed: 79.31)" in text
    assert "bert vanilla average 79.31 72.24" in squeezed(text)
    assert "do not follow" not in show(contents_of(small_table(), small_runs()))


def test_printed_average_is_shown_as_printed_unless_it_is_of_other_tasks():
    printed = {("bert", "vanilla", t): (score, None) for t, score in (("rte", 72.24), ("mrpc", 90.67))}
    # (72.24 + 90.67) / 2 = 81.455
    averages = {("bert", "vanilla"): 81.46}
    runs = runs_of(*seeds("vanilla", [0.70, 0.72]), *seeds("vanilla", [0.90, 0.92], task="mrpc"))
    whole = paper_table(tasks=["rte", "mrpc"], printed=printed, printed_averages=averages)
    assert {"printed 72.24 90.67 81.46", "diff. -1.24 +0.33 -0.46"} <= set(squeezed(show(contents_of(whole, runs))))
    narrowed = paper_table(printed=printed, printed_averages=averages)
    assert "printed 72.24 72.24" in squeezed(show(contents_of(narrowed, runs)))


def test_every_cell_leads_to_its_runs_with_values_status_folder_and_command(tmp_path):
    write_report(contents_of(small_table(), small_runs()), tmp_path)
    page = Page((tmp_path / "table_1.html").read_text(encoding="utf-8"))
    targets = [link.removeprefix("#") for link in page.links]
    assert len(targets) == 3 + 4 and set(targets) == {name for name in page.ids if name.startswith("runs-")}
    assert len(page.ids) == len(set(page.ids))
    assert page.cells.count("python main.py --seed 1") == len(small_runs())
    assert {"diverged", "missing", "runs/a", "1:70.00, 2:72.00, 3:77.00"} <= set(page.cells)


def test_page_is_self_contained_and_fits_phones_paper_and_dark_screens(tmp_path):
    write_report(contents_of(small_table(), small_runs()), tmp_path)
    text = (tmp_path / "table_1.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not any(name.startswith("on") or name == "src" for name in page.attributes)
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    assert 'name="viewport"' in text and "@media print" in text and "prefers-color-scheme: dark" in text
    assert page.tags.count("svg") == 1 and page.tags.count("text") > 3


def test_hostile_names_stay_text_in_html_markdown_and_figures(tmp_path):
    task = r"<b>$\frac$|"  # no formula that could be set
    changes = {"model": {"bert": HOSTILE}, "task": {"rte": task}, "folder": {"runs/a": '"><img src=x>'}}
    table = small_table(models=[HOSTILE], tasks=[task], title=HOSTILE, narrowing_text=HOSTILE)
    write_report(contents_of(table, small_runs().replace(changes)), tmp_path)
    page = Page((tmp_path / "table_1.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "b"} & set(page.tags)
    assert task in page.cells and '"><img src=x>' in page.cells
    assert f": {markupsafe.escape(HOSTILE)}</h" in (tmp_path / "table_1.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "table_1.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    widths = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("| method")}
    assert widths == {5}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_text_that_a_spreadsheet_would_calculate_is_prefixed(tmp_path, text):
    rows = [row | {"model": text, "command": text} for row in seeds("vanilla", [0.5, 0.6])]
    write_report(contents_of(small_table(models=[text]), runs_of(*rows)), tmp_path)
    assert {(row["model"], row["command"]) for row in read_csv(tmp_path / "table_1_runs.csv")} == {(f"'{text}",) * 2}
    assert read_csv(tmp_path / "table_1.csv")[0]["model"] == f"'{text}"


def test_csv_numbers_stay_numbers_and_absent_values_are_empty(tmp_path):
    write_report(contents_of(small_table(), small_runs()), tmp_path)
    rows = {row["method"]: row for row in read_csv(tmp_path / "table_1.csv")}
    assert float(rows["hype-n"]["difference"]) == pytest.approx(226 / 3 - 74.37)
    assert (rows[CONTROL]["mean"], rows[CONTROL]["n"], rows[CONTROL]["planned"]) == ("", "2", "3")
    assert float(rows["vanilla"]["std_ddof_0"]) == pytest.approx(math.sqrt(26 / 3))
    negative = [float(row["mean"]) for row in read_csv(tmp_path / "table_1_differences.csv")]
    assert min(negative) == pytest.approx(-13.0)  # the control: -10 and -16


def test_narrowing_and_sample_data_are_said_in_titles_beside_tables_and_captions(tmp_path):
    narrowing, sample = "Narrowed: tasks rte.", "Toy data."
    table = small_table(narrowing_text=narrowing, data_text=sample)
    write_report(contents_of(table, small_runs()), tmp_path)
    text = (tmp_path / "table_1.html").read_text(encoding="utf-8")
    assert f"<title>Table 1 [{narrowing}] [{sample}]</title>" in text
    tables = text.split('<div class="screen">')[0].count("<table>")
    assert text.count(f'<p class="label">{narrowing}</p>') == tables + 2 == 6
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL):
        assert narrowing in caption and sample in caption
    assert all(narrowing in row["label"] for row in read_csv(tmp_path / "table_1_runs.csv"))
    assert show(contents_of(table, small_runs())).count(narrowing) == 1 + 3
    markdown = (tmp_path / "table_1.md").read_text(encoding="utf-8")
    assert markdown.count(f"\n{narrowing}\n") == 4


def test_notes_of_a_table_are_in_every_form(tmp_path):
    table = small_table(notes=["The subset is our own."])
    write_report(contents_of(table, small_runs()), tmp_path)
    texts = [(tmp_path / f"table_1.{end}").read_text(encoding="utf-8") for end in ("md", "html")]
    assert all("The subset is our own." in text for text in [*texts, show(contents_of(table, small_runs()))])


def test_a_study_says_once_what_holds_in_all_its_sections(tmp_path):
    tables = [small_table(name=name, notes=["It holds in all.", note]) for name, note in (("a", "One."), ("b", "Two."))]
    write_study(Study("s", "Title", "Summary", "m", {}, ()), [contents_of(t, small_runs()) for t in tables], tmp_path)
    for end in ("md", "html"):
        text = (tmp_path / f"report.{end}").read_text(encoding="utf-8")
        assert [text.count(note) for note in ("It holds in all.", "One.", "Two.")] == [1, 1, 1]


def test_report_without_a_single_finished_run_is_written(tmp_path):
    paths = write_report(contents_of(small_table(), runs_of(run(score=None), run("hype-n", None))), tmp_path / "new")
    assert all(path.stat().st_size for path in paths)
    assert "svg" not in Page((tmp_path / "new/table_1.html").read_text(encoding="utf-8")).tags


def test_same_runs_give_the_same_bytes_and_no_temporary_files(tmp_path):
    first = {
        path.name: path.read_bytes() for path in write_report(contents_of(small_table(), small_runs()), tmp_path / "a")
    }
    second = {
        path.name: path.read_bytes() for path in write_report(contents_of(small_table(), small_runs()), tmp_path / "b")
    }
    assert first == second
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(first)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="choose a folder you can write"):
        write_report(contents_of(small_table(), small_runs()), tmp_path / "file")


def test_figure_2_draws_a_bar_per_technique_alone_and_with_hype(tmp_path):
    methods = ["r-drop", "hype-n+r-drop", "vanilla", CONTROL]
    rows = [row for place, m in enumerate(methods) for row in seeds(m, [0.5 + place / 10, 0.55 + place / 10])]
    table = paper_table(name="figure_2", methods=methods, combinations=[("R-Drop", "r-drop", "hype-n+r-drop")])
    write_report(contents_of(table, runs_of(*rows)), tmp_path)
    text = (tmp_path / "figure_2.html").read_text(encoding="utf-8")
    (bars, dots) = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    for label in ("R-Drop", "alone", "with HyPe-N", "dev score x 100"):
        assert f">{label}</text>" in bars
    assert "n = 2 seeds" in bars and "n = 2 seeds" in dots and "do not start at 0" in bars


def test_layer_plot_labels_axes_and_counts_seeds():
    data = pd.DataFrame(
        [(layer, 0.1 * layer + seed, m, seed) for m in ("vanilla", "<b>") for layer in range(3) for seed in (1, 2, 3)],
        columns=["layer", "score", "method", "seed"],
    )
    figure = layer_plot(data, "figure_3", "Figure 3", "MRPC F1 x 100", "Toy data.")
    assert "mean over n = 3 seeds" in figure.caption and figure.caption.endswith("Toy data.")
    page = Page(figure.svg)
    assert "b" not in page.tags
    for label in ("layer (0: embeddings)", "MRPC F1 x 100", "vanilla", "&lt;b&gt;"):
        assert f">{label}</text>" in figure.svg


def test_runs_of_other_models_and_tasks_are_left_out_of_the_tables():
    runs = pd.concat([small_runs(), runs_of(run(model="other"), run(task="cola"))])
    assert "other" not in json.dumps(show(contents_of(small_table(), runs)))
