"""`python -m hype` is `python main.py`."""

import sys

from hype.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
