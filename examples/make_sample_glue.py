"""Generate sample_glue, a miniature GLUE folder, from the templates next to this file.

    python examples/make_sample_glue.py [folder]

The output depends only on the templates and SEED.
"""

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "sample_glue_templates"
SEED = 2023
HELD_OUT_EVERY = 4  # every fourth block of templates is held out of train
MISMATCHED_GENRES = {"radio", "recipes"}  # the genres of MNLI's *_mismatched files; its other files have the rest
SLOT = re.compile(r"\{(\^?)(a )?([a-z]+)(\d?)(?::(\d))?\}")  # {^a pet2:1}: capital, article, category, draw, field

Lexicon = dict[str, list[list[str]]]  # category -> entries -> fields


class Template(NamedTuple):
    """One labelled text with slots; `base` is the first text of its pair, empty for single sentences."""

    section: str
    block: int
    base: str
    label: str
    text: str


class Layout(NamedTuple):
    """Header and row format of a file; an empty header is not written."""

    header: str
    row: str


class Task(NamedTuple):
    """Template file, label names by short form (if it differs from the name), and layout and row count by file."""

    templates: str
    labels: dict[str, str]
    files: dict[str, tuple[Layout, int]]


PAIR_TEST = Layout("index\tsentence1\tsentence2", "{index}\t{base}\t{text}")
PAIR = Layout(PAIR_TEST.header + "\tlabel", PAIR_TEST.row + "\t{label}")
SENTENCE_TEST = Layout("index\tsentence", "{index}\t{text}")
COLA = Layout("", "{section}\t{label}\t{mark}\t{text}")
SST2 = Layout("sentence\tlabel", "{text} \t{label}")  # with a space before the tab, as in the download
MRPC = Layout("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "{label}\t{id1}\t{id2}\t{base}\t{text}")
MRPC_TEST = Layout("index\t#1 ID\t#2 ID\t#1 String\t#2 String", "{index}\t{id1}\t{id2}\t{base}\t{text}")
QQP = Layout("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "{id}\t{id1}\t{id2}\t{base}\t{text}\t{label}")
QQP_TEST = Layout("id\tquestion1\tquestion2", "{index}\t{base}\t{text}")
QNLI_TEST = Layout("index\tquestion\tsentence", "{index}\t{text}\t{base}")
QNLI = Layout(QNLI_TEST.header + "\tlabel", QNLI_TEST.row + "\t{label}")
STSB_TEST = Layout(
    "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2",
    "{index}\t{section}\tsample\t2026\t{index:04d}\tnone\tnone\t{base}\t{text}",
)
STSB = Layout(STSB_TEST.header + "\tscore", STSB_TEST.row + "\t{label}")
MNLI_TEST = Layout(
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
    "\tsentence1\tsentence2",
    "{index}\t{id1}\t{id1}{letter}\t{section}\tn/a\tn/a\tn/a\tn/a\t{base}\t{text}",
)
MNLI = Layout(MNLI_TEST.header + "\tlabel1\tgold_label", MNLI_TEST.row + "\t{label}" * 2)
MNLI_DEV = Layout(
    MNLI_TEST.header + "\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label", MNLI_TEST.row + "\t{label}" * 6
)

THREE_WAY = {"E": "entailment", "N": "neutral", "C": "contradiction"}
TWO_WAY = {"E": "entailment", "N": "not_entailment", "C": "not_entailment"}
MNLI_FILES = {
    "train": (MNLI, 96),
    "dev_matched": (MNLI_DEV, 40),
    "dev_mismatched": (MNLI_DEV, 40),
    "test_matched": (MNLI_TEST, 16),
    "test_mismatched": (MNLI_TEST, 16),
}
TASKS = {
    "CoLA": Task("cola", {}, {"train": (COLA, 112), "dev": (COLA, 56), "test": (SENTENCE_TEST, 24)}),
    "SST-2": Task("sst2", {}, {"train": (SST2, 400), "dev": (SST2, 240), "test": (SENTENCE_TEST, 24)}),
    "MRPC": Task("mrpc", {}, {"train": (MRPC, 96), "dev": (MRPC, 48), "test": (MRPC_TEST, 24)}),
    "STS-B": Task("stsb", {}, {"train": (STSB, 112), "dev": (STSB, 48), "test": (STSB_TEST, 24)}),
    "QQP": Task("qqp", {}, {"train": (QQP, 112), "dev": (QQP, 56), "test": (QQP_TEST, 24)}),
    "MNLI": Task("mnli", THREE_WAY, MNLI_FILES),
    "QNLI": Task("qnli", TWO_WAY, {"train": (QNLI, 96), "dev": (QNLI, 48), "test": (QNLI_TEST, 24)}),
    "RTE": Task("rte", TWO_WAY, {"train": (PAIR, 192), "dev": (PAIR, 96), "test": (PAIR_TEST, 32)}),
    "WNLI": Task("wnli", {}, {"train": (PAIR, 64), "dev": (PAIR, 32), "test": (PAIR_TEST, 16)}),
    "diagnostic": Task("ax", THREE_WAY, {"diagnostic": (PAIR_TEST, 32)}),
}


def read_lexicon() -> Lexicon:
    """Read the words of each category."""
    lines = (TEMPLATES / "lexicon.txt").read_text(encoding="utf-8").splitlines()
    parts = re.split(r"\[(\w+)\]", "".join(line for line in lines if not line.startswith("#")))[1:]
    entries = [[entry.strip().split("|") for entry in part.split(";")] for part in parts[1::2]]
    return dict(zip(parts[::2], entries, strict=True))


def read_templates(name: str) -> list[Template]:
    """Read a template file: blank lines separate blocks, "= text" is a block's base, "# [name]" starts a section."""
    templates, section, base, block = [], "", "", 0
    for line in (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# ["):
            section = line[3:-1]
        elif line.startswith("= "):
            base = line[2:]
        elif not line:
            block += 1
        elif not line.startswith("#"):
            label, text = line.split(": ", 1)
            templates.append(Template(section, block, base, label, text))
    return templates


def fill(template: Template, lexicon: Lexicon, rng: random.Random) -> Template:
    """Replace the slots of both texts; two draws from one category differ in every field."""
    drawn: dict[tuple[str, str], list[str]] = {}

    def word(slot: re.Match[str]) -> str:
        capital, article, category, draw, field = slot.groups()
        if (category, draw) not in drawn:
            others = [entry for (other, _), entry in drawn.items() if other == category]
            free = [entry for entry in lexicon[category] if not any(shares_field(entry, other) for other in others)]
            drawn[category, draw] = rng.choice(free)
        text = drawn[category, draw][int(field or 0)]
        if article:
            text = f"an {text}" if text[0] in "aeiouAEIOU" else f"a {text}"
        return text[0].upper() + text[1:] if capital else text

    return template._replace(base=SLOT.sub(word, template.base), text=SLOT.sub(word, template.text))


def shares_field(entry: list[str], other: list[str]) -> bool:
    """Return whether two entries agree in any field."""
    return any(a == b for a, b in zip(entry, other, strict=True))


def draw_rows(templates: list[Template], lexicon: Lexicon, rng: random.Random, seen: set) -> Iterator[Template]:
    """Yield filled templates whose texts are not in `seen`; each template is used once before any is used again."""
    while True:
        for template in rng.sample(templates, len(templates)):
            row = fill(template, lexicon, rng)
            if (row.base, row.text) not in seen:
                seen.add((row.base, row.text))
                yield row


def format_row(index: int, row: Template, layout: Layout, labels: dict[str, str], rng: random.Random) -> str:
    """Format one row; the ids are random six-digit numbers."""
    ids = {name: rng.randrange(10**5, 10**6) for name in ("id", "id1", "id2")}
    mark = "*" if row.label == "0" else ""
    fields = row._asdict() | {"label": labels.get(row.label, row.label), "letter": row.label.lower(), "mark": mark}
    return layout.row.format(index=index, **ids, **fields)


def write_lines(path: Path, lines: list[str], layout: Layout) -> None:
    """Write a file as in the download: MRPC train and dev start with a BOM, CoLA dev ends without a newline."""
    text = "\n".join(lines) + ("" if path.match("CoLA/dev.tsv") else "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(text.encode("utf-8-sig" if layout is MRPC else "utf-8"))
    part.replace(path)


def words_for(stem: str, lexicon: Lexicon) -> Lexicon:
    """Return the first two thirds of each category for train, the last two thirds for the other files."""
    if stem == "train":
        return {category: entries[: len(entries) - len(entries) // 3] for category, entries in lexicon.items()}
    return {category: entries[len(entries) // 3 :] for category, entries in lexicon.items()}


def write_task(folder: Path, name: str, lexicon: Lexicon) -> None:
    """Write the files of a task, each from its own random stream."""
    task, seen = TASKS[name], set()
    templates = read_templates(task.templates)
    for stem, (layout, count) in task.files.items():
        of_genre = [t for t in templates if (t.section in MISMATCHED_GENRES) == stem.endswith("_mismatched")]
        usable = [t for t in of_genre if stem != "train" or t.block % HELD_OUT_EVERY]
        rng = random.Random(f"{SEED} {name} {stem}")
        rows = draw_rows(usable, words_for(stem, lexicon), rng, seen)
        lines = [format_row(index, next(rows), layout, task.labels, rng) for index in range(count)]
        write_lines(folder / name / f"{stem}.tsv", [layout.header] * bool(layout.header) + lines, layout)


def main(folder: Path) -> None:
    """Write all tasks."""
    lexicon = read_lexicon()
    for name in TASKS:
        write_task(folder, name, lexicon)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "sample_glue")
