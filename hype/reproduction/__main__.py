"""`python -m hype.reproduction table_1 --run`: run an experiment, show its results, write its report."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from hype.errors import InputError, run_command
from hype.flags import LineParser, number, positive
from hype.reproduction.experiments import NAMES, STUDIES, load, load_study
from hype.text_tables import counted

PROJECT = Path(__file__).resolve().parents[2]
ACTIONS = ("dry_run", "commands", "run", "publish", "show", "report")
# Flags that replace an experiment's settings. A study sets its own.
SETTINGS = (
    "models", "tasks", "methods", "variants", "hype_eps", "seeds", "learning_rates", "max_train_samples",
    "max_analysis_samples",
)  # fmt: skip
PLACES = ("data_dir", "nli_dir", "adv_file")
OF_EACH_RUN = {"seed", "learning_rate", "output_dir", "task_name", "model_name_or_path", "data_dir"}


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = LineParser(
        prog="python -m hype.reproduction",
        usage="python -m hype.reproduction EXPERIMENT ACTION ... [flags] [-- flags of main.py]",
        description="Run an experiment or a study, show its results, write its report.",
        epilog="Flags after -- are passed to every run: table_1 --run -- --tf32 true --allow_pickle_weights true",
    )
    top.add_argument("experiment", metavar="EXPERIMENT", help=f"{', '.join(NAMES)}; or a study: {', '.join(STUDIES)}")
    actions = top.add_argument_group("actions (at least one; executed in this order)")
    actions.add_argument("--dry_run", action="store_true", help="Count the runs and estimate their time.")
    actions.add_argument("--commands", action="store_true", help="Print a shell command for each run without a score.")
    actions.add_argument("--run", action="store_true", help="Do the missing runs, then show the tables.")
    actions.add_argument("--publish", action="store_true",
                         help="Add finished runs from a clean git tree to runs.jsonl in RESULTS_DIR.")  # fmt: skip
    actions.add_argument("--show", nargs="?", const="summary", choices=("summary", "full"),
                         help="Print the tables of the finished runs: a summary, or all.")  # fmt: skip
    actions.add_argument("--report", action="store_true", help="Write report.html and report.md to RESULTS_DIR.")
    settings = top.add_argument_group("settings that replace the experiment's (the report says so)")
    settings.add_argument("--models", nargs="+", type=_model, metavar="NAME[=PATH_OR_HUB_NAME]",
                          help="Only these models; NAME=PATH replaces a model's checkpoint.")  # fmt: skip
    settings.add_argument("--tasks", nargs="+", help="Only these tasks.")
    settings.add_argument("--methods", nargs="+", help="Only these methods.")
    settings.add_argument("--variants", nargs="+", help="Only these grid points, such as 'hype_eps 1e-05'.")
    settings.add_argument("--hype_eps", type=number(1e-30, math.inf, "a positive number, such as 0.1"),
                          help="Use this scale for all noise.")  # fmt: skip
    settings.add_argument("--seeds", nargs="+", type=number(0, 2**32, "whole numbers from 0 to 2^32 - 1", int),
                          help="Use these seeds.")  # fmt: skip
    settings.add_argument("--learning_rates", nargs="+", type=number(1e-30, 1, "positive rates such as 2e-5"),
                          help="Use these learning rates.")  # fmt: skip
    settings.add_argument("--max_train_samples", type=positive, help="Use at most this many training examples.")
    settings.add_argument("--max_analysis_samples", type=positive, help="Analyse at most this many examples per set.")
    settings.add_argument("--sections", nargs="+", help="Only these sections of a study.")
    places, folder = top.add_argument_group("data"), _existing(os.path.isdir, "folder")
    places.add_argument("--data_dir", type=folder, default=os.environ.get("GLUE_DIR") or None,
                        help="The GLUE folder (default: the variable GLUE_DIR, else the hub).")  # fmt: skip
    places.add_argument("--nli_dir", type=folder, help="Table 7: the folder with SNLI/, SICK/, SciTail/ (default: "
                        "--data_dir if it contains SNLI/, else the hub, which studies do not use).")  # fmt: skip
    places.add_argument("--adv_file", type=_existing(os.path.isfile, "file"),
                        help="Table 6: AdvGLUE's dev.json (default: the hub, which studies do not use).")  # fmt: skip
    how = top.add_argument_group("how to run")
    how.add_argument("--results_dir", type=Path, help="Folder of runs, published records and reports (default: outputs "
                     "for runs, results/EXPERIMENT for the rest).")  # fmt: skip
    how.add_argument("--retry_failed", action="store_true", help="Repeat runs that failed, diverged or are damaged.")
    how.add_argument("--executor", choices=("sequential", "ray"), default="sequential", help="Default: sequential.")
    amount = number(0, 1e4, "0, 0.5, 1, 2 ...")
    how.add_argument("--cpus_per_run", type=amount, default=1, help="Reserved by Ray (default: 1).")
    how.add_argument("--gpus_per_run", type=amount, help="Reserved by Ray (default: 1 if the cluster has any).")
    return top


def main(argv: list[str]) -> int:
    """Run the command line `argv`: results go to stdout, progress to stderr. Return 1 if a run is not finished."""
    return run_command(_main, argv)


def _main(argv: list[str]) -> int:
    end = argv.index("--") if "--" in argv else len(argv)
    options = parser().parse_args(argv[:end])
    options.flags = _run_flags(argv[end + 1 :])
    options.study = load_study(options.experiment) if options.experiment in STUDIES else None
    if not any(getattr(options, action) for action in ACTIONS):
        raise InputError("no action given; add --run, --show, --commands, --dry_run, --publish or --report")
    if options.report and options.sections:
        raise InputError("--report --sections: a report covers all sections; leave out one of the two flags")
    if options.run or options.show or options.report:
        from hype.reproduction.report import show, write_report  # before the runs, in case a package is missing
    sections = sections_of(options, options.run or options.commands)
    exit_code = 0
    if options.dry_run:
        print("\n\n".join(plan_text(section, options.retry_failed) for section in sections))
    if options.commands:
        print_commands(sections)
    if options.run:
        exit_code = _run(options, sections)
        sections = sections_of(options, False)
    if options.publish:
        _publish(options, sections)
    if options.run or options.show:
        print(show(sections, options.study, options.show == "full"))
    if options.report:
        print("\n".join(map(str, write_report(sections, options.study, _results_dir(options)))))
    return exit_code


def _results_dir(options: argparse.Namespace) -> Path:
    """Return the folder of published records: --results_dir, else results/EXPERIMENT here or in the project."""
    here = Path("results") / options.experiment
    published = PROJECT / here
    return options.results_dir or (published if published.exists() and not here.exists() else here)


def sections_of(options: argparse.Namespace, is_to_run: bool) -> list:
    """Return the requested sections: one for an experiment, one or more for a study.

    is_to_run: a study then needs its data and model.

    Raises:
        InputError: unknown names, paths that do not exist, or flags that do not go together.
    """
    from hype.reproduction import sections as asked
    from hype.reproduction.status import PUBLISHED, read_published

    study = options.study
    folder = options.results_dir or Path("outputs")
    for place in (folder, folder / "runs"):
        try:
            next(place.iterdir(), None)
        except FileNotFoundError:
            pass  # created by the first run
        except OSError as error:
            raise InputError(f"--results_dir {place}: {error.strerror}; name a folder that you can read") from None
    published = read_published(_results_dir(options) / PUBLISHED)
    if study is None:
        if options.sections:
            raise InputError("--sections: only a study has sections")
        experiment, overrides = load(options.experiment), overrides_of(options)
        return [asked.section_of(experiment, overrides, folder, published)]
    given = [name for name in SETTINGS[1:] if getattr(options, name) is not None]
    if given:
        raise InputError(f"--{given[0]}: {study.name} sets its own; run an experiment to change it")
    models = dict(options.models or ())
    unknown = [name for name, path in models.items() if name not in study.models or not os.path.isdir(path or "")]
    if unknown:
        raise InputError(f"--models {unknown[0]}: {study.name} takes {', '.join(f'{m}=FOLDER' for m in study.models)}")
    places = {name: getattr(options, name) for name in PLACES} if is_to_run else None
    return asked.study_sections(study, folder, published, options.sections, places, models, options.flags)


def overrides_of(options: argparse.Namespace):
    """Collect the settings that replace the experiment's."""
    from hype.reproduction.overrides import Overrides

    given = {name: getattr(options, name) for name in (*SETTINGS, *PLACES, "flags")}
    given = {name: [*dict.fromkeys(value)] if isinstance(value, list) else value for name, value in given.items()}
    return Overrides(**given | {"models": options.models and dict(options.models)})


