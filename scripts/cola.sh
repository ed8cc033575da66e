#!/usr/bin/env bash
# CoLA with HyPe-N and the settings of the paper (appendix A and B): batch 16, 3 epochs, AdamW with betas 0.9 and 0.99,
# epsilon 1e-5 and weight decay 0.1, 10 % warm-up, no hidden dropout; the paper chose the learning rate (1e-5 to
# 4e-5) and eps (1e-5 or 1e-4) on the dev set. Metric: Matthews correlation.
# Expected scores (table 1), mean ± standard deviation over three seeds:
#   roberta-large     vanilla 65.55 ± 0.36   HyPe-N 66.04 ± 1.83   HyPe-U 65.77 ± 1.22
#   bert-large-cased  vanilla 63.63 ± 1.82   HyPe-N 66.26 ± 1.90   HyPe-U 65.48 ± 0.45
#
#   MODEL=roberta-large LR=1e-5 SEED=43 scripts/cola.sh                      HyPe-N; for HyPe-U: --hype_type uniform
#   MODEL=roberta-large scripts/cola.sh --hype_type none --dropout_rate 0.1  vanilla
export BATCHSIZE="${BATCHSIZE:-16}" EPOCH="${EPOCH:-3}" LR="${LR:-2e-5}"
exec "$(dirname -- "$0")/../run_glue.sh" cola --hype_type normal --hype_eps 1e-5 --dropout_rate 0.0 \
    --adam_beta2 0.99 --adam_epsilon 1e-5 --weight_decay 0.1 "$@"
