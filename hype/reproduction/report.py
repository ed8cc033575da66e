"""A table's report from its runs: on the terminal, and as Markdown, CSV and one self-contained HTML page."""

import csv
import html
import importlib.resources
import io
import math
import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from hype.errors import EnvironmentFault
from hype.reproduction import sheets
from hype.reproduction.changes import changes_sheets
from hype.reproduction.figures import Figure, combination_plots, dose_plots, layer_plots, seed_plots
from hype.reproduction.sheets import Sheet
from hype.reproduction.statistics import (
    DDOF,
    STATUSES,
    Difference,
    GridPoint,
    PaperTable,
    checked,
    grid_points,
    paired_differences,
    protocol,
)

TERMINAL_WIDTH = 110
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Extras:
    """What some experiments have besides scores: see `tables.layers_table`, `changes.changes_table`."""

    layers: pd.DataFrame = field(default_factory=pd.DataFrame)
    changes: pd.DataFrame = field(default_factory=pd.DataFrame)


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Contents:
    """Everything that a report shows, before it takes a form."""

    table: PaperTable
    runs: pd.DataFrame
    points: list[GridPoint]
    cells: dict
    differences: list[Difference]
    layers: pd.DataFrame
    changes: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """What these numbers are where they are not the paper's experiment."""
        return [text for text in (self.table.narrowing_text, self.table.data_text) if text]

    @property
    def title(self) -> str:
        return self.table.title + "".join(f" [{label}]" for label in self.labels)

    @property
    def further_sheets(self) -> list[Sheet]:
        """What stands between the scores and the paired differences."""
        return [*sheets.layer_sheets(self.layers), *changes_sheets(self.changes)]

    @cached_property
    def figures(self) -> list[Figure]:
        drawn = layer_plots(self.layers, self.table) + dose_plots(self.changes, self.table)
        return drawn + combination_plots(self.points, self.table) + seed_plots(self.points, self.table)

    @property
    def runs_text(self) -> str:
        # Tables 6 and 7 have a row for each run and set.
        runs = self.runs.drop_duplicates("folder") if self.table.is_selected_elsewhere else self.runs
        counts = Counter(runs["status"])
        return f"{len(runs)} runs: " + ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s])


def contents_of(table: PaperTable, runs: pd.DataFrame, extras: Extras = NO_EXTRAS) -> Contents:
    """Work out all statistics of a report.

    Raises:
        InputError: see `checked`.
    """
    runs = checked(runs)
    points = grid_points(runs, table)
    cells = protocol(points)
    layers = extras.layers if extras.layers.empty else _selected(extras.layers, cells)
    return Contents(table, runs, points, cells, paired_differences(runs, table), layers, extras.changes)


def _selected(layers: pd.DataFrame, cells: dict) -> pd.DataFrame:
    """Return what belongs to the grid points that the protocol selects, values x 100."""
    best = {key: (cell.best.variant, cell.best.learning_rate) for key, cell in cells.items() if cell.best}
    columns = ["model", "method", "task", "variant", "learning_rate"]
    is_best = [best.get(row[:3]) == row[3:] for row in layers[columns].itertuples(index=False, name=None)]
    return layers[is_best].assign(score=lambda rows: 100 * rows["score"])


def show(table: PaperTable, runs: pd.DataFrame, extras: Extras = NO_EXTRAS) -> str:
    """Return the report for a terminal: scores, paired differences so far, doubtful printed averages."""
    contents = contents_of(table, runs, extras)
    head = [contents.title, table.paper_reference, contents.runs_text, *table.notes, "", sheets.protocol_note(table)]
    parts = ["\n".join(textwrap.fill(line, TERMINAL_WIDTH) for line in head)]
    listed = [*sheets.score_sheets(table, contents.cells), *contents.further_sheets]
    listed += sheets.difference_sheets(table, [d for d in contents.differences if d.n])
    listed += sheets.printed_sheets(table)
    parts += [_text(sheet, contents.labels) for sheet in listed]
    return "\n\n".join(parts) + "\n"


