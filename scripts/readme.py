"""Write the generated parts of README.md and docs/options.md: numbers from results/, options from the help texts.

`python scripts/readme.py` rewrites them; `--check` only says, by its exit code, whether they are as they should be.
"""

import argparse
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402

from hype.benchmark import results  # noqa: E402
from hype.compare import compare  # noqa: E402
from hype.files import write_text  # noqa: E402
from hype.reproduction import scale  # noqa: E402
from hype.reproduction.changes import ANOTHER_SEED, share_and_gain, spread  # noqa: E402
from hype.reproduction.contents import Contents, contents_of_section  # noqa: E402
from hype.reproduction.experiments import CONTROL, VANILLA  # noqa: E402
from hype.reproduction.findings import interval_text  # noqa: E402
from hype.reproduction.options import parser  # noqa: E402
from hype.reproduction.sections import sections_of  # noqa: E402
from hype.reproduction.statistics import ALL_TASKS  # noqa: E402
from hype.text_tables import markdown_table  # noqa: E402


def quick_start() -> str:
    """Show what the quick start printed."""
    folder = RESULTS / "outputs" / "quick_start-seed42"
    text = compare([folder / name for name in ("hype", "vanilla", "vanilla_no_dropout")])
    return f"```\n{text.replace(str(RESULTS) + os.sep, '')}\n```"


