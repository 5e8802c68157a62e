"""``check``: feedback in words on an answer to an exercise."""

from __future__ import annotations

import copy
import linecache
import site
import sysconfig
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import meddef
from meddef.course.altered import difference, hand_back
from meddef.errors import InputError

LABS = tuple(f"lab{number}" for number in range(1, 9))
Judge = Callable[[Any], str]
CHECKS: dict[str, Judge] = {}
CLOSE = 1e-6
ALTERED = (
    "your function altered the model that it was given ({}). Leave the model as it was: work on a copy of it."
)
LIBRARIES = {
    Path(folder).resolve()
    for folder in (
        str(Path(meddef.__file__).parent),
        *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    )
}
"""Folders of this package, of Python and of what is installed: nothing below them is a student's."""


class Wrong(Exception):
    """The answer is not correct yet. The message says what was observed and what to change."""

    def _render_traceback_(self) -> list[str]:
        """Output in Jupyter: the message, without the check's own stack."""
        return [str(self)]


def exercise(name: str) -> Callable[[Judge], Judge]:
    """Register the check of the exercise ``name``, such as "lab2.pgd".

    A check takes the answer, raises ``Wrong``, or returns what to say when it is right.
    """

    def register(judge: Judge) -> Judge:
        CHECKS[name] = judge
        return judge

    return register


def exercises(lab: str) -> list[str]:
    """The exercises of ``lab``, in order. Raises InputError for an unknown lab."""
    if lab not in LABS:
        raise InputError(f"unknown lab '{lab}': use one of {', '.join(LABS)}")
    import_module(f"meddef.course.checks.{lab}")
    return [name for name in CHECKS if name.partition(".")[0] == lab]


def variable(name: str) -> str:
    """The notebook's name for the answer: "lab2.pgd" -> "student_pgd"."""
    return f"student_{name.partition('.')[2]}"


def judge(name: str, answer: Any) -> str:
    """The message for a correct answer to the exercise ``name``.

    Raises:
        Wrong: with what was seen and what to change.
        InputError: there is no such exercise.
    """
    known = exercises(name.partition(".")[0])
    if name not in known:
        raise InputError(f"unknown exercise '{name}': use one of {', '.join(known)}")
    if answer is ...:
        raise Wrong(f"{name}: not answered yet. Replace the three dots by your answer.")
    try:
        return CHECKS[name](answer)
    except Wrong as wrong:
        raise Wrong(f"{name}: {wrong}") from None


def check(name: str, answer: Any) -> None:
    """Judge an answer and print what is right about it; raises ``Wrong`` with advice otherwise."""
    print(f"{name}: right. {judge(name, answer)}")


def call(student: Any, *args: Any, trains: bool = False, **kwargs: Any) -> Any:
    """The student's function's result; errors inside it become messages.

    The function works on copies of what is given. A model's gradients, and the batches that a ``Watched`` one saw, are
    handed back; with ``trains`` its weights too. Raises ``Wrong`` where the function is not written yet, raises, or
    changes a tensor or (without ``trains``) a model that it was given.
    """
    if not callable(student):
        raise Wrong(f"this exercise asks for a function, and you gave {_a(student)}.")
    own_args, own_kwargs = copy.deepcopy((args, kwargs))
    answer = run(student, own_args, own_kwargs)
    given, own = (*args, *kwargs.values()), (*own_args, *own_kwargs.values())
    for original, used in zip(given, own, strict=True):
        if not isinstance(original, nn.Module):
            continue
        if not trains and (what := difference(used, original)):
            raise Wrong(ALTERED.format(what))
        try:
            hand_back(used, original, weights=trains)
        except (RuntimeError, ValueError):
            raise Wrong(ALTERED.format("its layers")) from None
    return answer