def _run_flags(argv: list[str]) -> dict[str, str]:
    """Parse the flags of main.py after --; a flag without a value is set to true.

    Raises:
        InputError: a value without a flag, or a flag that differs from run to run.
    """
    flags: dict[str, str] = {}
    name = None
    for text in argv:
        if text.startswith("--") and len(text) > 2:
            name, is_set, value = text[2:].partition("=")
            name = name.replace("-", "_")  # main.py takes both spellings
            flags[name] = value if is_set else "true"
            name = None if is_set else name
        elif name is None:
            raise InputError(f"{text}: a value without a flag before it")
        else:
            flags[name], name = text.lower() if text.lower() in ("true", "false") else text, None
    own = OF_EACH_RUN & set(flags)
    if own:
        raise InputError(f"-- --{min(own)}: set separately for each run; see --help for how to change it")
    return flags


def print_commands(sections: list) -> None:
    """Print a command for each run without a score and, on stderr, what the commands leave to --run."""
    from hype.reproduction.sections import runs_of
    from hype.reproduction.status import FINISHED

    runs = runs_of(sections)
    analyses = dict.fromkeys(spec.analysis.name for spec, state in runs if spec.analysis and state.status != FINISHED)
    if analyses:
        names = ", ".join(analyses)
        print(f"note: these commands do the runs, not their analyses ({names}); use --run afterwards", file=sys.stderr)
    for section in sections:
        if section.waits_for:
            print(f"note: {section.name} waits for {section.waits_for}", file=sys.stderr)
    # A run is listed once for each of its analyses.
    commands = dict.fromkeys(spec.absolute_command for spec, state in runs if state.record is None)
    if not commands and not any(section.waits_for for section in sections):
        print("note: nothing to print, every run has a score", file=sys.stderr)
    for command in commands:
        print(command)


