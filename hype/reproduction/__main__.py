"""`python -m hype.reproduction table_1 --run`: do an experiment's runs, show what is there, write its report."""

import argparse
import sys
from collections import Counter
from datetime import timedelta

from hype.errors import InputError, run_command
from hype.reproduction.expansion import Cell
from hype.reproduction.options import ACTIONS, parser
from hype.reproduction.sections import Section, results_dir_of, runs_of, sections_of
from hype.reproduction.state import FINISHED, INTERRUPTED, MODEL_MISSING, State, estimated_seconds, state_of
from hype.reproduction.studies import STUDIES, load_study


def main(argv: list[str]) -> int:
    """Do what `argv` says; results go to stdout, progress to stderr. Returns 1 if a run is not finished."""
    return run_command(_act, argv)


def _act(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    if not any(getattr(options, action) for action in ACTIONS):
        raise InputError("say what to do: --run, --show, --commands, --dry_run or --report")
    sections = sections_of(options, is_to_run=options.run or options.commands)
    exit_code = 0
    if options.dry_run:
        print("\n\n".join(plan_text(section, [state_of(cell) for cell in section.cells]) for section in sections))
    if options.commands:
        print_commands(runs_of(sections))
    if options.run:
        exit_code = _run(options.experiment, runs_of(sections), options)
    if options.run or options.show or options.report:
        _present(options)
    return exit_code


def print_commands(cells: list[Cell]) -> None:
    """Print a line per run and, on stderr, what these lines leave to --run."""
    analyses = dict.fromkeys(cell.analysis.name for cell in cells if cell.analysis)
    lost = {cell.folder for cell in cells if state_of(cell).status == MODEL_MISSING}
    notes = []
    if analyses:
        notes.append(f"these lines make the runs, not their analyses ({', '.join(analyses)}); --run does afterwards")
    if lost:
        notes.append(f"{len(lost)} finished runs lack their model, their lines do nothing; --run makes it anew")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    # A run may stand here once for each of its analyses.
    print("\n".join({cell.folder: cell.absolute_command for cell in cells}.values()))


def plan_text(section: Section, states: list[State]) -> str:
    """Say how many runs there are, how they stand, and how long the open ones will take one after another."""
    cells, experiment = section.cells, section.experiment
    counts = Counter(state.status for state in states)
    standing = ", ".join(f"{counts[status]} {status}" for status in counts)
    seconds = estimated_seconds(cells, states)
    known = [value for value in seconds.values() if value is not None]
    estimate = f"{timedelta(seconds=round(sum(known)))} in turn" if known else "no record yet"
    if known and len(known) < len(seconds):
        estimate += f" for {len(known)} of them, no record yet of the others' kind"
    lines = [f"{section.name}: {section.title or experiment.title} ({experiment.paper})", section.narrowing_text]
    lines += [f"{len(cells)} runs: {standing}", f"to do: {len(seconds)} runs, {estimate}"]
    if any(cell.keeps_model or cell.analysis for cell in cells):
        lines.append(f"the model of each run is kept: {len(cells)} times the size of its weights")
    return "\n".join(line for line in [*lines, *experiment.notes] if line)


def _run(name: str, cells: list[Cell], options: argparse.Namespace) -> int:
    """Do the open runs; return 1 if any run is left unfinished."""
    states = [state_of(cell) for cell in cells]
    wanted = [
        c for c, s in zip(cells, states, strict=True) if s.is_open or (options.retry_failed and s.status != FINISHED)
    ]
    # Interrupted runs first: their checkpoints take room. Then seed by seed: what is done by any time can be paired.
    begun = {cell for cell, state in zip(cells, states, strict=True) if state.status == INTERRUPTED}
    wanted.sort(key=lambda cell: (cell not in begun, cell.seed))
    # Imported here: the other actions do without torch.
    from hype.reproduction.executor import drive, in_turn, summary

    if options.executor == "ray":
        from hype.reproduction.ray_executor import on_ray

        outcomes = on_ray(wanted, options.retry_failed, options.cpus_per_run, options.gpus_per_run)
    else:
        outcomes = in_turn(wanted, options.retry_failed)
    ended = drive(name, wanted, outcomes)
    print(summary(name, cells, ended), file=sys.stderr)
    return 0 if all(state_of(cell).status == FINISHED for cell in cells) else 1


def _present(options: argparse.Namespace) -> None:
    from hype.reproduction.contents import contents_of_section
    from hype.reproduction.report import show, write_report, write_study

    contents = [contents_of_section(section) for section in sections_of(options, is_to_run=False)]
    if options.run or options.show:
        print("\n".join(map(show, contents)))
    if options.report:
        folder = results_dir_of(options)
        paths = [path for one in contents for path in write_report(one, folder / "reports")]
        if options.experiment in STUDIES and not options.sections:  # a part does not replace the whole
            paths += write_study(load_study(options.experiment), contents, folder)
        print("\n".join(map(str, paths)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
