#!/usr/bin/env bash
# Fine-tune on one GLUE task with the released README's settings; every further flag goes to main.py (see --help).
#   ./run_glue.sh                                                  the quick start: sample data, the packaged model
#   GLUE_DIR=glue ./run_glue.sh rte --hype_type uniform --hype_eps 1e-5 --dropout_rate 0.0
# Variables: MODEL TASK BATCHSIZE EPOCH LR SEED GPU OUTPUT_DIR, and GLUE_DIR (unset: GLUE comes from the hub).
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
[ -n "$*${TASK:-}" ] || exec "$root/scripts/quick_start.sh"
if [ -n "${1:-}" ] && [ "${1#-}" = "$1" ]; then TASK=$1 && shift; fi
python=$("$root/scripts/setup.sh")
NAME=${MODEL:-minilm} && NAME=${NAME%/}
MODEL=${MODEL:-$("$python" "$root/scripts/packaged_model.py")}
TASK=${TASK:-rte} BATCHSIZE=${BATCHSIZE:-16} EPOCH=${EPOCH:-3.0} LR=${LR:-2e-5} SEED=${SEED:-42}
FLAGS=$(printf '%s' "$*" | sed 's/--//g' | tr -cs 'A-Za-z0-9._-' '_')
# A file name holds 255 bytes.
if [ ${#FLAGS} -gt 120 ]; then FLAGS=${FLAGS:0:100}-$(printf '%s' "$*" | cksum | cut -d ' ' -f 1); fi
OUTPUT_DIR=${OUTPUT_DIR:-outputs/${NAME##*/}-$TASK-batch$BATCHSIZE-epoch$EPOCH-lr$LR-seed$SEED${FLAGS:+-$FLAGS}}
if [ -n "${GPU:-}" ]; then export CUDA_VISIBLE_DEVICES=$GPU; fi

exec "$python" "$root/main.py" --adam_epsilon 1e-6 --max_seq_length 128 --eval_accumulation_steps 20 \
    --do_eval --do_train --warmup_ratio 0.1 --weight_decay 0.01 --save_total_limit 1 --save_steps 30000 \
    --model_name_or_path "$MODEL" --task_name "$TASK" --per_device_train_batch_size "$BATCHSIZE" \
    --learning_rate "$LR" --num_train_epochs "$EPOCH" --seed "$SEED" --output_dir "$OUTPUT_DIR" "$@"
