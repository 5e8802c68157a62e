"""Fingerprint of the source code behind a result: what changed is computed again, and nothing else."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

WITHOUT_EFFECT = {  # they store, show or validate; they cannot change a number
    "meddef.atomic",
    "meddef.errors",
    "meddef.progress",
    "meddef.records",
    "meddef.settings",  # the settings themselves are part of the key, defaults included
}


def source_fingerprint(*modules: str) -> str:
    """Hash of the named meddef modules and of every meddef module they import, wherever in the file they do.

    Comments, layout and docstrings do not count: the syntax trees are compared.
    """
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen and module not in WITHOUT_EFFECT:
            seen.add(module)
            queue.extend(_parse(module)[1])
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(f"{module}\0{_parse(module)[0]}\0".encode())
    return digest.hexdigest()[:16]


@cache
def _parse(module: str) -> tuple[str, frozenset[str]]:
    """Hash of the module's code and the meddef modules it imports."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"module '{module}' has no source file to fingerprint")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("meddef"):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                imported.add(submodule if _is_module(submodule) else node.module)
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name.startswith("meddef")}
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(imported)


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
