#!/usr/bin/env bash
# WNLI with HyPe-N. The paper omits this task; the settings are those of its other small tasks (see scripts/rte.sh).
# Metric: accuracy. Expect no more than the majority class, 56.34 on the dev set: in the dev set, the sentences of
# the training data have other labels.
export BATCHSIZE="${BATCHSIZE:-16}" EPOCH="${EPOCH:-3}" LR="${LR:-2e-5}"
exec "$(dirname -- "$0")/../run_glue.sh" wnli --hype_type normal --hype_eps 1e-5 --dropout_rate 0.0 \
    --adam_beta2 0.99 --adam_epsilon 1e-5 --weight_decay 0.1 "$@"
