"""Analyses of finished runs: `python -m hype.analysis probing|similarity|transfer|adversarial RUN_DIR...`."""

import argparse
import contextlib
import importlib
import math
import sys
from pathlib import Path

from hype.errors import EnvironmentFault, run_command
from hype.flags import LineParser, positive

HELP = {
    "probing": "score of a linear head on the special token in each layer of the frozen model (figure 3)",
    "similarity": "mean cosine similarity of token pairs in each layer (figure 4)",
    "transfer": "accuracy on other data sets after fine-tuning on MNLI or SNLI (table 7)",
    "adversarial": "accuracy on AdvGLUE's dev sets (table 6)",
}


def parser() -> argparse.ArgumentParser:
    """Build the parser; flags cannot be abbreviated."""
    top = LineParser(prog="python -m hype.analysis", description=__doc__)
    commands = top.add_subparsers(dest="analysis", required=True, metavar="ANALYSIS")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a finished run")
        command.add_argument(
            "--tasks", nargs="+", metavar="SET", help="data sets to analyse (default: the paper's for this task)"
        )
        command.add_argument("--batch_size", type=positive, default=32, help="examples per forward pass (default: 32)")
        command.add_argument("--max_eval_samples", type=positive, help="use the first n examples of each dev set")
        command.add_argument("--cache_dir", help="where data from the hub and tokenized data are cached")
        if name == "adversarial":
            command.add_argument("--adv_file", help="AdvGLUE's dev.json (default: AI-Secure/adv_glue from the hub)")
        else:
            command.add_argument("--data_dir", help="GLUE folder (default: the variable GLUE_DIR, else the hub)")
        if name == "probing":
            command.add_argument("--max_train_samples", type=positive, help="train heads on the first n examples")
        if name == "transfer":
            text = "folder with SNLI/, SICK/, SciTail/ (default: --data_dir if it contains SNLI/, else the hub)"
            command.add_argument("--nli_dir", help=text)
    return top


def analyse(arguments: argparse.Namespace) -> list[dict]:
    """Return the records of the requested analyses, run by run; everything is checked before any computation."""
    from hype.analysis.finished import FinishedRun
    from hype.analysis.record import Options
    from hype.training.faults import is_out_of_memory

    module = importlib.import_module(f"hype.analysis.{arguments.analysis}")
    options = Options(**{name: value for name, value in vars(arguments).items() if hasattr(Options, name)})
    runs = [FinishedRun(folder) for folder in arguments.folders]
    targets = [module.targets(run, arguments.tasks) for run in runs]
    records = []
    for run, of_run in zip(runs, targets, strict=True):
        try:
            records += [module.analyse(run, target, options) for target in of_run]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise EnvironmentFault(f"{run.folder}: out of memory: lower --batch_size {options.batch_size}") from error
        vars(run).pop("model", None)  # keep only one model in memory
    return records


def result_table(records: list[dict]) -> str:
    """Return a text table with a row for each record: its accuracy x 100, or its value per layer (probing: x 100).

    Remarks on sample data follow the table.
    """
    import pandas as pd

    rows = []
    for record in records:
        row = {"method": record["label"], "seed": record["seed"], "trained on": record["task"], "set": record["target"]}
        row["rows"] = list(record["data"]["rows"].values())[-1]
        if "layers" in record["results"]:
            factor = 100 if record["analysis"] == "probing" else 1
            layers = enumerate(record["results"]["layers"])
            row |= {f"layer {i}": math.nan if value is None else factor * value for i, value in layers}
        else:
            row["accuracy x 100"] = 100 * record["results"]["accuracy"]
        rows.append(row)
    table = pd.DataFrame(rows).to_string(index=False, na_rep="-", float_format="{:.2f}".format)
    return "\n".join([table, *sorted({record["sample"] for record in records if record["sample"]})])


def main(argv: list[str]) -> int:
    """Analyse, print the table of results, and return the exit code (see `run_command`)."""
    return run_command(_analyse, argv)


def _analyse(argv):
    arguments = parser().parse_args(argv)
    with contextlib.redirect_stdout(sys.stderr):  # libraries print to stdout, which is reserved for the result
        records = analyse(arguments)
    print(result_table(records))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
