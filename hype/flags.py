"""What argparse does not know of flags, for all command lines of the project. Nothing heavy is imported here."""

import re

# For a parser's `_negative_number_matcher`: argparse itself takes -1e-5 for a flag.
NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
