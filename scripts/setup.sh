#!/usr/bin/env bash
# Print the Python that runs this project: the active one (`python`) if it satisfies the requirements as it is, else
# that of .venv, which is created on first use. Progress goes to stderr; exit code 4: the environment lacks something.
# Usage: python=$(scripts/setup.sh [REQUIREMENTS])   REQUIREMENTS: requirements.txt (default) or a file that includes it
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
requirements=${1:-requirements.txt}
venv=$root/.venv

satisfies() { "$1" "$root/scripts/satisfies.py" "$root/$requirements" 2>/dev/null; }

fail() {
    echo "error: $1" >&2
    exit 4
}

install() {
    "$venv/bin/python" -m pip install $quiet --disable-pip-version-check -r "$root/$1" >&2 ||
        fail "pip could not install $1 (see above); run the same command again (remove $venv to start over)"
}

satisfies python && exit
satisfies "$venv/bin/python" && exit

# One set-up at a time: the others wait, then find it finished. Opening the file to append leaves it unchanged. macOS
# has no flock.
exec 9>>"$root/requirements.txt"
if command -v flock >/dev/null && ! flock --nonblock 9; then
    echo "setup: waiting for another set-up of $venv" >&2
    flock 9
    satisfies "$venv/bin/python" && exit
fi

quiet=--quiet
if [ -t 2 ]; then quiet=; fi
if [ -e "$venv/.incomplete" ] || [ ! -e "$venv/bin/python" ]; then
    base=
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        # torch 2.13 has builds for 3.10 to 3.14. Debian ships ensurepip separately, in python3-venv.
        if "$name" -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
            base=$name
            break
        fi
    done
    [ -n "$base" ] || fail "no Python 3.10 to 3.14 with venv is on PATH; install one (Debian: python3 and python3-venv)"
    echo "setup: creating $venv, once: 2 GB (6 GB with PyPI's CUDA build of PyTorch for Linux) and a few minutes" >&2
    # A set-up that was killed may have left a package's metadata without its files.
    if [ -e "$venv/.incomplete" ]; then rm -rf "$venv"; fi
    { mkdir -p "$venv" && touch "$venv/.incomplete" && "$base" -m venv "$venv"; } >&2 || fail "$base cannot make $venv"
    install requirements.txt
    rm "$venv/.incomplete"
fi
# From here on the environment works: if anything below fails, it can still be used with requirements.txt alone.
if ! satisfies "$venv/bin/python"; then
    echo "setup: installing $requirements into $venv" >&2
    install "$requirements"
    satisfies "$venv/bin/python" || fail "$venv does not satisfy $requirements; remove it and try again"
fi
