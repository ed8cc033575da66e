"""Private names of torch, transformers and accelerate: few, each with a reason, and still existing."""

import ast
import importlib
import pkgutil
from pathlib import Path
from types import FunctionType

import torch
import torch._inductor.config
import transformers
from torch import nn

import hype

PACKAGES = ("torch", "transformers", "accelerate")
ROOT = Path(hype.__file__).parent

# Name -> why it is needed, and whether the installed version has it.
ALLOWED = {
    "_C": (
        "torch has no public way to tell whether a forward is the re-run of a checkpoint in a backward pass",
        lambda: hasattr(torch, "_C"),
    ),
    "_current_graph_task_id": ("see _C", lambda: hasattr(torch._C, "_current_graph_task_id")),
    "_inductor": (
        "inductor replaces dropout's random numbers by its own, which differ between runs with and without noise",
        lambda: isinstance(torch._inductor.config.fallback_random, bool),
    ),
    "_is_replica": (
        "DataParallel has no public mark on the copies that its threads run",
        lambda: nn.Linear(1, 1)._replicate_for_data_parallel()._is_replica,
    ),
    "_orig_mod": (
        "the model under torch.compile, whose wrapper has no public name for it",
        lambda: hasattr(torch.compile(nn.Linear(1, 1), backend="eager"), "_orig_mod"),
    ),
    "_save_checkpoint": (
        "Trainer removes old checkpoints inside of it, before anybody can know that the new one is whole",
        lambda: hasattr(transformers.Trainer, "_save_checkpoint"),
    ),
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_of_ours(tree: ast.AST) -> set[str]:
    """Collect the names that a module itself defines or assigns."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return found


def foreign_names(source: str) -> set[str]:
    """Collect the private names that a module uses or imports but does not define itself."""
    tree, found = ast.parse(source), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.update([*(node.module or "").split("."), *(alias.name for alias in node.names)])
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr"):
            found.add(str(getattr(node.args[1], "value", "")))
    return {name for name in found if is_private(name)} - names_of_ours(tree)


def is_foreign(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in PACKAGES


def overridden_names() -> set[str]:
    """Collect the private methods of the packages' classes that the project's classes override."""
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(hype.__path__, "hype.")]
    kinds = {k for m in modules for k in vars(m).values() if isinstance(k, type) and k.__module__.startswith("hype")}
    return {
        name
        for kind in kinds
        for base in filter(is_foreign, kind.__mro__)
        for name, value in vars(kind).items()
        if is_private(name) and isinstance(value, FunctionType) and name in vars(base)
    }


def test_private_names_are_those_of_the_list():
    used = {name for path in ROOT.rglob("*.py") for name in foreign_names(path.read_text(encoding="utf-8"))}
    assert used | overridden_names() == ALLOWED.keys()


def test_the_installed_versions_still_have_them():
    assert [name for name, (_, is_there) in ALLOWED.items() if not is_there()] == []


def test_the_scan_finds_what_it_is_for():
    source = """
from torch._dynamo import config
class Own:
    def _mine(self): return self._mine, self._tr_loss, getattr(self, "_hidden")
    def __init__(self): self._kept = torch._C
"""
    assert foreign_names(source) == {"_dynamo", "_tr_loss", "_hidden", "_C"}