def runs() -> str:
    """Show the recorded real runs, one line each."""
    columns = ["run", "task", "training examples", "steps", "learning rate", "method", "score x 100", "majority class"]
    rows = []
    for path in sorted((RESULTS / "outputs").glob("r*/run.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        majority = record["majority_score"]
        rows.append([
            path.parent.name, record["task"], f"{record['data']['rows']['train']:,}", str(record["steps"]),
            f"{record['arguments']['training']['learning_rate']:g}", record["label"],
            f"{record['score_name']} {100 * record['score']:.2f}",
            "-" if majority is None else f"{100 * majority:.2f}",
        ])  # fmt: skip
    return markdown_table(columns, rows)


@cache
def section(name: str) -> Contents:
    """Read a section of the study of MiniLM."""
    options = parser().parse_args(["minilm", "--show", "--sections", name, "--results_dir", str(RESULTS / "minilm")])
    return contents_of_section(*sections_of(options, is_to_run=False))


@cache
def repeated() -> dict[str, tuple[float, float]]:
    """Return what differs between a run of seed 42 on all of CoLA, without noise, and the same made again elsewhere.

    And what does between runs made again side by side: with noise of 1e-7, with the code of the study's. Share of
    labels, points.
    """
    found = section("full_cola").runs.query("method == @CONTROL and seed == 42")["folder"].item()
    names = ("repeat_cola", "repeat_cola_hype_1e-7", "repeat_cola_old_code")
    paths = ROOT / found, *(RESULTS / "outputs" / name for name in names)
    study, again, noised, old = (json.loads((path / "run.json").read_text(encoding="utf-8")) for path in paths)
    return {
        "no noise, made again, against the study's": share_and_gain(again, study),
        "noise of 1e-7 against no noise, both made again": share_and_gain(noised, again),
        "no noise, made again with the code of the study's, against that of today": share_and_gain(old, again),
    }


def repeats() -> str:
    """Show `repeated` as a table."""
    columns = ["all of cola, seed 42, no dropout", "dev predictions that differ, %", "score difference, points"]
    return markdown_table(columns, [[name, f"{100 * s:.2f}", f"{g:+.2f}"] for name, (s, g) in repeated().items()])


def headline() -> str:
    """Say what the noise adds to vanilla without dropout: on 1,000 examples, first or drawn, on all of CoLA and RTE."""
    drawn, full, rte = section("low_resource"), section("full_cola"), section("full_rte")
    tasks = [task for task in drawn.table.tasks if _score(drawn, task) != "-"]
    dropout = "; ".join(f"{task} {_difference(drawn, task, CONTROL, VANILLA)}" for task in tasks)
    noise = "; ".join(f"{task} {_difference(drawn, task, 'hype-n', CONTROL)}" for task in tasks)
    changed = [
        f"{text} ({task})".replace(") (", ", ") for task in tasks if (text := _percent(drawn, task, "hype-n")) != "-"
    ]
    (elsewhere, _), (tiny, _), _ = repeated().values()
    first = section("controls")
    dropout_part, normal, uniform = (
        _difference(first, ALL_TASKS, *pair) for pair in ((CONTROL, VANILLA), ("hype-n", CONTROL), ("hype-u", CONTROL))
    )
    return (
        f"On the first 1,000 rows of {', '.join(first.table.tasks)} leaving dropout out moves the score by "
        f"{dropout_part}; on top of that HyPe-N of 1e-5 moves it by {normal}, HyPe-U by {uniform}. "
        f"On 1,000 examples, drawn once, leaving dropout out moves the score by {dropout}. HyPe-N of 1e-5 on top "
        f"of that moves it by {noise}, and changes {' and '.join(changed)} of the dev predictions.\n\n"
        "On all of CoLA, without dropout, noise of 1e-5 moves the score by "
        f"{_difference(full, 'cola', 'hype-n', CONTROL)} and changes {_percent(full, 'cola', 'hype-n')} of the dev "
        "predictions; noise of 1e-7, the size of float32's "
        f"own rounding, changes {100 * tiny:.2f} % (n 1), the same run without noise on another day and machine "
        f"{100 * elsewhere:.2f} % (n 1), another seed {_percent(full, 'cola', ANOTHER_SEED)}. On all of RTE noise "
        f"of 1e-5 moves the score by {_difference(rte, 'rte', 'hype-n', CONTROL)} and changes "
        f"{_percent(rte, 'rte', 'hype-n')}."
    )


def controls() -> str:
    """Set what removing dropout does beside what the noise adds, a column for each task that was run."""
    small, dropout = section("controls"), section("controls_dropout")
    columns = {f"all of {task}": (found := section(f"full_{task}"), found, task) for task in ("cola", "rte")}
    drawn = section("low_resource")
    columns |= {f"random 1,000 of {task}": (drawn, drawn, task) for task in drawn.table.tasks}
    columns |= {f"first 1,000 of {task}": (small, dropout, task) for task in small.table.tasks}
    columns = {name: column for name, column in columns.items() if _score(column[0], column[2]) != "-"}
    rows = {
        f"{CONTROL}: score": [_score(c, task) for c, _, task in columns.values()],
        f"{CONTROL}, over vanilla": [_difference(c, task, CONTROL, VANILLA) for c, _, task in columns.values()],
        f"HyPe-N 1e-5, over {CONTROL}": [_difference(c, task, "hype-n", CONTROL) for c, _, task in columns.values()],
        f"HyPe-U 1e-5, over {CONTROL}": [_difference(c, task, "hype-u", CONTROL) for c, _, task in columns.values()],
        "HyPe-N 1e-5 with dropout, over vanilla": [
            _difference(d, task, "hype-n+dropout", VANILLA) for _, d, task in columns.values()
        ],
        "dev predictions that HyPe-N 1e-5 changes, %": [_changed(c, task, "hype-n") for c, _, task in columns.values()],
        "dev predictions that another seed changes, %": [
            _changed(c, task, ANOTHER_SEED) for c, _, task in columns.values()
        ],
    }
    return markdown_table(["points, paired by seed", *columns], [[name, *texts] for name, texts in rows.items()])


def _score(contents: Contents, task: str) -> str:
    (point,) = [p for p in contents.points if (p.task, p.method) == (task, CONTROL)]
    if not point.n:
        return "-"
    spread_text = "" if point.std() is None else f" ± {point.std():.2f}"
    collapsed = f", {point.collapsed} of one label" if point.collapsed else ""
    return f"{point.mean:.2f}{spread_text} (n {point.n}{collapsed})"


def _difference(contents: Contents, task: str, method: str, reference: str) -> str:
    key = (task, method, reference)
    of_pairs = [d for d in contents.differences if (d.task, d.method, d.reference) == key and d.n]
    if not of_pairs:
        return "-"
    (pair,) = of_pairs  # one learning rate, one variant
    return interval_text(pair)


def _changed(contents: Contents, task: str, method: str) -> str:
    shares = contents.changes.query("task == @task and method == @method")["share"]
    return f"{100 * shares.mean():.2f} (n {len(shares)})" if len(shares) else "-"


def _percent(contents: Contents, task: str, method: str) -> str:
    return _changed(contents, task, method).replace(" (", " % (")


def dose() -> str:
    """Show what the noise changed, a line for each task, form and scale: mean, smallest and largest over the seeds."""
    changes = pd.concat([section(name).changes for name in ("dose", "noise")])
    changes = changes.drop_duplicates(["task", "hype_type", "hype_eps", "seed"])
    columns = ["task", "noise", "eps", "seeds", "dev predictions that differ, %", "score difference, points"]
    rows = []
    for (task, hype_type, eps), found in changes.groupby(["task", "hype_type", "hype_eps"]):
        shares, gains = spread(100 * found["share"], ".2f"), spread(found["gain"], "+.2f")
        rows.append([task, f"HyPe-{hype_type[0].upper()}", f"{eps:g}", str(len(found)), shares, gains])
    return markdown_table(columns, rows)


def benchmark() -> str:
    """Show what was measured beside its bound."""
    return results.table(results.read(RESULTS / "benchmark.json"))


def benchmark_page() -> str:
    """Show all that was measured."""
    return results.page(results.read(RESULTS / "benchmark.json"))


PARTS = {
    "README.md": {"quick_start": quick_start, "headline": headline, "controls": controls, "benchmark": benchmark},
    "docs/benchmark.md": {"benchmark": benchmark_page},
    "docs/reproduction.md": {
        "scale": scale.table,
        "models": scale.model_table,
        "dose": dose,
        "repeats": repeats,
        "runs": runs,
    },
}


def filled(text: str, parts: dict) -> str:
    """Return a file's text with its generated parts as they should be."""
    for name, part in parts.items():
        block = f"<!-- {name} -->\n{part()}\n<!-- /{name} -->"
        text, count = re.subn(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _, b=block: b, text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{count} blocks are named {name}")
    return text


def main() -> int:
    """Rewrite the generated parts, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="change nothing")
    is_check, is_stale = parser.parse_args().check, False
    for name, parts in PARTS.items():
        before = (ROOT / name).read_text(encoding="utf-8")
        after = filled(before, parts)
        is_stale |= before != after
        if not is_check:
            write_text(ROOT / name, after)
    return int(is_check and is_stale)


if __name__ == "__main__":
    sys.exit(main())
