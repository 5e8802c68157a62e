"""What the grader withstands: stand-ins for submissions that misbehave. None gains a mark or touches another one.

Each solves `lab3.grey_levels` honestly and misbehaves in one way; what is expected is that point, and the words.
"""

import contextlib
import csv
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from course_standins import ALTER, HONEST, MISBEHAVE, STALL, ZERO

from meddef import cli
from meddef.course import isolation, wire, worker
from meddef.course.grade import Limits, grade
from meddef.course.workshop import Workshop


def write(path: Path, lab: str, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(cell)
            for cell in ("import json\nimport numpy as np\nimport torch", *cells)
        ],
        metadata={"meddef": {"lab": lab}},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(made), encoding="utf-8")
    return path


def running(word: str) -> list[bytes]:
    """The command lines with ``word`` in them."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in (words := place.read_bytes()):
                found.append(words)
    return found


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Path without its end -> row of the CSV; the class is as it was, and nothing arrived or runs."""
    root = tmp_path_factory.mktemp("class")
    place = root / "submissions"
    for group in ("a", "b"):
        write(place / group / "honest.ipynb", "lab3", HONEST if group == "a" else "student_grey_levels = 1")
    ears = socket.socket(type=socket.SOCK_DGRAM)
    ears.bind(("127.0.0.1", 0))
    classmate, address = str(place / "a" / "honest.ipynb"), ears.getsockname()
    known = f"CLASSMATE = {classmate!r}\nGRADER = {os.getpid()}\nADDRESS = {address!r}"
    for name, (lab, _, code) in ALTER.items():
        write(place / f"{name}.ipynb", lab, ZERO + code)
    for name, (code, _) in MISBEHAVE.items():
        write(place / f"{name}.ipynb", "lab3", HONEST, known, code)
    (place / "odd\udce4.ipynb").write_bytes((place / "a" / "honest.ipynb").read_bytes())
    paths = sorted(place.rglob("*.ipynb"))
    before = {path: (path.read_bytes(), path.stat().st_mode) for path in paths}
    output, rooms = root / "marks.csv", root / "rooms"
    rooms.mkdir()
    arguments = ["meddef", "course", "grade", *map(str, paths), "-o", str(output)]
    arguments += ["--seconds", "200", "--step-seconds", "2", "--memory-mb", "512"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDDEF_TEST_SECRET", "hunter2")
        patch.setattr(tempfile, "tempdir", str(rooms))
        patch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    assert {path: (path.read_bytes(), path.stat().st_mode) for path in paths} == before
    assert not running(str(rooms))
    assert not list(rooms.glob("meddef-course-*"))
    ears.setblocking(False)
    with pytest.raises(BlockingIOError):
        ears.recv(10)
    ears.close()
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(paths)
    assert "hunter2" not in output.read_text(encoding="utf-8")
    return {Path(row["path"]).relative_to(place).with_suffix("").as_posix(): row for row in rows}


@pytest.mark.fault(
    "a function of a submission alters the model that it is given: weights, layers, mode, hooks",
    "the exercise gets no point; what is right is computed from the original",
    says="your function altered the model that it was given (",
)
@pytest.mark.parametrize("name", ALTER)
def test_an_altered_model_costs_the_exercise_in_words(
    graded: dict[str, dict[str, str]], name: str, says: str
) -> None:
    lab, exercise, _ = ALTER[name]
    row = graded[name]
    assert row["points"] == "0"
    assert f"{lab}.{exercise}: {says}" in row["feedback"]


@pytest.mark.fault(
    "a submission misbehaves: files of others, processes, network, limits, memory, answers that cannot be sent",
    "it gets the points that it earned; no other submission is touched, nothing is left running, and the CSV is whole",
)
@pytest.mark.parametrize("name", MISBEHAVE)
def test_misbehaving_gains_nothing_and_costs_nothing_else(
    graded: dict[str, dict[str, str]], name: str
) -> None:
    row = graded[name]
    assert (row["points"], row["of"]) == ("1", "5"), row
    assert "lab3.grey_levels=1" in row["exercises"]
    assert MISBEHAVE[name][1] in row["status"] + row["feedback"], row


def test_submissions_of_one_name_are_told_apart(graded: dict[str, dict[str, str]]) -> None:
    first, second = graded["a/honest"], graded["b/honest"]
    assert first["submission"] == second["submission"] == "honest.ipynb"
    assert (first["points"], second["points"]) == ("1", "0")
    assert graded["odd\\udce4"]["points"] == "1"


@pytest.mark.fault(
    "a submission stops reading or writing in mid answer",
    "it is stopped at its time limit, and the next one is marked",
    says="stopped after 6 s",
)
def test_one_that_stalls_is_stopped_and_the_next_is_marked(tmp_path: Path, says: str) -> None:
    paths = [write(tmp_path / f"{name}.ipynb", "lab2", code) for name, code in STALL.items()]
    limits = Limits(seconds=6, step_seconds=2, memory_mb=512)
    with Workshop() as workshop:
        found = list(grade(paths, limits, workshop))
        last = write(tmp_path / "honest.ipynb", "lab3", HONEST)
        (after,) = grade([last], Limits(step_seconds=20), workshop)
    assert [(row.points, row.status) for row in found] == [(0, says)] * len(STALL)
    assert after.points == 1


REFUSED_BY_PYTHON = (
    "classmate_mode", "classmate_open_mode", "classmate_by_folder", "limits_of_others", "environment", "message",
    "deep",
)  # fmt: skip


def test_without_namespaces_python_refuses_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "missing", lambda root: "left out by this test")
    classmate = write(tmp_path / "a" / "honest.ipynb", "lab3", HONEST)
    before = classmate.read_bytes(), classmate.stat().st_mode
    known = f"CLASSMATE = {str(classmate)!r}\nGRADER = {os.getpid()}\nADDRESS = ('127.0.0.1', 9)"
    paths = [
        write(tmp_path / f"{name}.ipynb", "lab3", HONEST, known, MISBEHAVE[name][0])
        for name in REFUSED_BY_PYTHON
    ]
    with Workshop() as workshop:
        assert workshop.without == "left out by this test"
        found = list(grade(paths, Limits(200, 2, 512), workshop))
    assert [row.points for row in found] == [1] * len(paths)
    assert ["PermissionError: a submission may not" in row.status for row in found[:-1]] == [True] * (
        len(paths) - 1
    )
    assert (classmate.read_bytes(), classmate.stat().st_mode) == before


