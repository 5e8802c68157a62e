"""The how-to, executed: an attack, a model, a dataset, a profile and a section, added to a copy as its blocks say."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from data_folders import picture, save

ROOT = Path(__file__).resolve().parents[1]
QUICK: dict[str, Any] = {
    "image_size": 32,
    "training": {"epochs": 1, "batch_size": 8, "adversarial": {"steps": 1}},
    "grids": {"epsilon": {"images": 8, "eps": [0.05], "attacks": {"fgsm": {}, "mine": {"steps": 2}}}},
}
SCRIPT = """
import sys
from pathlib import Path
from meddef.book.notebooks import run_notebooks
from meddef.book.pages import pages
from meddef.cli import app
from meddef.report import architecture
from meddef.report.report import Report

if __name__ == "__main__":
    data = ["--data-dir", sys.argv[1]]
    app(["attacks"], standalone_mode=False)
    app(["data", "show", "--dataset", "skin", "--profile", "skin.yaml", *data], standalone_mode=False)
    chosen = ["--profile", "skin.yaml", "--only", "mine", "-j", "1", "--no-report"]
    app(["reproduce", *chosen, *data], standalone_mode=False)
    print(architecture.parameters().frame.to_string())
    assert "mine" in pages([Report.load("skin", "runs")])["skin"]
    run_notebooks({"skin": Path("runs")}, sections={"skin": ["mine"]})
"""


def blocks(heading: str, kind: str) -> list[str]:
    """The fenced blocks of a kind under a heading of the how-to."""
    text = (ROOT / "book" / "howto.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"(?ms)^```{kind}\n(.*?)^```", section)


def add_row(catalogue: Path, block: str) -> None:
    """What a block has after its dots, as the last of the rows that it names."""
    name, row = re.fullmatch(r"(\w+) = \(\n    \.\.\.\n(.*)\)\n", block, re.S).groups()  # type: ignore[union-attr]
    text = catalogue.read_text(encoding="utf-8")
    new = re.sub(rf"(?ms)^({name} = \(\n.*?)^\)", lambda found: f"{found[1]}{row})", text, count=1)
    assert new != text
    catalogue.write_text(new, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git tracks of the package and the notebooks, with all that the how-to adds."""
    folder = tmp_path_factory.mktemp("clone")
    listed = ["git", "ls-files", "meddef", "notebooks", "_config.yml"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (variant,) = blocks("Add a model", "python")
    code, attack = blocks("Add an attack", "python")
    (folder / "meddef" / "attacks" / "mine.py").write_text(code, encoding="utf-8")
    for row in (attack, variant):
        add_row(folder / "meddef" / "catalogue.py", row)
    (card,) = blocks("Add a dataset", "yaml")
    (folder / "skin.yaml").write_text(yaml.safe_dump(yaml.safe_load(card) | QUICK), encoding="utf-8")
    (section,) = blocks("Add a section", "python")
    subprocess.run([sys.executable, "-c", section], cwd=folder, check=True)
    counts = {"train": 8, "val": 4, "test": 4}
    places = [(s, label, i) for s, n in counts.items() for label in ("BENIGN", "MALIGNANT") for i in range(n)]
    for seed, (split, label, number) in enumerate(places):
        save(picture(seed), folder / "data" / "skin" / split / label / f"{number}.png")
    return folder


def test_tables_and_figures_for_a_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("Take tables and figures into a paper", "python")
    monkeypatch.chdir(tmp_path)
    Path("results").symlink_to(ROOT / "results")
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["latex"].startswith("\\begin{table}")
    assert made["latex"].isascii()
    assert Path("curves.pdf").read_bytes().startswith(b"%PDF")


def test_what_the_howto_adds_runs_and_is_shown(copy: Path) -> None:
    (copy / "steps.py").write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "MEDDEF_CACHE_DIR": str(copy / "cache"), "COLUMNS": "200",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "steps.py", "data"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for told in ("Dong et al. 2018", "steps=20", "Skin lesions: split policy", "MedDef w/o MSF"):
        assert told in done.stdout
    (page,) = (copy / "book" / "notebooks" / "skin").glob("*.ipynb")
    assert page.name == "12_mine.ipynb"
    shown = str([cell.get("outputs") for cell in nbformat.read(page, 4).cells])
    for told in ("Skin lesions", "w/o MSF", "MI-FGSM"):
        assert told in shown
