#!/usr/bin/env bash
# Check style, then run all tests; arguments go to pytest (./run_tests.sh -m "not slow").
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
python=$(scripts/setup.sh requirements-dev.txt)
# Models this small are slower on more threads.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TOKENIZERS_PARALLELISM=false
"$python" scripts/packaged_model.py >/dev/null
"$python" -m ruff check .
"$python" -m ruff format --check .
exec "$python" -m pytest "$@"
