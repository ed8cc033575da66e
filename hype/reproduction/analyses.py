"""Makes the analyses that an experiment needs of its finished runs, and reads their records."""

from hype.analysis import adversarial, probing, similarity, transfer
from hype.analysis.finished import FinishedRun
from hype.analysis.record import Options
from hype.errors import InputError
from hype.reproduction.expansion import Cell
from hype.reproduction.state import NEEDED_OF_ANALYSIS, read_whole

MODULES = {"adversarial": adversarial, "probing": probing, "similarity": similarity, "transfer": transfer}


def analyse_run(cell: Cell) -> None:
    """Write the records of a finished run that are missing; a no-op where the experiment has no analysis.

    Raises:
        RunError: see `hype.analysis`.
    """
    missing = [] if cell.analysis is None else [t for t in cell.analysis.targets if not cell.analysis.path(t).exists()]
    run = FinishedRun(cell.folder) if missing else None
    for target in missing:
        options = Options(output=cell.analysis.path(target), **dict(cell.analysis.options))
        MODULES[cell.analysis.name].analyse(run, target, options)


def remove_damaged(cell: Cell) -> None:
    """Remove the records of analyses that cannot be read, so that they are made anew."""
    for target in cell.analysis.targets if cell.analysis else ():
        try:
            read_whole(cell.analysis.path(target), NEEDED_OF_ANALYSIS)
        except InputError:
            cell.analysis.path(target).unlink()
