#!/usr/bin/env bash
# QNLI with HyPe-N and the settings of the paper (appendix A and B): batch 16, 3 epochs, AdamW with betas 0.9 and 0.99,
# epsilon 1e-5 and weight decay 0.1, 10 % warm-up, no hidden dropout; the paper chose the learning rate (1e-5 to
# 4e-5) and eps (1e-5 or 1e-4) on the dev set. Metric: accuracy.
# Expected scores (table 2), mean ± standard deviation over three seeds:
#   roberta-large     vanilla 93.43 ± 0.77   HyPe-N 93.98 ± 0.27   HyPe-U 94.19 ± 0.24
#
#   MODEL=roberta-large LR=1e-5 SEED=43 scripts/qnli.sh                      HyPe-N; for HyPe-U: --hype_type uniform
#   MODEL=roberta-large scripts/qnli.sh --hype_type none --dropout_rate 0.1  vanilla
export BATCHSIZE="${BATCHSIZE:-16}" EPOCH="${EPOCH:-3}" LR="${LR:-2e-5}"
exec "$(dirname -- "$0")/../run_glue.sh" qnli --hype_type normal --hype_eps 1e-5 --dropout_rate 0.0 \
    --adam_beta2 0.99 --adam_epsilon 1e-5 --weight_decay 0.1 "$@"
