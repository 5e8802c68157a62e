"""Version and commit of the package where it lies elsewhere than in its own clone."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SAID = "from meddef.installation import commit, version; print(version(), *commit())"


@pytest.fixture
def somewhere(tmp_path: Path) -> Path:
    """Somebody's repository with one commit."""
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*run, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "theirs"], cwd=tmp_path, check=True)
    return tmp_path


def said_in(folder: Path, **variables: str) -> str:
    """What the package in ``folder`` says of itself where no package is installed."""
    shown = subprocess.run(
        [sys.executable, "-S", "-c", SAID],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.strip()


def copy_to(folder: Path) -> None:
    (folder / "meddef").mkdir(parents=True)
    for name in ("__init__.py", "installation.py"):
        shutil.copy(ROOT / "meddef" / name, folder / "meddef")


def commit_all(folder: Path) -> str:
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*run, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*run, "commit", "-q", "-m", "added"], cwd=folder, check=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.fault(
    "the package lies in somebody else's git repository (an environment, or a copy that is committed there)",
    'provenance says "unknown" instead of that repository\'s commit',
)
@pytest.mark.parametrize("place", [".venv/site-packages", ".", "third_party/companion"])
@pytest.mark.parametrize("is_committed", [False, True])
def test_the_commit_of_somebody_elses_repository_is_not_ours(
    somewhere: Path, place: str, is_committed: bool
) -> None:
    copy_to(somewhere / place)
    if place != ".":
        shutil.copy(ROOT / "pyproject.toml", somewhere / place)
    if is_committed:
        commit_all(somewhere)
    version = "unknown" if place == "." else VERSION
    assert said_in(somewhere / place) == f"{version} unknown None"


@pytest.mark.fault(
    "the package is on PYTHONPATH and not installed",
    "its version is that of the project around it, and cells are computed as from an installed one",
)
def test_a_clone_on_the_path_knows_its_version(somewhere: Path) -> None:
    copy_to(somewhere)
    shutil.copy(ROOT / "pyproject.toml", somewhere)
    assert said_in(somewhere) == f"{VERSION} unknown None"  # not committed there yet
    made = commit_all(somewhere)
    assert said_in(somewhere) == f"{VERSION} {made} False"
    assert said_in(somewhere, GIT_DIR=str(somewhere / "elsewhere")) == f"{VERSION} {made} False"
    with (somewhere / "meddef" / "__init__.py").open("a") as file:
        file.write("# changed\n")
    assert said_in(somewhere) == f"{VERSION} {made} True"
