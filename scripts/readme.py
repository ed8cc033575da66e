"""Write the generated parts of README.md and docs/options.md: numbers from results/, options from the help texts.

`python scripts/readme.py` rewrites them; `--check` only says, by its exit code, whether they are as they should be.
"""

import argparse
import itertools
import json
import os
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
sys.path.insert(0, str(ROOT))

from transformers import TrainingArguments  # noqa: E402

from hype.arguments import DataArguments, HyPeArguments, ModelArguments, RunArguments  # noqa: E402
from hype.benchmark import figures  # noqa: E402
from hype.benchmark.techniques import table  # noqa: E402
from hype.checkpoints import write_text  # noqa: E402
from hype.compare import compare  # noqa: E402
from hype.reproduction import scale  # noqa: E402
from hype.reproduction.changes import differ_by_noise, share_and_gain  # noqa: E402
from hype.techniques import TechniqueArguments  # noqa: E402

GROUPS = {
    "HyPe": HyPeArguments,
    "Model": ModelArguments,
    "Data": DataArguments,
    "Compared techniques": TechniqueArguments,
    "Training, beside transformers' `TrainingArguments`": RunArguments,
}


def options() -> str:
    """List every flag of ours with its default."""
    inherited = {f.name for f in fields(TrainingArguments)} - {"output_dir", "logging_nan_inf_filter"}
    lines = []
    for title, group in GROUPS.items():
        lines += [f"**{title}**", "", "| flag | default | |", "|---|---|---|"]
        own = [f for f in fields(group) if group is not RunArguments or f.name not in inherited]
        for f in own:
            default = "" if f.default in (None, "", MISSING) else f"`{f.default}`"
            lines.append(f"| `--{f.name}` | {default} | {f.metadata['help']} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def quick_start() -> str:
    """Show what the quick start printed."""
    folder = RESULTS / "outputs" / "quick_start-seed42"
    text = compare([folder / name for name in ("hype", "vanilla", "vanilla_no_dropout")])
    return f"```\n{text.replace(str(RESULTS) + os.sep, '')}\n```"


def runs() -> str:
    """Show the recorded real runs, one line each."""
    lines = ["| run | task | training examples | steps | learning rate | method | score x 100 | majority class |"]
    lines.append("|---" * 8 + "|")
    for path in sorted((RESULTS / "outputs").glob("r*/run.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        rows, majority = record["data"]["rows"], record["majority_score"]
        cells = [
            path.parent.name, record["task"], f"{rows['train']:,}", str(record["steps"]),
            f"{record['arguments']['training']['learning_rate']:g}", record["label"],
            f"{record['score_name']} {100 * record['score']:.2f}",
            "-" if majority is None else f"{100 * majority:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def dose() -> str:
    """Show what the noise changed in the recorded runs on 1,000 examples, a line for each task, form and scale."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("minilm/runs/*/run.json"))]
    first = {"max_train_samples": 1000, "low_resource": False}
    few = [r for r in records if first.items() <= r["identity"].items()]
    pairs: dict[tuple, list] = {}
    for record, control in itertools.product(few, few):
        noise = record["identity"]["hype_type"], record["identity"]["hype_eps"]
        if noise[0] != "none" == control["identity"]["hype_type"] and differ_by_noise(record, control):
            pairs.setdefault((record["task"], *noise), []).append((record["seed"], *share_and_gain(record, control)))
    lines = [
        "| task | noise | eps | seeds | dev predictions that differ, % | score difference, points |",
        "|---" * 6 + "|",
    ]
    for (task, hype_type, eps), found in sorted(pairs.items()):
        seeds, shares, gains = zip(*sorted(found), strict=True)
        texts = [", ".join(f"{100 * share:.2f}" for share in shares), ", ".join(f"{gain:+.2f}" for gain in gains)]
        seeds_text = ", ".join(map(str, seeds))
        lines.append(f"| {task} | HyPe-{hype_type[0].upper()} | {eps:g} | {seeds_text} | {texts[0]} | {texts[1]} |")
    return "\n".join(lines)


def benchmark(is_full: bool = False) -> str:
    """Show what was measured beside its bound; in full, what has none, too."""
    entries = figures.read(RESULTS / "benchmark.json")
    for entry in entries.values() if not is_full else ():
        entry["figures"] = [found for found in entry["figures"] if "verdict" in found]
    return figures.table(entries)


def techniques() -> str:
    """Show the measured cost and score of the compared techniques."""
    return table(json.loads((RESULTS / "techniques.json").read_text(encoding="utf-8")))


PARTS = {
    "README.md": {"quick_start": quick_start, "runs": runs, "dose": dose, "benchmark": benchmark},
    "docs/benchmark.md": {"benchmark_full": lambda: benchmark(is_full=True), "techniques": techniques},
    "docs/options.md": {"options": options},
    "docs/reproduction.md": {"scale": scale.table, "models": scale.model_table},
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
