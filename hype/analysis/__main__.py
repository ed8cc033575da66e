"""Analyses of finished runs: `python -m hype.analysis probing|similarity|transfer|adversarial RUN_DIR...`."""

import argparse
import contextlib
import sys
from pathlib import Path

from hype.errors import EnvironmentFault, InputError, run_command
from hype.files import write_text
from hype.flags import LineParser, positive

HELP = {
    "probing": "a linear head per layer on the special token of the frozen model (figure 3)",
    "similarity": "mean cosine of token pairs per layer (figure 4)",
    "transfer": "accuracy of a run on MNLI or SNLI on other sets (table 7)",
    "adversarial": "accuracy on AdvGLUE's dev sets (table 6)",
}
BY_LAYER = ("probing", "similarity")


def parser() -> argparse.ArgumentParser:
    """Build the parser; flags cannot be abbreviated."""
    top = LineParser(prog="python -m hype.analysis", description=__doc__)
    commands = top.add_subparsers(dest="analysis", required=True, metavar="ANALYSIS")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a finished run")
        command.add_argument("--tasks", nargs="+", metavar="SET", help="sets to analyse on; unset: the paper's")
        command.add_argument("--output", type=Path, metavar="FILE", help="record, instead of RUN_DIR/analysis/...json")
        command.add_argument("--batch_size", type=positive, default=32, help="examples per forward (default: 32)")
        command.add_argument("--max_eval_samples", type=positive, help="use the first n examples of each dev set")
        command.add_argument("--cache_dir", help="where data of the hub and tokenized data are cached")
        if name == "adversarial":
            command.add_argument("--adv_file", help="AdvGLUE's dev.json; unset: AI-Secure/adv_glue from the hub")
        else:
            command.add_argument("--data_dir", help="GLUE folder; unset: variable GLUE_DIR, else the hub")
        if name == "probing":
            command.add_argument("--max_train_samples", type=positive, help="train heads on the first n examples")
        if name == "transfer":
            text = "folder with SNLI/, SICK/, SciTail/; unset: that of --data_dir if it holds SNLI/, else the hub"
            command.add_argument("--nli_dir", help=text)
        if name in BY_LAYER:
            command.add_argument("--figure_dir", type=Path, help="also draw each set's values by layer, as SVG")
    return top


def analyse(arguments: argparse.Namespace) -> list[dict]:
    """Do what the command line asks for and return the records, run by run; all is checked before all is computed."""
    import torch

    from hype.analysis import adversarial, probing, similarity, transfer
    from hype.analysis.finished import FinishedRun
    from hype.analysis.record import Options

    modules = {"probing": probing, "similarity": similarity, "transfer": transfer, "adversarial": adversarial}
    module = modules[arguments.analysis]
    given = vars(arguments)
    options = Options(**{name: given[name] for name in Options.__dataclass_fields__ if name in given})
    runs = map(FinishedRun, arguments.folders)
    jobs = [(run, target) for run in runs for target in module.targets(run, arguments.tasks)]
    if options.output and len(jobs) > 1:
        raise InputError(
            f"--output {options.output}: {len(jobs)} records and one file; give one run and one of --tasks"
        )
    records = []
    jobs.reverse()
    while jobs:  # popped, so that no model outlives its last job
        run, target = jobs.pop()
        try:
            records.append(module.analyse(run, target, options))
        except torch.OutOfMemoryError as error:
            raise EnvironmentFault(f"{run.folder}: out of memory: lower --batch_size {options.batch_size}") from error
    return records


def draw(records: list[dict], folder: Path) -> None:
    """Write <analysis>-<set>.svg for every set of the records."""
    from hype.analysis.layer_plot import LAYER_LABELS, layer_plot
    from hype.analysis.layers import layer_table

    for target in dict.fromkeys(record["target"] for record in records):
        chosen = [record for record in records if record["target"] == target]
        analysis = chosen[0]["analysis"]
        data = layer_table(chosen)
        data["score"] *= 100
        name = f"{analysis}-{target}"
        # Of whatever runs these are: not the paper's figure.
        notes = {f"{record['task']}: {record['model']['name']}" for record in chosen}
        notes |= {record["sample"] for record in chosen if record["sample"]}
        figure = layer_plot(data, name, f"{analysis} on {target}", LAYER_LABELS[analysis], "; ".join(sorted(notes)))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / f"{name}.svg", figure.standalone)
        except OSError as error:
            raise EnvironmentFault(f"--figure_dir {folder}: {error.strerror}; choose a folder you can write") from error


def main(argv: list[str]) -> int:
    """Analyse, print the table of results, and return the exit code (see `run_command`)."""
    return run_command(_analyse, argv)


def _analyse(argv):
    arguments = parser().parse_args(argv)
    # Libraries print to stdout, which is for the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        records = analyse(arguments)
        if getattr(arguments, "figure_dir", None):
            draw(records, arguments.figure_dir)
    from hype.analysis.layers import result_table

    print(result_table(records))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