def test_writing_to_one_that_does_not_read_has_a_deadline() -> None:
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    with pytest.raises(wire.Silent, match="time is over"):
        wire.send(ours, bytes(1 << 20), time.monotonic() + 0.2)
    os.close(ours)
    os.close(theirs)


@pytest.mark.fault(
    "the grading of a class is stopped",
    "the CSV holds all that were marked before",
)
def test_the_marks_are_kept_when_the_grading_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CSV always: after each submission it holds all that are marked."""
    from meddef.course import grade as module

    paths = [write(tmp_path / f"{name}.ipynb", "lab3", HONEST) for name in "ab"]
    real = module.read_submission

    def stopped(path: Path) -> tuple[str, list[str]]:
        if path == paths[1]:
            raise KeyboardInterrupt
        return "", real(path)[1][:0]

    monkeypatch.setattr(module, "read_submission", stopped)
    monkeypatch.setattr(
        sys, "argv", ["meddef", "course", "grade", *map(str, paths), "-o", str(tmp_path / "marks.csv")]
    )
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        cli.main()
    with (tmp_path / "marks.csv").open(encoding="utf-8") as file:
        assert [row["submission"] for row in csv.DictReader(file)] == ["a.ipynb"]


SLEEPER = """
import os, sys, time
for _ in range(2):  # twice away from the parent, and out of its group
    if os.fork():
        os._exit(0) if len(sys.argv) > 1 else time.sleep(0.2)
        break
    os.setsid()
    sys.argv.append("child")
else:
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_what_left_its_group_ends_with_the_namespace(tmp_path: Path) -> None:
    if reason := isolation.missing(tmp_path):
        pytest.skip(reason)
    marker = f"meddef-test-{os.getpid()}-inside"
    command = [sys.executable, "-c", SLEEPER.replace("len(sys.argv) > 1", "len(sys.argv) > 2"), marker]
    subprocess.run(isolation.wrapped(command, tmp_path), check=True, env={"PATH": isolation.PATH})
    assert not running(marker)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="what adopts orphans is Linux's")
def test_what_left_its_group_is_adopted_and_killed_where_there_are_no_namespaces() -> None:
    marker = f"meddef-test-{os.getpid()}-outside"
    started = subprocess.Popen(
        [sys.executable, "-c", SLEEPER.replace("len(sys.argv) > 1", "len(sys.argv) > 2"), marker],
        start_new_session=True,
    )
    worker.adopt()
    try:
        started.wait()
        end = time.monotonic() + 20
        while not worker.adopted() and time.monotonic() < end:
            time.sleep(0.01)
        worker.kill(started.pid)
        assert not running(marker)
    finally:
        worker.adopt(on=False)
