"""`python -m hype.reproduction table_1 --run`: do an experiment's runs, show what is there, write its report."""

import argparse
import logging
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

from hype.errors import InputError, RunError
from hype.reproduction.expansion import Cell, expand
from hype.reproduction.experiments import NAMES, Experiment, load
from hype.reproduction.narrowing import Narrowing, narrowing_text
from hype.reproduction.state import FINISHED, INTERRUPTED, State, estimated_seconds, state_of

ACTIONS = ("dry_run", "commands", "run", "show", "report")


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(message.removeprefix("argument "))


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    line = _Parser(prog="python -m hype.reproduction", description=__doc__, allow_abbrev=False)
    line.add_argument("experiment", metavar="EXPERIMENT", help=", ".join(NAMES))
    actions = line.add_argument_group("what to do (at least one; they happen in this order)")
    actions.add_argument("--dry_run", action="store_true", help="Count the runs and estimate their time.")
    actions.add_argument("--commands", action="store_true", help="Print one shell line per run, finished or not.")
    actions.add_argument("--run", action="store_true", help="Do what is missing, then show the table.")
    actions.add_argument("--show", action="store_true", help="Print the table from the runs that are there.")
    actions.add_argument("--report", action="store_true", help="Write Markdown, CSV and HTML to RESULTS_DIR/reports.")
    narrow = line.add_argument_group("narrowing: a narrowed table says so wherever it appears")
    narrow.add_argument("--models", nargs="+", metavar="NAME[=PATH_OR_HUB_NAME]", help="These models, or others.")
    narrow.add_argument("--tasks", nargs="+", help="These tasks.")
    narrow.add_argument("--methods", nargs="+", help="These methods.")
    narrow.add_argument("--variants", nargs="+", help="These points of the methods' grids, such as 'hype_eps 1e-05'.")
    narrow.add_argument("--hype_eps", type=float, help="This scale for all noise, for the experiment's.")
    narrow.add_argument("--seeds", nargs="+", type=int, help="These seeds, for the experiment's.")
    narrow.add_argument("--learning_rates", nargs="+", type=float, help="These rates, for the experiment's.")
    narrow.add_argument("--max_train_samples", type=int, help="At most so many training examples.")
    narrow.add_argument("--max_analysis_samples", type=int, help="Analyse on the first examples of each dev set alone.")
    narrow.add_argument("--data_dir", help="The GLUE folder (default: variable GLUE_DIR; neither: the hub).")
    narrow.add_argument("--nli_dir", help="Table 7: the folder with SNLI/, SICK/, SciTail/ (default: as --data_dir).")
    narrow.add_argument("--adv_file", help="Table 6: AdvGLUE's dev.json (default: the hub).")
    how = line.add_argument_group("how to run")
    how.add_argument("--results_dir", type=Path, default=Path("results"), help="Default: results.")
    how.add_argument("--keep_models", action="store_true", help="Keep the fine-tuned model of each run.")
    how.add_argument("--retry_failed", action="store_true", help="Try again what failed, diverged or is damaged.")
    how.add_argument("--executor", choices=("sequential", "ray"), default="sequential", help="Default: sequential.")
    how.add_argument("--cpus_per_run", type=float, default=1, help="Asked of Ray (default: 1).")
    how.add_argument("--gpus_per_run", type=float, help="Asked of Ray (default: 1 where the cluster has any).")
    return line


