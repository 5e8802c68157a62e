"""Grading: ten submissions, some of them hostile; the right marks, and no file harmed."""

import csv
import hashlib
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from meddef import cli
from meddef.course import source, wire
from meddef.course.answers import Foreign
from meddef.course.grade import Limits, grade, read_submission
from meddef.errors import InputError

LAB = "lab3"
SECONDS, STEP_SECONDS, MEMORY_MB = 120, 2, 1024
ENDLESS = "while True:\n    pass"
STUBBORN = (
    "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
)
FORGED = """
import meddef.course, meddef.course.answers, meddef.course.grade
meddef.course.check = check = lambda name, answer: print(f"{name}: right.")
meddef.course.answers.judge = lambda name, answer: "right"
meddef.course.answers.CHECKS.clear()
meddef.course.grade.exercises = lambda lab: []
print("lab3,5,5")
"""
HOSTILE = """
import os, shutil, subprocess, ctypes, socket
from pathlib import Path
targets = [Path(place) for place in {targets!r}]
def each(act):
    for target in targets:
        try:
            act(target)
        except BaseException:
            pass
each(lambda t: shutil.rmtree(t, ignore_errors=True))
each(lambda t: [os.remove(f) for f in t.glob("*")])
each(lambda t: [os.open(f, os.O_WRONLY | os.O_TRUNC) for f in t.glob("*")])
each(lambda t: [f.write_text("mine") for f in t.glob("*")])
each(lambda t: [f.chmod(0) for f in t.glob("*")])
each(lambda t: [os.rename(f, str(f) + ".gone") for f in t.glob("*")])
each(lambda t: (t / "new").write_text("mine"))
each(lambda t: os.system(f"rm -rf {{t}}"))
each(lambda t: subprocess.run(["rm", "-rf", str(t)]))
each(lambda t: [ctypes.CDLL(None).unlink(str(f).encode()) for f in t.glob("*")])
each(lambda t: os.kill(os.getppid(), 9))
shutil.rmtree(Path.home(), ignore_errors=True)
student_secret = os.environ.get("MEDDEF_TEST_SECRET", "none")
"""


