#!/usr/bin/env bash
# Three paired runs on the sample data, with the packaged model: HyPe, vanilla with dropout, vanilla without.
# The variables of run_glue.sh work here too, except TASK and GLUE_DIR; OUTPUT_DIR is the parent folder of the runs.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
HYPE_PYTHON=${HYPE_PYTHON:-$("$root/scripts/setup.sh")}
MODEL=${MODEL:-$("$HYPE_PYTHON" "$root/scripts/packaged_model.py")}
export HYPE_PYTHON MODEL TASK=sst2 LR=${LR:-1e-4} SEED=${SEED:-42} GLUE_DIR=$root/examples/sample_glue
# One thread: the same results on any number of cores, and fast enough for models this small.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
folder=${OUTPUT_DIR:-outputs/quick_start-seed$SEED}

OUTPUT_DIR=$folder/hype "$root/run_glue.sh" --hype_type normal --hype_eps 1e-5 --dropout_rate 0.0 >&2
OUTPUT_DIR=$folder/vanilla "$root/run_glue.sh" --hype_type none >&2
OUTPUT_DIR=$folder/vanilla_no_dropout "$root/run_glue.sh" --hype_type none --dropout_rate 0.0 >&2
PYTHONPATH=$root exec "$HYPE_PYTHON" -m hype.compare "$folder"/{hype,vanilla,vanilla_no_dropout}