def write_report(table: PaperTable, runs: pd.DataFrame, folder: Path, extras: Extras = NO_EXTRAS) -> list[Path]:
    """Write NAME.md, NAME.html, NAME.csv, NAME_differences.csv, NAME_runs.csv and the figures; return their paths.

    Raises:
        InputError: the runs contradict each other.
        EnvironmentFault: the folder cannot be written.
    """
    contents = contents_of(table, runs, extras)
    files = {
        f"{table.name}.md": _markdown(contents),
        f"{table.name}.html": _page(contents),
        f"{table.name}.csv": _csv(_score_records(contents), contents.labels),
        f"{table.name}_differences.csv": _csv([vars(d) for d in contents.differences], contents.labels),
        f"{table.name}_runs.csv": _csv(contents.runs.to_dict("records"), contents.labels),
        **{figure.file_name: figure.standalone for figure in contents.figures},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8", newline="")
            temporary.replace(folder / name)
    except OSError as error:
        raise EnvironmentFault(f"{folder}: {error.strerror}; choose a folder you can write") from error
    return [folder / name for name in files]


def _text(sheet: Sheet, labels: Sequence[str]) -> str:
    rows = [list(sheet.columns), *([entry.text for entry in row] for row in sheet.rows)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(sheet.columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = " ".join([sheet.title, *(f"[{label}]" for label in labels)])
    return "\n".join([head, "-" * len(head), *lines])


def _markdown(contents: Contents) -> str:
    table = contents.table
    parts = [f"# {_escaped(contents.title)}", _escaped(table.paper_reference), contents.runs_text]
    parts += map(_escaped, table.notes)
    parts += [f"## Scores by the paper's protocol\n\n{sheets.protocol_note(table)}"]
    listed = [*sheets.score_sheets(table, contents.cells), *contents.further_sheets]
    listed += sheets.difference_sheets(table, contents.differences)
    listed += [*sheets.printed_sheets(table), sheets.grid_sheet(table, contents.points, contents.cells)]
    for sheet in listed:
        parts.append(
            "\n\n".join(_escaped(text) for text in (f"## {sheet.title}", *contents.labels, sheet.note) if text)
        )
        lines = [[*sheet.columns], ["---"] * len(sheet.columns), *([entry.text for entry in r] for r in sheet.rows)]
        parts.append("\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines))
    parts.append(f"Every run with its command: {_escaped(table.name)}_runs.csv.")
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", " ")


def _page(contents: Contents) -> str:
    table, points = contents.table, contents.points
    source = importlib.resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(
        contents=contents,
        protocol_note=sheets.protocol_note(table),
        score_sheets=sheets.score_sheets(table, contents.cells),
        figures=[(Markup(figure.svg), figure.caption) for figure in contents.figures],
        other_sheets=[
            *contents.further_sheets,
            *sheets.difference_sheets(table, contents.differences),
            *sheets.printed_sheets(table),
            sheets.grid_sheet(table, points, contents.cells),
        ],
        run_sheets=sheets.run_sheets(table, contents.runs),
    )


def _score_records(contents: Contents) -> list[dict]:
    """Return the table as one record per model, method and task."""
    records = []
    for (model, method, task), cell in contents.cells.items():
        best, shown = cell.best, cell.best or cell.most_finished
        score, std = contents.table.printed.get((model, method, task), (None, None))
        records.append(
            {
                "model": model,
                "method": method,
                "task": task,
                "mean": best and best.mean,
                f"std_ddof_{DDOF}": best and best.std(),
                "std_ddof_0": best and best.std(ddof=0),
                "n": shown.n,
                "planned": shown.planned,
                "complete_grid_points": cell.complete_count,
                "grid_points": len(cell.points),
                "learning_rate": best and best.learning_rate,
                "variant": best and best.variant,
                "printed": score,
                "printed_std": std,
                "difference": best.mean - score if best and score is not None else None,
            }
        )
    return records


def _csv(records: list[dict], labels: Sequence[str]) -> str:
    """Write records as CSV: numbers as numbers, absent values empty, no text that a spreadsheet takes for a formula."""
    target = io.StringIO()
    columns = [*(records[0] if records else ()), "label"]
    writer = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    for record in records:
        writer.writerow([_harmless(value) for value in (*record.values(), "; ".join(labels))])
    return target.getvalue()


def _harmless(value):
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