def plan_text(section, retry: bool) -> str:
    """Describe the runs: how many, their status, and how long the open ones will take sequentially."""
    from hype.reproduction import cost
    from hype.reproduction.status import counts_text, estimated_seconds

    lines = [f"{section.name}: {section.title} ({section.experiment.paper})", section.text]
    if section.waits_for:
        hours = cost.hours_text(section.planned)
        lines.append(f"{counted(len(section.planned), 'run')}{hours and f', {hours}'}; waits for {section.waits_for}")
        return "\n".join(filter(None, lines))
    lines.append(f"changed from the paper: {section.differences}" if section.differences else "")
    seconds = estimated_seconds(section.states, retry)
    known = [value for value in seconds.values() if value is not None]
    estimate = f"{timedelta(seconds=round(sum(known)))} sequentially, estimated from similar runs" if known else ""
    unknown = [spec for spec, value in seconds.items() if value is None]
    if unknown:
        hours = cost.hours_text(unknown)
        others = f"{counted(len(unknown), 'other')} without a similar record" if known else "no record yet"
        estimate = "; ".join(filter(None, [estimate, f"{others}; {hours}" if hours else others]))
    to_do = f"to do: {counted(len(seconds), 'run')}"
    lines += [counts_text(section.states.values()), f"{to_do}, {estimate}" if seconds else to_do]
    if any(spec.flags["save_model"] == "true" for spec in section.states):
        lines.append(f"the model of each run is saved: {len(section.states)} times the size of its weights")
    return "\n".join(line for line in [*lines, *section.notes] if line)


