"""Project files that must agree with each other."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


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


def test_the_ci_script_runs_the_readme_s_test_command() -> None:
    assert "make test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")


def test_stored_outputs_hold_no_warnings() -> None:
    """They would show the reader paths of the machine that ran the notebook."""
    stored = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book" / "course").rglob("*.ipynb")]
    assert len(stored) > 10
    cells = [(path.name, cell) for path in stored for cell in json.loads(path.read_text())["cells"]]
    outputs = [(name, output) for name, cell in cells for output in cell.get("outputs", [])]
    assert [name for name, output in outputs if output.get("name") == "stderr"] == []
