"""One source a lab: the notebooks in book/course are what it gives, and stubs fail where they say and nowhere else."""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from meddef import cli
from meddef.book.build import COURSE
from meddef.course import source
from meddef.course.answers import LABS, Wrong, exercises
from meddef.course.kit import Watched, attack, network, phantoms

ROOT = Path(__file__).resolve().parents[1]
COURSE_FOLDER = ROOT / "book" / "course"


def bare(notebook: nbformat.NotebookNode) -> str:
    """A notebook's text without what running it adds."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return source.to_text(notebook)


@pytest.mark.parametrize("lab", LABS)
class TestDerived:
    def test_stored_notebooks_are_derived_from_the_source(self, lab: str) -> None:
        again = "run 'meddef course build' and check the difference"
        stored = (COURSE_FOLDER / "student" / f"{lab}.ipynb").read_text(encoding="utf-8")
        assert stored == source.to_text(source.student(lab)), again
        page = nbformat.read(COURSE_FOLDER / f"{lab}.ipynb", 4)
        assert bare(page) == source.to_text(source.page(lab)), again

    def test_pages_hold_what_every_check_said_and_no_error(self, lab: str) -> None:
        page = nbformat.read(COURSE_FOLDER / f"{lab}.ipynb", 4)
        outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.output_type == "error"]
        text = "".join(output.get("text", "") for output in outputs)
        assert re.findall(r"^(lab\d\.\w+): right\. \S", text, re.MULTILINE) == exercises(lab)

    def test_stubs_raise_in_the_marked_cells_and_nowhere_else(
        self, lab: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MPLBACKEND", "agg")
        names: dict[str, Any] = {}
        for cell in source.student(lab).cells:
            if cell.cell_type != "code":
                continue
            stopped: Exception | None = None
            try:
                exec(cell.source, names)
            except Exception as error:
                stopped = error
            tags = set(source.tags(cell))
            assert (stopped is not None) == bool(source.RAISING & tags), f"{cell.source}\n{stopped!r}"
            if "check" in tags:
                assert isinstance(stopped, Wrong)
                assert re.search(r"not (written|answered) yet", str(stopped))
            elif stopped is not None:
                assert isinstance(stopped, NotImplementedError | TypeError | NameError), repr(stopped)

    def test_figures_are_described_and_left_out_of_the_comparison(self, lab: str) -> None:
        for cell in source.read(lab).cells:
            draws = "kit.show(" in cell.source
            assert ("nbval-ignore-output" in source.tags(cell)) is draws
            if draws:
                assert len(cell.metadata["mystnb"]["image"]["alt"]) > 20

    def test_has_everything_a_lab_must_have(self, lab: str) -> None:
        text = (ROOT / "meddef" / "course" / "labs" / f"{lab}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# Lab {lab[-1]}: ")
        minutes = re.search(r"\*\*About (\d+) minutes\.\*\*", text)
        assert minutes is not None
        assert 45 <= int(minutes[1]) <= 60
        for part in (
            "After this lab you can",
            "**Background.**",
            "## For discussion",
            "## Further reading",
        ):
            assert part in text
        assert text.count("<details><summary>Hint") >= len(exercises(lab)) == text.count("[stub]")
        assert len(re.findall(r"arxiv\.org/abs/|doi\.org/", text)) >= 3
        assert text.count("```") % 2 == 0


def test_the_course_is_in_the_book_and_small() -> None:
    assert {f"course/{lab}" for lab in LABS} | {"course/index", "course/instructor"} == set(COURSE)
    files = [
        path
        for path in COURSE_FOLDER.rglob("*")
        if path.is_file() and ".ipynb_checkpoints" not in path.relative_to(COURSE_FOLDER).parts
    ]
    assert sum(path.stat().st_size for path in files) < 600_000


def test_the_plan_of_the_instructor_has_each_lab_s_minutes() -> None:
    plan = (COURSE_FOLDER / "instructor.md").read_text(encoding="utf-8")
    for lab in LABS:
        text = (ROOT / "meddef" / "course" / "labs" / f"{lab}.md").read_text(encoding="utf-8")
        (minutes,) = re.findall(r"\*\*About (\d+) minutes", text)
        assert re.search(rf"^\| {lab[-1]} [^|]+\| {minutes} \|", plan, re.MULTILINE)


def test_start_gives_notebooks_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["meddef", "course", "start", str(tmp_path / "mine"), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    assert start("--lab", "lab2") == 0
    path = tmp_path / "mine" / "lab2.ipynb"
    nbformat.validate(nbformat.read(path, 4))
    path.write_text("my work")
    assert start() == 2
    assert "lab2.ipynb exists: choose another folder" in capsys.readouterr().err
    assert path.read_text() == "my work"
    assert [file.name for file in path.parent.iterdir()] == ["lab2.ipynb"]
    assert start("--lab", "lab9") == 2
    assert "unknown lab 'lab9'" in capsys.readouterr().err


def test_patients_of_training_and_test_differ() -> None:
    data = phantoms()
    train, test = (
        {image.numpy().tobytes() for image in images} for images in (data.train_images, data.test_images)
    )
    assert not train & test
    assert (len(data.train_labels), len(data.test_labels)) == (320, 80)


@pytest.mark.parametrize(("settings", "low", "high"), [({}, 1.5, 2.0), ({"reach": 0.5}, 0.49, 0.5)])
def test_the_attack_of_the_labs_moves_as_far_as_its_reach(
    settings: dict[str, float], low: float, high: float
) -> None:
    data, eps = phantoms(), 0.05
    watched = Watched(network())
    found = attack(watched, data.test_images[:4], data.test_labels[:4], eps=eps, **settings)
    moved = float((found - watched.seen[0]).abs().max()) / eps
    assert low <= moved <= high + 1e-9
    assert len(watched.seen) == 5
