"""Which version and which commit of this package runs: installed, in a clone, or merely on the path."""

from __future__ import annotations

import os
import subprocess
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NAME = "meddef"


def project() -> Path | None:
    """The folder of the project whose source this package is; None where it was installed or copied out of it."""
    try:
        said = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return PACKAGE.parent if said.get("project", {}).get("name") == NAME else None


@cache
def version() -> str:
    """The version as it is installed, else (on PYTHONPATH) that of the project around it, else "unknown"."""
    try:
        return installed_version(NAME)
    except PackageNotFoundError:
        root = project()
        if root is None:
            return "unknown"
        said = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        return str(said["project"].get("version", "unknown"))


def commit() -> tuple[str, bool | None]:
    """The commit of the project and whether tracked files differ from it; ("unknown", None) outside a clone of it.

    A package that lies in somebody else's repository, in an environment or copied there, has no commit of its own.
    """
    root = project()
    if root is None or Path(_git("rev-parse", "--show-toplevel") or "/").resolve() != root:
        return "unknown", None
    found = _git("rev-parse", "HEAD")
    if not found or not _git("ls-files", str(PACKAGE / "__init__.py")):
        return "unknown", None
    return found, bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    """What git says about the folder of this package; "" where it says nothing or is not there."""
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, env=elsewhere, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
