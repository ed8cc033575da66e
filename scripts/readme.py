"""Write the generated parts of README.md and docs/: tables made from the flags and the records in results/.

`python scripts/readme.py` rewrites them; `--check` only checks whether they are up to date (exit code 0).
"""

import argparse
import math
import re
import sys
from functools import cache, partial
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
sys.path.insert(0, str(ROOT))

from hype import compare  # noqa: E402
from hype.benchmark import results  # noqa: E402
from hype.files import write_text  # noqa: E402
from hype.reproduction import cost, report, tables  # noqa: E402
from hype.reproduction.experiments import CONTROL, VANILLA, load_study, written  # noqa: E402
from hype.reproduction.sections import Section, all_runs, study_sections  # noqa: E402
from hype.reproduction.statistics import (  # noqa: E402
    flip_share,
    mean_effect,
    mean_flips,
    paired,
    percent,
    signed,
    spread_text,
)
from hype.reproduction.status import read_published  # noqa: E402
from hype.text_tables import markdown_table  # noqa: E402
from hype.training.arguments import described_flags  # noqa: E402

SHOWN = "decisive"  # the study whose numbers README shows


@cache
def sections(study: str) -> list[Section]:
    """Return the sections of a study with its published runs."""
    lines = read_published(RESULTS / study / "runs.jsonl")
    return study_sections(load_study(study), ROOT / "absent", lines)


def single_runs() -> dict[str, dict]:
    """Return the published runs that belong to no study, by name."""
    lines = read_published(RESULTS / "outputs" / "runs.jsonl")
    return {line["name"].partition("-seed_")[0]: line for line in lines.values()}


def quick_start() -> str:
    """Show what the quick start printed."""
    found = [line for name, line in single_runs().items() if name.startswith("quick_start")]
    return "\n".join(["```", *compare.table(found), "", found[0]["sample"], compare.ONE_SEED, "```"])


def repeats() -> str:
    """Compare a run of seed 42 on all of CoLA without noise with the same trained again later, and that with a run
    beside it that has noise of 1e-7."""
    runs = all_runs([section for section in sections("minilm") if section.name == "full_cola"])
    (study,) = runs[(runs["method"] == CONTROL) & (runs["seed"] == 42)].itertuples()
    again, noised = (single_runs()[name] for name in ("repeat_cola", "repeat_cola_hype_1e-7"))
    rows = [
        ("no noise, trained again, against the study's", again, (study.predictions, study.score)),
        ("noise of 1e-7 against no noise, both trained again", noised, (again["predictions"], 100 * again["score"])),
    ]
    columns = ["all of CoLA, seed 42, no dropout", "dev predictions that differ, %", "score difference, points"]
    texts = [
        [name, f"{100 * flip_share(line['predictions'], labels):.2f}", signed(100 * line["score"] - score)]
        for name, line, (labels, score) in rows
    ]
    return markdown_table(columns, texts)


def pairs_table(*names: str, noises: tuple[str, ...]) -> str:
    """Show every pair of runs: the score difference from turning dropout off, then from noise. names: of sections."""
    runs = all_runs(_named(SHOWN, names))
    methods = {CONTROL: VANILLA} | dict.fromkeys(noises, CONTROL)
    pairs = paired(runs, methods.items()).dropna(subset="difference")
    wide = pairs.pivot(index=["task", "seed"], columns="method", values="difference").reindex(columns=methods)
    rows = [
        [written(task), str(seed), *("-" if math.isnan(value) else signed(value) for value in values)]
        for (task, seed), *values in wide.itertuples()
    ]
    columns = [f"{written(method)} minus {written(reference)}" for method, reference in methods.items()]
    return markdown_table(["task", "seed", *columns], rows)


def comparisons(*names: str) -> str:
    """Show the effect of each method over its counterpart, on each task and on average. names: of sections."""
    found = [tables.effect_tables(section, tables.comparisons(section)) for section in _named(SHOWN, names)]
    frame = pd.concat([table.frame for of_section in found for table in of_section]).drop_duplicates("method")
    return report.markdown_of(tables.Table("", frame), has_notes=False)


def analyses(*names: str) -> str:
    """Show each method's scores on every analysed set; by layer, those of the last. names: of sections."""
    rows = []
    for section in _named(SHOWN, names):
        layers, scored = section.layers, section.runs.dropna(subset="score").rename(columns={"task": "target"})
        found = scored if section.experiment.is_scored_elsewhere else layers[layers["layer"] == layers["layer"].max()]
        for target, group in found.groupby("target", sort=False):
            scores = group.groupby("method")["score"]
            texts = [spread_text(scores.mean()[method], scores.std()[method]) for method in section.methods]
            rows.append([section.experiment.analysis, written(target), str(scores.count().min()), *texts])
    return markdown_table(["analysis", "set", "n", *map(written, section.methods)], rows)


