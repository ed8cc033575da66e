"""Everything that a report shows of a table, before it takes a form."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from hype.reproduction import sheets
from hype.reproduction.changes import changes_sheets, changes_table
from hype.reproduction.figures import Figure, combination_plots, dose_plots, layer_plots, seed_plots
from hype.reproduction.findings import findings
from hype.reproduction.sections import Section
from hype.reproduction.sheets import Sheet
from hype.reproduction.state import state_of
from hype.reproduction.statistics import (
    STATUSES,
    Difference,
    GridPoint,
    PaperTable,
    checked,
    grid_points,
    paired_differences,
    protocol,
)
from hype.reproduction.tables import layers_table, paper_table, runs_table


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
    def findings(self) -> list[str]:
        return findings(self.table, self.differences, self.layers, self.changes, self.points)

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


def contents_of_section(section: Section) -> Contents:
    """Read a section's runs and work out what is shown of them."""
    cells, states = section.cells, [state_of(cell) for cell in section.cells]
    extras = Extras(layers_table(cells, states), changes_table(cells, states))
    table = paper_table(section.experiment, cells, section.narrowing)
    table = replace(table, name=section.name, title=section.title or table.title)
    return contents_of(table, runs_table(section.experiment, cells, states), extras)


def _selected(layers: pd.DataFrame, cells: dict) -> pd.DataFrame:
    """Return what belongs to the grid points that the protocol selects, values x 100."""
    best = {key: (cell.best.variant, cell.best.learning_rate) for key, cell in cells.items() if cell.best}
    columns = ["model", "method", "task", "variant", "learning_rate"]
    is_best = [best.get(row[:3]) == row[3:] for row in layers[columns].itertuples(index=False, name=None)]
    return layers[is_best].assign(score=lambda rows: 100 * rows["score"])
