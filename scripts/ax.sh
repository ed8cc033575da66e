#!/usr/bin/env bash
# AX, GLUE's diagnostic set: it has no training data and no labels. Predict it with a model that was fine-tuned on MNLI;
# the run writes AX.tsv for the GLUE server.
#   MODEL=outputs/my-mnli-run scripts/ax.sh
exec "$(dirname -- "$0")/../run_glue.sh" ax --do_train false --do_eval false --do_predict "$@"
