"""Ten scripts of a new user, each from an empty folder outside the clone, with the installed wheel."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).parent / "new_user"
OWN = sorted(FOLDER.glob("my_*.py"))  # the user's modules, beside every script
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path not in OWN)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user: the wheel of this checkout, in a folder before the packages of this environment."""
    place = tmp_path_factory.mktemp("installed")
    uv = [str(Path(sys.executable).parent / "uv")]
    subprocess.run([*uv, "build", "--wheel", "--quiet", "--out-dir", place, ROOT], check=True)
    (wheel,) = place.glob("*.whl")
    site = place / "site"
    target = ["--no-deps", "--python", sys.executable, "--target", site, wheel]
    subprocess.run([*uv, "pip", "install", "--quiet", *target], check=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MEDDEF", "COV"))
    }
    environment |= {
        "PYTHONPATH": str(site), "PATH": f"{site / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "MEDDEF_CACHE_DIR": str(place / "cache"), "COLUMNS": "200",
    }  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-c", "import meddef.cli; print(meddef.__file__)"],
        cwd=place, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert Path(told.strip()) == site / "meddef" / "__init__.py"  # not the clone's
    return environment


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_there_are_ten() -> None:
    assert len(SCRIPTS) == 10


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_of_a_new_user_runs(script: Path, installed: dict[str, str], tmp_path: Path) -> None:
    assert not tmp_path.is_relative_to(ROOT)
    for path in (script, *OWN):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = run([sys.executable, script.name], tmp_path, installed)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_the_quick_start_is_what_it_says(installed: dict[str, str], tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in readme.splitlines() if line.startswith(">>> ")]
    assert 10 < len(lines) <= 20
    plain = re.sub(r"(?m)^```.*$", "", readme)  # doctest would take the end of a block for output
    (tmp_path / "README.md").write_text(plain, encoding="utf-8")
    done = run([sys.executable, "-m", "doctest", "README.md"], tmp_path, installed)
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
    assert (tmp_path / "my_training" / "best.safetensors").is_file()  # it was run


@pytest.mark.parametrize("command", ["reproduce", "book"])
def test_what_needs_a_clone_says_so_at_once(command: str, installed: dict[str, str], tmp_path: Path) -> None:
    done = run(["meddef", command], tmp_path, installed)
    (line,) = done.stderr.splitlines()
    assert f"no _config.yml and notebooks/ in {tmp_path}: run this in a clone of the repository" in line
    assert ("--no-report" in line) == (command == "reproduce")
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []  # nothing was computed
