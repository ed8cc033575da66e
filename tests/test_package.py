"""What `import hype` exports, and what it does not import."""

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import hype

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import hype; hype.__version__", {"torch", "transformers", "numpy"}),
        ("import hype.perturbation", {"transformers", "datasets", "sklearn", "scipy", "pandas"}),
    ],
)
def test_only_what_is_used_is_imported(statement, absent):
    code = f"import sys; {statement}; print(*({absent!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_imports_go_one_way():
    """Between the folders of hype/ and the modules beside them, imports inside functions included."""
    graph: dict[str, set[str]] = {}
    for path in (ROOT / "hype").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        room = path.relative_to(ROOT / "hype").parts[0].removesuffix(".py")
        used = set(re.findall(r"^\s*(?:from|import) hype\.(\w+)", text, re.MULTILINE))
        used.update(
            *(re.findall(r"\w+", names) for names in re.findall(r"^\s*from hype import (.+)", text, re.MULTILINE))
        )
        graph.setdefault(room, set()).update(used - {room})
    assert {"data", "techniques"} <= graph["training"]
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_noise_without_transformers():
    """A plain PyTorch model needs no other package."""
    code = """
import sys
sys.modules["transformers"] = None
import torch
from hype import HyPe
model = torch.nn.Sequential()
model.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
model.forward = lambda x: model.layers[0](x)
with HyPe(model.train(), hype_layers_path="layers", hype_eps=0.5):
    print(not torch.equal(model(torch.ones(1, 2)), model(torch.ones(1, 2))))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_every_public_name_is_there():
    assert all(hasattr(hype, name) for name in hype.__all__)
    with pytest.raises(AttributeError, match="Hype"):
        _ = hype.Hype


def test_every_pinned_requirement_is_in_the_range_of_the_package_or_an_extra():
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = project["dependencies"], *project["optional-dependencies"].values()
    declared = [Requirement(line) for lines in lists for line in lines]
    ranges = {requirement.name: requirement.specifier for requirement in declared}
    lines = [line for path in ROOT.glob("requirements*.txt") for line in path.read_text().splitlines()]
    pins = [Requirement(line.partition("#")[0]) for line in lines if re.match(r"\w", line)]
    assert len(pins) > 20
    for pin in pins:
        (version,) = (specifier.version for specifier in pin.specifier)
        assert version in ranges[pin.name], pin