def base_repeats() -> str:
    """Compare a run of all-mpnet-base-v2 without noise with the same on another CPU, and that with noise of 1e-7."""
    lines = read_published(RESULTS / "outputs" / "runs.jsonl")
    noised, again = (line for line in lines.values() if line["model"]["model_type"] == "mpnet")  # sorted by name
    study = read_published(RESULTS / SHOWN / "runs.jsonl")[again["run_id"]]
    first, second = (line["machine"]["device"]["name"].rpartition(" ")[2] for line in (study, again))
    rows = [
        [f"no noise, trained again with {second}, against the study's with {first}", again, study],
        [f"noise of 1e-7 against no noise, both with {second}", noised, again],
    ]
    columns = ["all-mpnet-base-v2, STS-B, seed 1, no dropout", "score difference, points"]
    return markdown_table(
        columns, [[name, signed(100 * (ours["score"] - theirs["score"]))] for name, ours, theirs in rows]
    )


def answers(study: str, *names: str) -> str:
    """Show the questions of a study with their answers. names: of sections, for a table of the first lines alone."""
    found = report.answers(load_study(study), _named(study, names))
    if names:
        rows = [[text, *answer.splitlines()[0].rstrip(".").split(": ")] for text, answer in found]
        return markdown_table(["question", "answer", "effect on the score"], rows)
    return "\n".join(f"- **{text}** {' '.join(answer.splitlines())}" for text, answer in found)


def effects(study: str, *names: str) -> str:
    """Show the effects of turning dropout off and of adding noise, a row for each setting. names: of sections."""
    table = tables.settings_table(tables.settings(tables.study_runs(load_study(study), _named(study, names))))
    return report.markdown_of(table, has_notes=False)


def _named(study: str, names: tuple[str, ...]) -> list[Section]:
    return [section for section in sections(study) if not names or section.name in names]


def dose(study: str) -> str:
    """Show, for each scale of the noise, its signal-to-noise ratio and, per task, flips and effect."""
    lines = read_published(RESULTS / study / "runs.jsonl")
    pairs = tables.doses(tables.study_runs(load_study(study), sections(study)))
    tasks, rows = list(dict.fromkeys(pairs["task"])), []
    for (_, _, method), group in pairs.groupby(["hype_type", "hype_eps", "method"]):
        ratios = [layer["snr_db"] for key in group["key"] for layer in lines[key]["noise"]["layers"]]
        of_tasks = [group[group["task"] == task] for task in tasks]
        cells = [[percent(mean_flips(found)), mean_effect(found).text()] for found in of_tasks]
        cells = [", ".join(text for text in texts if text != "-") or "-" for texts in cells]
        rows.append([written(method), f"{min(ratios):.0f} to {max(ratios):.0f}", *cells])
    columns = ["noise", "signal to noise, dB", *(f"{written(task)}: changed, effect" for task in tasks)]
    return markdown_table(columns, rows)


def benchmark_page() -> str:
    """Show all benchmark results."""
    return results.page(results.read(RESULTS / "benchmark.json"))


def options() -> str:
    """Show the flags of --help, except transformers' own, as a table for each group."""
    *groups, _ = described_flags().items()
    parts = []
    for title, flags in groups:
        rows = [[f"`--{name}`", default and f"`{default}`", text] for name, default, text in flags]
        parts += [f"**{title}**", markdown_table(["flag", "default", ""], rows)]
    return "\n\n".join(parts)


PARTS = {
    "README.md": {
        "answers": partial(answers, SHOWN, "controls", "dose", "full_cola", "base"),
        "quick_start": quick_start,
    },
    "docs/options.md": {"options": options},
    "docs/benchmark.md": {"benchmark": benchmark_page},
    "docs/reproduction.md": {
        "scale": cost.table,
        "headline": partial(answers, SHOWN),
        "progress": lambda: report.progress(sections(SHOWN)),
        "effects": partial(effects, SHOWN),
        "dose": partial(dose, SHOWN),
        "all_examples": partial(effects, "minilm", "full_cola", "full_rte"),
        "repeats": repeats,
        "base_pairs": partial(
            pairs_table, "base", "base_rounding", noises=("hype-n 1e-7", "hype-n 1e-5", "hype-n 1e-2")
        ),
        "comparisons": partial(comparisons, "techniques", "position", "layers"),
        "analyses": partial(analyses, "probing", "similarity", "adversarial", "transfer"),
        "cola_pairs": partial(pairs_table, "full_cola", "full_cola_rounding", noises=("hype-n 1e-7", "hype-n 1e-5")),
        "base_repeats": base_repeats,
    },
}


def filled(text: str, parts: dict) -> str:
    """Return a file's text with up-to-date generated parts."""
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
