"""Write docs/options.md from the help texts of the flags."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hype.text_tables import markdown_table  # noqa: E402
from hype.training.arguments import described_flags  # noqa: E402


def options_page() -> str:
    """Return docs/options.md: the flags of --help as tables."""
    groups = described_flags()
    groups.pop(list(groups)[-1])
    parts = [
        "# Options of main.py",
        "Every flag of transformers' `TrainingArguments` works as well; the few that are refused say why. Flags of the "
        "transformers of the paper's time (`--evaluation_strategy`, `--no_cuda` ...) are taken as their successors, "
        "with a warning. Made by `python scripts/options.py` from the help texts.",
    ]
    for title, flags in groups.items():
        rows = [[f"`--{name}`", default and f"`{default}`", text] for name, default, text in flags]
        parts += [f"**{title}**", markdown_table(["flag", "default", ""], rows)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "options.md").write_text(options_page(), encoding="utf-8")