def narrowing_of(options: argparse.Namespace) -> Narrowing:
    """Collect the narrowing flags.

    Raises:
        InputError: a number out of range, or a model without a name.
    """
    models = None
    if options.models:
        models = {name: path or None for name, _, path in (given.partition("=") for given in options.models)}
    bad = [rate for rate in options.learning_rates or () if not 0 < rate < 1]
    if bad:
        raise InputError(f"--learning_rates {bad[0]:g}: give numbers between 0 and 1, such as 2e-5")
    bad = [seed for seed in options.seeds or () if seed < 0]
    if bad:
        raise InputError(f"--seeds {bad[0]}: give whole numbers of at least 0")
    for name in ("max_train_samples", "max_analysis_samples"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: give a positive number")
    if options.hype_eps is not None and not 0 < options.hype_eps < float("inf"):
        raise InputError(f"--hype_eps {options.hype_eps:g}: give a positive number, such as 0.1")
    as_they_are = ("max_train_samples", "max_analysis_samples", "hype_eps", "nli_dir", "adv_file")
    given = {name: getattr(options, name) for name in as_they_are}
    for name in ("tasks", "methods", "variants", "seeds", "learning_rates"):
        values = getattr(options, name)
        given[name] = None if values is None else tuple(dict.fromkeys(values))
    if options.data_dir is not None:
        given["data_dir"] = options.data_dir
    return Narrowing(models=models, **given)


def main(argv: list[str]) -> int:
    """Do what `argv` says; results go to stdout, progress to stderr. Returns 1 if a run is not finished."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        options = parser().parse_args(argv)
        if not any(getattr(options, action) for action in ACTIONS):
            raise InputError("say what to do: --run, --show, --commands, --dry_run or --report")
        return _act(options)
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _act(options: argparse.Namespace) -> int:
    experiment, narrowing = load(options.experiment), narrowing_of(options)
    cells = expand(experiment, narrowing, options.results_dir, options.keep_models)
    exit_code = 0
    if options.dry_run:
        print(plan_text(experiment, narrowing, cells, [state_of(cell) for cell in cells]))
    if options.commands:
        print("\n".join(cell.absolute_command for cell in cells))
    if options.run:
        exit_code = _run(experiment, cells, options)
    if options.run or options.show or options.report:
        _present(experiment, narrowing, cells, options)
    return exit_code


def plan_text(experiment: Experiment, narrowing: Narrowing, cells: list[Cell], states: list[State]) -> str:
    """Say how many runs there are, how they stand, and how long the open ones will take one after another."""
    counts = Counter(state.status for state in states)
    standing = ", ".join(f"{counts[status]} {status}" for status in counts)
    seconds = estimated_seconds(cells, states)
    known = [value for value in seconds.values() if value is not None]
    estimate = f"{timedelta(seconds=round(sum(known)))} in turn" if known else "no record yet"
    if known and len(known) < len(seconds):
        estimate += f" for {len(known)} of them, no record yet of the others' kind"
    lines = [f"{experiment.name}: {experiment.title} ({experiment.paper})", narrowing_text(experiment, narrowing)]
    lines += [f"{len(cells)} runs: {standing}", f"to do: {len(seconds)} runs, {estimate}"]
    if any(cell.keeps_model or cell.analysis for cell in cells):
        lines.append(f"the model of each run is kept: {len(cells)} times the size of its weights")
    return "\n".join(line for line in [*lines, *experiment.notes] if line)


def _run(experiment: Experiment, cells: list[Cell], options: argparse.Namespace) -> int:
    """Do the open runs; return 1 if any run is left unfinished."""
    states = [state_of(cell) for cell in cells]
    wanted = [
        c for c, s in zip(cells, states, strict=True) if s.is_open or (options.retry_failed and s.status != FINISHED)
    ]
    # Interrupted runs first: their checkpoints take room.
    begun = {cell for cell, state in zip(cells, states, strict=True) if state.status == INTERRUPTED}
    wanted.sort(key=lambda cell: cell not in begun)
    # Imported here: the other actions do without torch.
    from hype.reproduction.executor import drive, in_turn, summary

    if options.executor == "ray":
        from hype.reproduction.ray_executor import on_ray

        outcomes = on_ray(wanted, options.retry_failed, options.cpus_per_run, options.gpus_per_run)
    else:
        outcomes = in_turn(wanted, options.retry_failed)
    ended = drive(experiment.name, wanted, outcomes)
    print(summary(experiment.name, cells, ended), file=sys.stderr)
    return 0 if all(state_of(cell).status == FINISHED for cell in cells) else 1


def _present(experiment: Experiment, narrowing: Narrowing, cells: list[Cell], options: argparse.Namespace) -> None:
    from hype.reproduction.changes import changes_table
    from hype.reproduction.report import Extras, show, write_report
    from hype.reproduction.tables import layers_table, paper_table, runs_table

    states = [state_of(cell) for cell in cells]
    table, runs = paper_table(experiment, cells, narrowing), runs_table(experiment, cells, states)
    extras = Extras(layers_table(cells, states), changes_table(cells, states))
    if options.run or options.show:
        print(show(table, runs, extras))
    if options.report:
        for path in write_report(table, runs, options.results_dir / "reports", extras):
            print(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