def run(student: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The function's result. Raises ``Wrong`` where it is not written, raises, or changes a tensor that is given."""
    values = [*args, *kwargs.values()]
    given = [value for value in values if isinstance(value, Tensor)]
    alone = len(given)
    given += [
        part for value in values if isinstance(value, list) for part in value if isinstance(part, Tensor)
    ]
    before = [value.detach().clone() for value in given]
    try:
        answer = student(*args, **kwargs)
    except Wrong:
        raise
    except NotImplementedError:
        raise Wrong("not written yet. Replace the line `raise NotImplementedError` by your code.") from None
    except Exception as error:
        raise Wrong(f"your function stopped with {words(error)}{_place(error.__traceback__)}.") from None
    for number, (value, old) in enumerate(zip(given, before, strict=True)):
        if not _equal(value, old):
            what = "an input tensor" if number < alone else "the weights that it was given"
            raise Wrong(
                f"your function changed {what}. Work on a copy (`x = images.clone()`), and avoid `+=` and methods "
                "that end in an underscore."
            )
    return answer


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.detach(), b.detach())


def words(error: BaseException) -> str:
    """An exception's type and message, whatever its own ``__str__`` does."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return f"{type(error).__name__} (its message cannot be shown)"


def _place(traceback: TracebackType | None) -> str:
    """The last line of the student's own code, which Jupyter stores under artificial file names."""
    line = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not _is_library(file):
            line = linecache.getline(file, traceback.tb_lineno).strip() or line
        traceback = traceback.tb_next
    return f" (at `{line}`)" if line else ""


def _is_library(file: str) -> bool:
    path = Path(file)
    return path.is_absolute() and not LIBRARIES.isdisjoint(path.resolve().parents)


def _a(value: Any) -> str:
    kind = value.kind if isinstance(value, Foreign) else type(value).__name__
    return "nothing (None)" if value is None else f"a value of type {kind}"


class Foreign:
    """Stands for a value that did not cross to the grader because of its type."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def tensor(answer: Any, shape: Sequence[int], what: str = "your function") -> Tensor:
    """``answer`` as a detached, finite tensor (float64 unless it holds whole numbers or truths) of ``shape``."""
    if answer is None:
        raise Wrong(f"{what} returned nothing. End it with `return …`.")
    if isinstance(answer, np.ndarray):
        answer = torch.from_numpy(answer)
    if not isinstance(answer, Tensor):
        raise Wrong(f"{what} returned {_a(answer)}; a tensor of shape {tuple(shape)} is required.")
    if tuple(answer.shape) != tuple(shape):
        raise Wrong(f"{what} returned shape {tuple(answer.shape)}; {tuple(shape)} is required.")
    answer = answer.detach()
    if answer.is_floating_point():
        answer = answer.double()
        if not bool(torch.isfinite(answer).all()):
            raise Wrong(
                f"{what} returned NaN or infinite values. Look for a division by zero or a logarithm of 0."
            )
    return answer


def number(answer: Any, what: str = "your function") -> float:
    """``answer`` as a float."""
    answer = _item(answer)
    if isinstance(answer, bool) or not isinstance(answer, int | float | np.number):
        raise Wrong(f"{what} returned {_a(answer)}; one number is required.")
    return float(answer)


def _item(answer: Any) -> Any:
    return (
        answer.item() if isinstance(answer, Tensor | np.ndarray) and len(answer.reshape(-1)) == 1 else answer
    )


def truth(answer: Any, what: str = "your function") -> bool:
    """``answer`` as True or False."""
    answer = _item(answer)
    if not isinstance(answer, bool | np.bool_):
        raise Wrong(f"{what} returned {_a(answer)}; True or False is required.")
    return bool(answer)


def rows(answer: Any, width: int, what: str = "your answer") -> set[tuple[Any, ...]]:
    """``answer``, a list or set of tuples of ``width`` entries, as a set."""
    if not isinstance(answer, list | set | tuple | frozenset):
        raise Wrong(f"{what} is {_a(answer)}; a list of tuples is required.")
    found = set()
    for row in answer:
        if not isinstance(row, list | tuple) or len(row) != width:
            raise Wrong(f"{what} holds {row!r}; every entry must be a tuple of {width} values.")
        found.add(tuple(value.item() if isinstance(value, np.generic) else value for value in row))
    return found


def close(a: Tensor | float, b: Tensor | float, tolerance: float = CLOSE) -> bool:
    """Equal but for rounding."""
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


def refuse(answer: Tensor | float, known: dict[str, Tensor | float]) -> None:
    """Raise ``Wrong`` with the message whose typical wrong answer this is."""
    for message, wrong in known.items():
        if close(answer, wrong):
            raise Wrong(message)
