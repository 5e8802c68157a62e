"""Project files that must agree with each other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
COMMITTER = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]


def test_environment_is_derived_from_pyproject() -> None:
    derived = subprocess.run(
        [sys.executable, ROOT / ".ci" / "environment.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "environment.yml").read_text() == derived, "run 'make environment.yml'"
    assert yaml.safe_load(derived)["name"] == "meddef"


def test_lock_file_names_the_public_package_index_only() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"files.pythonhosted.org", "pypi.org"}


def test_no_image_data_or_weights_are_tracked() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    forbidden = re.compile(r"\.(jpe?g|npz|npy|dcm|pt|pth|ckpt|pkl|safetensors)$", re.IGNORECASE)
    assert [name for name in tracked.stdout.splitlines() if forbidden.search(name)] == []


def test_citation_is_valid_yaml_and_cites_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["references"][0]["title"].startswith("MedDef: An Efficient Self-Attention Model")


def test_the_ci_script_runs_the_readme_s_test_command(tmp_path: Path) -> None:
    """On what the checkout holds, changes that are not committed too, in a folder called as the package; the checkout
    stays as it is, and what make says is what CI says."""
    assert "make test" in (ROOT / "README.md").read_text()
    checkout, tools = tmp_path / "any name", tmp_path / "tools"
    tools.mkdir()
    make = 'pwd; cat file; git log -1 --format=%s; echo "$*"; exit 7'
    for name, lines in (("chromium", ""), ("make", make)):
        (tools / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tools / name).chmod(0o755)
    (checkout / ".ci").mkdir(parents=True)
    (checkout / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    (checkout / "file").write_text("old\n")
    for command in (["init", "-q"], ["add", "."], [*COMMITTER, "commit", "-qm", "a commit"]):
        subprocess.run(["git", *command], cwd=checkout, check=True)
    (checkout / "file").write_text("new\n")
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", checkout / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False
    )
    folder, *said = done.stdout.splitlines()
    assert Path(folder).name == "meddef"
    assert (said, done.returncode) == (["new", "a commit", "test"], 7)
    assert {path.name for path in checkout.iterdir()} == {".ci", ".git", "file"}
    assert {path.name for path in tmp_path.iterdir()} == {"any name", "tools"}


def test_every_python_file_is_linted() -> None:
    """A pattern without a leading "./" leaves out every folder of that name, in the package too."""
    tracked, shown = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        for command in (["git", "ls-files", "*.py"], [sys.executable, "-m", "ruff", "check", "--show-files"])
    )
    assert {ROOT / name for name in tracked} <= {Path(name) for name in shown}


def test_stored_outputs_hold_no_warnings() -> None:
    """They would show the reader paths of the machine that ran the notebook."""
    stored = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book" / "course").rglob("*.ipynb")]
    assert len(stored) > 10
    cells = [(path.name, cell) for path in stored for cell in json.loads(path.read_text())["cells"]]
    outputs = [(name, output) for name, cell in cells for output in cell.get("outputs", [])]
    assert [name for name, output in outputs if output.get("name") == "stderr"] == []
