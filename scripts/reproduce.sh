#!/usr/bin/env bash
# Reproduce a table or figure of the paper: its runs, its numbers beside the printed ones (python -m hype.reproduction).
#   scripts/reproduce.sh table_1 --dry_run        what is left to do; --run, --show, --commands, --report
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
requirements=requirements.txt
# Ray is only installed on request.
if [[ " $* " == *" --executor ray "* || " $* " == *" --executor=ray "* ]]; then requirements=requirements-ray.txt; fi
PYTHONPATH=$root exec "$("$root/scripts/setup.sh" "$requirements")" -m hype.reproduction "$@"
