#!/usr/bin/env bash
exec "$(dirname -- "${BASH_SOURCE[0]}")/../run_glue.sh" ax --do_train false --do_eval false --do_predict "$@"
