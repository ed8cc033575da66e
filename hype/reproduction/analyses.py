"""Makes the analyses that an experiment needs of its finished runs, and reads their records."""

from hype.analysis import adversarial, probing, similarity, transfer
from hype.analysis.finished import FinishedRun
from hype.analysis.record import Options
from hype.reproduction.expansion import Cell

MODULES = {"adversarial": adversarial, "probing": probing, "similarity": similarity, "transfer": transfer}


def analyse_run(cell: Cell) -> None:
    """Write the records of a finished run that are missing; a no-op where the experiment has no analysis.

    Raises:
        RunError: see `hype.analysis`.
    """
    if cell.analysis is None or cell.analysis.is_done:
        return
    run = FinishedRun(cell.folder)
    for target in cell.analysis.targets:
        options = Options(output=cell.analysis.path(target), **dict(cell.analysis.options))
        MODULES[cell.analysis.name].analyse(run, target, options)