def notebook(path: Path, *, without: tuple[str, ...] = (), extra: str = "", late: str = "") -> Path:
    """The lab solved, as a student's notebook; ``without``: exercises answered by their stub; code before and after."""
    cells = []
    for cell in source.read(LAB).cells:
        if cell.cell_type != "code":
            continue
        solved = not any(f"student_{name}" in cell.source for name in without)
        tags = source.tags(cell)
        if (
            ("stub" in tags and not solved)
            or ("solution" in tags and solved)
            or not {"stub", "solution"} & set(tags)
        ):
            cells.append(nbformat.v4.new_code_cell(cell.source))
    heavy = re.compile(r"kit\.|print|= data\.")  # no training here
    cells[0].source = "\n".join(line for line in cells[0].source.splitlines() if not heavy.search(line))
    cells = [cell for cell in cells if "kit." not in cell.source]
    for number, text in ((1, extra), (len(cells) + 1, late)):
        if text:
            cells.insert(number, nbformat.v4.new_code_cell(text))
    made = nbformat.v4.new_notebook(cells=cells, metadata={"meddef": {"lab": LAB}})
    path.write_text(nbformat.writes(made), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Submissions and a bystander."""
    root = tmp_path_factory.mktemp("class")
    (root / "home").mkdir()
    (root / "home" / "thesis.txt").write_text("do not lose")
    place = root / "submissions"
    place.mkdir()
    targets = [str(place), str(root / "home")]
    wrong = "\n".join(
        [
            "def student_normalised_eps(eps, mean, std):\n    return eps * std",
            "student_grey_levels = 12.75",
        ]
    )
    notebook(place / "perfect.ipynb")
    notebook(place / "empty.ipynb", without=("normalised_eps", "bounds", "fgsm", "diagnose", "grey_levels"))
    notebook(place / "wrong_units.ipynb", late=wrong)
    notebook(
        place / "wrong_type.ipynb", late="student_bounds = 5\nstudent_diagnose = lambda *a, **k: object()"
    )
    notebook(place / "forged.ipynb", without=("fgsm", "diagnose"), extra=FORGED)
    notebook(place / "endless.ipynb", extra=ENDLESS, late="def student_fgsm(*a, **k):\n    while True: pass")
    notebook(place / "hog.ipynb", late="import torch\nhog = [torch.ones(1 << 27) for _ in range(64)]")
    notebook(place / "syntax.ipynb", late="def student_bounds(mean, std:\n    return 0, 1")
    notebook(place / "hostile.ipynb", extra=HOSTILE.format(targets=targets))
    (place / "picture.ipynb").write_bytes(b"\x89PNG not a notebook")
    return root


def digest(root: Path) -> dict[str, tuple[str, int]]:
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def marks(folder: Path) -> dict[str, dict[str, str]]:
    """File name -> row of the CSV, as the command line writes it."""
    before = digest(folder)
    output = folder.parent / "marks.csv"
    submissions = sorted(str(path) for path in (folder / "submissions").iterdir())
    arguments = ["meddef", "course", "grade", *submissions, "-o", str(output)]
    arguments += [
        "--seconds",
        str(SECONDS),
        "--step-seconds",
        str(STEP_SECONDS),
        "--memory-mb",
        str(MEMORY_MB),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDDEF_TEST_SECRET", "hunter2")
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    assert digest(folder) == before
    with output.open(encoding="utf-8") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("name", "points", "words"),
    [
        ("perfect", 5, "ran"),
        ("empty", 0, "not written yet"),
        ("wrong_units", 2, "lab3.grey_levels: this is ε in pixels"),
        ("wrong_type", 2, "you gave a value of type int"),
        ("forged", 3, "lab3.fgsm: not written yet"),
        ("endless", 4, "lab3.fgsm: your function was stopped: no end after 2 s"),
        ("hog", 5, "stopped with"),
        ("syntax", 5, "SyntaxError"),
        ("hostile", 5, "ran"),
        ("picture", 0, "not a notebook"),
    ],
)
def test_marks_come_from_the_grader_s_own_checks(
    marks: dict[str, dict[str, str]], name: str, points: int, words: str
) -> None:
    row = marks[f"{name}.ipynb"]
    assert (int(row["points"]), row["of"]) == (points, "0" if name == "picture" else "5"), row
    assert words in row["status"] + row["feedback"]


def test_what_cannot_be_interrupted_is_killed_and_the_next_one_is_marked(tmp_path: Path) -> None:
    notebook(tmp_path / "a.ipynb", late=STUBBORN)
    notebook(tmp_path / "b.ipynb", late="import os\nos._exit(3)")
    notebook(tmp_path / "c.ipynb", extra="student_bounds = None")
    limits = Limits(seconds=10, step_seconds=1, memory_mb=MEMORY_MB)
    (first,) = grade([tmp_path / "a.ipynb"], limits)
    second, third = grade([tmp_path / "b.ipynb", tmp_path / "c.ipynb"], replace(limits, seconds=SECONDS))
    assert (first.points, first.status) == (0, "stopped after 10 s")
    assert (second.points, second.status) == (0, "did not finish: the process ended")
    assert third.points == 5  # defined again by its own cell, later


def test_a_lab_is_recognised_by_its_checks_where_metadata_are_lost(tmp_path: Path) -> None:
    path = notebook(tmp_path / "x.ipynb")
    content = json.loads(path.read_text())
    content["metadata"] = {}
    path.write_text(json.dumps(content))
    assert read_submission(path)[0] == LAB
    for text in ("[]", "{}", '{"cells": [{"cell_type": "code", "source": "1"}]}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(InputError, match="not a notebook"):
            read_submission(path)
    with pytest.raises(InputError, match=r"no file .*nowhere.ipynb"):
        next(grade([tmp_path / "nowhere.ipynb"]))


def test_no_object_crosses_but_plain_values() -> None:
    import torch

    value = {"a": [1, 2.5, None, True, "x"], "t": torch.arange(3), "o": object(), "s": ({1}, (2,))}
    back = wire.decode(wire.encode(value))
    assert back["a"] == value["a"]
    assert torch.equal(back["t"], value["t"])
    assert isinstance(back["o"], Foreign)
    assert back["s"] == [[1], [2]]
    for bad in (b"", b"\0" * 20, wire.encode(1)[:8] + b"{", os.urandom(64)):
        with pytest.raises(wire.Silent):
            wire.decode(bad)