def _run(options: argparse.Namespace, sections: list) -> int:
    """Do the open runs, then those that waited for their learning rates; return 1 if any is unfinished."""
    exit_code, done = 0, set()
    while ready := [section for section in sections if not section.waits_for and section.name not in done]:
        for section in ready if done else ():
            print(f"{section.name}: {section.differences}", file=sys.stderr)
        exit_code = max(exit_code, _run_once(options, ready))
        done |= {section.name for section in ready}
        sections = sections_of(options, True)
    for section in sections:
        if section.waits_for:
            print(f"{section.name}: waits for {section.waits_for}", file=sys.stderr)
            exit_code = 1
    return exit_code


def _run_once(options: argparse.Namespace, sections: list) -> int:
    from hype.reproduction.executors import drive, line_of, on_ray, sequential
    from hype.reproduction.sections import runs_of
    from hype.reproduction.status import FINISHED, PUBLISHED, counts_text, read_published, state_of

    runs, published = runs_of(sections), read_published(_results_dir(options) / PUBLISHED)
    wanted = [(spec, state) for spec, state in runs if state.is_to_do(options.retry_failed)]
    # Interrupted runs first, to free their checkpoints; then seed by seed, so that finished runs can be paired early.
    wanted.sort(key=lambda pair: (pair[1].status != "interrupted", pair[0].seed))
    specs = [spec for spec, _ in wanted]

    bar = tqdm(total=len(specs), desc=options.experiment, unit="run", file=sys.stderr)
    if options.executor == "ray":
        outcomes = on_ray(specs, options.retry_failed, options.cpus_per_run, options.gpus_per_run)
    else:
        outcomes = sequential(specs, options.retry_failed, bar)
    ended = drive(outcomes, bar)
    states = {spec: state_of(spec, published) for spec, _ in runs}
    for spec, state in states.items():  # earlier failures that were not retried
        if state.status != FINISHED and spec not in ended:
            print(line_of(spec, state), file=sys.stderr)
    statuses = {state.status for state in states.values()}
    advice = "; --retry_failed tries again" if {"failed", "diverged", "damaged"} & statuses else ""
    print(f"{options.experiment}: {counts_text(states.values())}{advice}", file=sys.stderr)
    return 0 if statuses <= {FINISHED} else 1


def _publish(options: argparse.Namespace, sections: list) -> None:
    from hype.reproduction.status import PUBLISHED, publish

    path = _results_dir(options) / PUBLISHED
    count, left_out = publish([spec for section in sections for spec in section.states], path)
    for line in left_out:
        print(f"not published: {line}", file=sys.stderr)
    print(f"{path}: {counted(count, 'run')}")


def _model(text: str) -> tuple[str, str | None]:
    """Split NAME[=PATH_OR_HUB_NAME]; anything that looks like a path must exist, as for main.py."""
    name, _, path = text.partition("=")
    folder = os.path.expanduser(path)
    if os.path.isdir(folder):
        return name, folder
    if os.path.isfile(folder) or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise argparse.ArgumentTypeError(f"{text}: no such folder; give the folder of a model, or a hub name")
    return name, path or None


def _existing(is_there: Callable[[str], bool], kind: str):
    """Return an argparse type for existing paths of a kind, folder or file."""

    def read(text: str) -> str:
        if not is_there(text):
            raise argparse.ArgumentTypeError(f"{text}: no such {kind}; give one that exists, or leave it out")
        return text

    return read


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
