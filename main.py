"""Fine-tune one model on one task, with HyPe or without: `python main.py --help`."""

import sys

from hype.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
