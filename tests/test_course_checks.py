"""Every check of the course: the correct answer passes, each typical wrong answer gets its own message."""

import json
import math
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from meddef.course import Wrong, check, source
from meddef.course.answers import CHECKS, LABS, exercises, judge, variable
from meddef.errors import InputError

WRONG = {
    name: answers for lab in LABS for name, answers in import_module(f"course_answers.{lab}").WRONG.items()
}
PAIRS = [(name, *pair) for name, answers in WRONG.items() for pair in answers]


def solved(lab: str) -> dict[str, Any]:
    """The names that a lab's solutions define."""
    names: dict[str, Any] = {}
    code = [cell for cell in source.read(lab).cells if cell.cell_type == "code"]
    wanted = [code[0], *(cell for cell in code if "solution" in source.tags(cell))]
    for cell in wanted:
        exec(cell.source, names)
    return names


@pytest.mark.parametrize("lab", LABS)
def test_solutions_pass_and_every_exercise_has_a_stub_and_a_check(lab: str) -> None:
    names = solved(lab)
    for name in exercises(lab):
        assert len(judge(name, names[variable(name)])) > 20
    cells = source.read(lab).cells
    checked = [cell.source for cell in cells if "check" in source.tags(cell)]
    assert checked == [f'check("{name}", {variable(name)})' for name in exercises(lab)]
    stubs = [cell.source for cell in cells if "stub" in source.tags(cell)]
    for name in exercises(lab):
        assert sum(bool(re.search(rf"\b{variable(name)}\b", stub)) for stub in stubs) == 1


@pytest.mark.parametrize(
    ("name", "answer", "words"), PAIRS, ids=[f"{name}-{words}" for name, _, words in PAIRS]
)
def test_typical_wrong_answers_are_told_what_is_wrong(name: str, answer: Any, words: str) -> None:
    with pytest.raises(Wrong) as told:
        judge(name, answer)
    assert words in str(told.value)
    assert str(told.value).startswith(f"{name}: ")


def test_every_exercise_has_three_wrong_answers_with_messages_of_their_own() -> None:
    names = [name for lab in LABS for name in exercises(lab)]
    assert set(WRONG) == set(names) == set(CHECKS)
    for answers in WRONG.values():
        assert len(answers) >= 3
        assert len({words for _, words in answers}) == len(answers)


def test_check_prints_praise_and_shows_no_stack_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    check("lab2.steps_needed", lambda eps, step_size: math.ceil(2 * eps / step_size - 1e-9))
    assert capsys.readouterr().out.startswith("lab2.steps_needed: right. ")
    with pytest.raises(Wrong) as told:
        check("lab2.steps_needed", lambda eps, step_size: None)
    assert told.value._render_traceback_() == [str(told.value)]


def test_unfinished_and_foreign_answers_are_named() -> None:
    def stub(eps: float, step_size: float) -> int:
        raise NotImplementedError

    def broken(eps: float, step_size: float) -> float:
        return eps / 0 * step_size

    for answer, words in {
        stub: "not written yet",
        broken: "stopped with ZeroDivisionError: float division by zero (at `return eps / 0 * step_size`)",
        3: "asks for a function, and you gave a value of type int",
        ...: "not answered yet",
    }.items():
        with pytest.raises(Wrong) as told:
            judge("lab2.steps_needed", answer)
        assert words in str(told.value)
    with pytest.raises(InputError, match=r"unknown exercise 'lab2.pdg': use one of lab2\.project, lab2\.pgd"):
        judge("lab2.pdg", stub)
    with pytest.raises(InputError, match="unknown lab 'lab9'"):
        judge("lab9.pgd", stub)


@pytest.mark.parametrize("folder", ["meddef", "meddef/labs", "site-packages"])
@pytest.mark.parametrize(
    "line",
    ["return eps / 0", "json.loads('{')", "torch.nn.Linear(2, 1)(torch.ones(3))", "judge('lab9.pgd', eps)"],
    ids=["their own", "Python's", "PyTorch's", "this package's"],
)
def test_the_student_s_line_is_shown_whatever_the_folder_is_called(
    folder: str, line: str, tmp_path: Path
) -> None:
    """What stops may be a function of theirs, or one that they called."""
    lab = tmp_path / folder / "lab2.py"
    lab.parent.mkdir(parents=True)
    lab.write_text(f"def broken(eps, step_size):\n    {line}\n", encoding="utf-8")
    names: dict[str, Any] = {"json": json, "torch": torch, "judge": judge}
    exec(compile(lab.read_text(encoding="utf-8"), str(lab), "exec"), names)
    with pytest.raises(Wrong) as told:
        judge("lab2.steps_needed", names["broken"])
    assert str(told.value).endswith(f"(at `{line}`).")
