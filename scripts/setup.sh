#!/usr/bin/env bash
# Print the Python that runs this project: the active one (`python`) where it satisfies the requirements as it is, else
# that of .venv, made and filled on first use. Progress goes to stderr; exit 4: the environment lacks something.
# Usage: python=$(scripts/setup.sh [REQUIREMENTS])   REQUIREMENTS: requirements.txt (default) or a sibling of it
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
requirements=$root/${1:-requirements.txt}
venv=$root/.venv

satisfies() { "$1" "$root/scripts/satisfies.py" "$requirements" 2>/dev/null; }

fail() {
    echo "error: $1" >&2
    exit 4
}

satisfies python && exit
satisfies "$venv/bin/python" && exit

# One set-up at a time: the others wait, then find it done. Opened to append, the file stays as it is. macOS has no flock.
exec 9>>"$root/requirements.txt"
if command -v flock >/dev/null && ! flock --nonblock 9; then
    echo "setup: waiting for another set-up of $venv" >&2
    flock 9
    satisfies "$venv/bin/python" && exit
fi

base=
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    # torch 2.13 has builds for 3.10 to 3.14. Debian packs ensurepip apart, in python3-venv.
    if "$name" -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
        base=$name
        break
    fi
done
[ -n "$base" ] || fail "no Python 3.10 to 3.14 with venv is on PATH; install one (Debian: python3 and python3-venv)"

echo "setup: the active Python does not satisfy ${requirements##*/}; installing into $venv (minutes, once)" >&2
# Killed in between, a package may have its metadata without its files: then all is made anew.
if [ -e "$venv/.incomplete" ]; then rm -rf "$venv"; fi
{ mkdir -p "$venv" && touch "$venv/.incomplete" && "$base" -m venv "$venv"; } >&2 || fail "$base cannot make $venv"
quiet=--quiet
if [ -t 2 ]; then quiet=; fi
"$venv/bin/python" -m pip install $quiet --disable-pip-version-check -r "$requirements" >&2 ||
    fail "pip could not install ${requirements##*/} (see above); the same command tries again"
rm "$venv/.incomplete"
satisfies "$venv/bin/python" || fail "$venv does not satisfy ${requirements##*/}; remove it and try again"
