"""The API reference: which modules and constants it shows; Sphinx's autodoc writes the rest from the docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MODULES = (
    # the public API, in the order of the page
    "meddef.models",
    "meddef.attacks",
    "meddef.defenses",
    "meddef.evaluation",
    "meddef.training",
    "meddef.pruning",
    "meddef.sparse",
    "meddef.saliency",
    "meddef.robustness",
    "meddef.audit",
    "meddef.data",
    "meddef.settings",
    "meddef.records",
    "meddef.statistics",
    "meddef.paper",
    "meddef.errors",
)


def api_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: one heading per module, below it its functions and classes."""
    here = root if (root / "meddef").is_dir() else Path(__file__).parents[2]
    return {"api.md": "\n".join(_module(name, here) for name in MODULES)}


def _module(name: str, root: Path) -> str:
    lines = [f".. automodule:: {name}", "   :members:", ""]
    for place in exported_constants(name, root):
        lines += [f".. autodata:: {place}", "   :no-value:", ""]
    return f"## {name}\n\n```{{eval-rst}}\n" + "\n".join(lines) + "```\n"


def exported_constants(package: str, root: Path) -> Iterator[str]:
    """The constants in a package's ``__all__``, each with the module that defines and documents it."""
    tree = _tree(package, root)
    exported = {
        text.value for text in ast.walk(tree) if isinstance(text, ast.Constant)
    }  # ``__all__`` among them
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            constants = exported & set(_assigned(_tree(node.module, root)))
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in constants)


def _tree(module: str, root: Path) -> ast.Module:
    place = root.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8") if file.is_file() else "")


def _assigned(tree: ast.Module) -> Iterator[str]:
    """The constants that a module assigns."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper())
