"""Fingerprint of the source code behind a result: what changed is computed again, and nothing else."""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WITHOUT_EFFECT = {  # they store, show or validate; they cannot change a number
    "meddef.atomic",
    "meddef.errors",
    "meddef.progress",
    "meddef.records",
    "meddef.settings",  # the settings themselves are part of the key, defaults included
}
# Code rewritten without changing a result: its hash -> that of code with the same results, bit for bit.
SAME_RESULTS = {
    # meddef.pruning: sorted everything; tests/test_pruning.py holds it to torch's own and to a stable sort
    "5cbeddd670dcd74fcc85576592bb655b74e71dc6231764151756224fd463ac63": (
        "91e4334fe651521d4d6683426b19323125d0c9384e22c90cc146483755c5c927"
    ),
    # meddef.attacks.first_layer: made its indices on the CPU, where a GPU's weights could not use them; and with
    # meddef.attacks.fast: every weight was brought into channels-last order, and some then back. Compared on 16 models
    # and sizes, 96 attacks, with AVX2 and with AVX-512
    "9fc883aca970597a4d388d15bf9a47323b937b9a4801fe3369d8616131a9dc9d": (
        "8070f171496e22c2528b491ac49ce391ac63af356ed98a0e03724a0c2484006f"
    ),
    "7d67adb1c495d2c8ceaa1db232bf810b613f0e8e225bd17a14b4a7860cc38c27": (
        "b7a789c8584a319d0d03d759caa3d79412580db27715eaaef0aa404d7c7b6798"
    ),
    # meddef.attacks.balls: went through images in the same blocks on a GPU, where each costs a launch
    "971641fb0e34830ba5d9cf92e1f81b12db3c018b95fc4fbc4f1e9fe827ef1353": (
        "aac3192b2a76d5f63921aa77d53952b93360827c560283bea0dd4b2f315211c4"
    ),
    # meddef.data.phantom_*: NumPy's single-precision power differed between processors, the images that were drawn
    # with AVX2 are the ones that AVX-512 draws too now; tests/test_phantom.py has their hash
    "1ee928e44f914a0e9bf41e636f2aeba516a70d2ad6d899b5f25e3475a352f95c": (
        "914eda233292742e511119102df04a47d428f3c7e2df8119867ac5f020ef6a4a"
    ),
    "ab10a213ba1a4f0c8376ff6b3e29fa09bc0cfdd7138eb22da8e1fd49aaed5539": (
        "3a4c8800a3d5b8a4823b5e0aeb5aac45474cdf8863e29f862e75ea0bcc9a16e2"
    ),
    "78323c5687b678980e8c387a9c57be4986da56068fdc112bee8ad1bc6668f9bf": (
        "41d4524643fb945104d9e65e1920c5a570ab3cd9c094b90318579c763b257b9a"
    ),
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
    """Hash of the module's code, or of an equal one's, and the meddef modules it imports."""
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
    digest = hashlib.sha256(_dump(tree).encode()).hexdigest()
    return SAME_RESULTS.get(digest, digest), frozenset(imported)


def _dump(tree: ast.AST) -> str:
    """The tree as text, from every Python that of 3.11: no type parameters, and what is empty is shown."""
    shown: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **shown).replace(", type_params=[]", "")


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
