"""``meddef course grade``: each submission runs in its own confined process; the checks run in the grader.

A submission's process returns answers: values, and results of calls to its functions. The checks, and so the
marks, stay in this process. What a notebook prints, or makes of ``check``, has no influence.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meddef.course import wire
from meddef.course.answers import LABS, Wrong, exercises, judge, variable, words
from meddef.course.workshop import Limits, Student, Workshop
from meddef.errors import InputError, RunFailed

LARGEST_FILE = 20 << 20
LONGEST_WORDS = 1000


@dataclass
class Marked:
    """One row of the result: exercise -> (points, message of the check); ``status``: any other error."""

    path: Path
    lab: str = ""
    status: str = "ran"
    exercises: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def submission(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def points(self) -> int:
        return sum(points for points, _ in self.exercises.values())

    def row(self) -> list[str]:
        """The row of the CSV, under ``COLUMNS``."""
        points = " ".join(f"{name}={got}" for name, (got, _) in self.exercises.items())
        said = " | ".join(f"{name}: {text}" for name, (got, text) in self.exercises.items() if not got)
        numbers = [str(self.points), str(len(self.exercises))]
        words = (self.status, points, said, str(self.path))
        return [legible(self.submission), self.lab, *numbers, *(legible(text) for text in words)]


COLUMNS = ("submission", "lab", "points", "of", "status", "exercises", "feedback", "path")


def legible(text: str) -> str:
    """Text that every terminal and file takes: what cannot be printed, or written as UTF-8, is shown as its escape."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text
    )


def require(paths: list[Path]) -> None:
    """Raises InputError if a path is not a file."""
    for path in paths:
        if not path.is_file():
            raise InputError(f"no file {legible(str(path))}: name the students' notebooks")


def grade(
    paths: list[Path], limits: Limits | None = None, workshop: Workshop | None = None
) -> Iterator[Marked]:
    """Mark submissions one after the other, whatever they do; in ``workshop``, which stays open, or in one of its own.

    Raises InputError if a path is not a file.
    """
    limits = limits or Limits()
    require(paths)
    with contextlib.ExitStack() as stack:
        room = workshop or stack.enter_context(Workshop())
        for path in paths:
            yield _grade(path, limits, room)


def _grade(path: Path, limits: Limits, workshop: Workshop) -> Marked:
    marked = Marked(path)
    wanted: list[str] = []
    try:
        marked.lab, sources = read_submission(path)
        wanted = exercises(marked.lab)
        with workshop.child(limits) as pipes:
            student = Student(pipes, limits)
            marked.status = _run(student, sources)
            for name in wanted:
                marked.exercises[name] = _mark(name, student)
    except InputError as error:
        marked.status = str(error)
    except wire.Silent as silence:
        marked.status = _last_words(str(silence), limits)
    except RunFailed:
        raise
    except Exception as error:  # one submission never ends the grading of the others
        marked.status = f"could not be graded: {words(error)}"
    marked.status = marked.status[:LONGEST_WORDS]
    for name in wanted:
        marked.exercises.setdefault(name, (0, marked.status))
    return marked


def _run(student: Student, sources: list[str]) -> str:
    """Run the cells: the first error in words, or "ran"."""
    try:
        errors = [str(text) for text in student.ask("run", sources).values()]
    except Wrong as wrong:
        return str(wrong)
    return errors[0] if errors else "ran"


def _last_words(silence: str, limits: Limits) -> str:
    if silence == "time is over":
        return f"stopped after {limits.seconds} s"
    return f"did not finish: {silence}"


def _mark(name: str, student: Student) -> tuple[int, str]:
    """One point and praise, or none and the error; raises ``wire.Silent`` if the process has ended."""
    try:
        return 1, judge(name, student.answer(variable(name)))
    except Wrong as wrong:
        if student.gone:
            raise wire.Silent(student.gone) from None
        return 0, str(wrong).removeprefix(f"{name}: ")[:LONGEST_WORDS]
    except wire.Silent:
        raise
    except Exception as error:  # an answer that no check foresaw
        return 0, f"the check could not read the answer ({type(error).__name__})"


def read_submission(path: Path) -> tuple[str, list[str]]:
    """The lab and its code cells. Raises InputError if the file is not a notebook of the course."""
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"larger than {LARGEST_FILE >> 20} MB: clear the outputs")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
        lab = content.get("metadata", {}).get("meddef", {}).get("lab", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError("not a notebook") from None
    found = re.findall(r"""check\(\s*["'](lab\d)\.""", "\n".join(sources))
    lab = lab if lab in LABS else max(sorted(set(found)), key=found.count, default="")
    if lab not in LABS:
        raise InputError("not a notebook of this course: no check of a lab in it")
    return lab, sources
