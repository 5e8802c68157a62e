"""What runs one submission: its cells, then calls to the functions that it defined. It gives answers, never marks."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from IPython.core.inputtransformer2 import TransformerManager
from torch import nn

from meddef.course import wire
from meddef.course.altered import describe
from meddef.course.answers import Wrong, run, words
from meddef.course.sandbox import confine, guard, limit

ERROR_LENGTH = 300


class TooSlow(BaseException):
    """A cell or a call took too long; no ``except Exception`` of the notebook catches it."""


def serve(
    requests: int, answers: int, folder: Path, *, memory_mb: int, seconds: int, step_seconds: int
) -> None:
    """Confine this process to ``folder``, then answer requests until it is killed."""
    os.chdir(folder)
    os.environ.update(HOME=str(folder), TMPDIR=str(folder), MPLCONFIGDIR=str(folder))
    torch.set_num_threads(1)
    limit(memory_mb, seconds, own_namespace=os.getppid() == 1)
    confine(folder)
    guard(folder)
    names: dict[str, Any] = {
        "__name__": "__main__",
        "get_ipython": lambda: _NoShell(),
        "display": lambda *things, **options: None,
    }
    while True:
        kind, content = pickle.loads(wire.receive(requests))
        if kind == "run":
            reply = wire.encode(run_cells(content, names, step_seconds))
        else:
            reply = answer(names, content, step_seconds)
        wire.send(answers, reply)


class _NoShell:
    """Ignore magics and shell commands."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


def run_cells(sources: list[str], names: dict[str, Any], step_seconds: int) -> dict[int, str]:
    """Run code cells in order in ``names``; cell number -> error that stopped it, except open exercises."""
    errors = {}
    for number, text in enumerate(sources):
        try:
            with _alarm(step_seconds):
                exec(compile(TransformerManager().transform_cell(text), f"<cell {number}>", "exec"), names)
        except BaseException as error:
            if isinstance(error, Wrong | NotImplementedError):
                continue  # an exercise that is not solved
            place = f"code cell {number + 1} of {len(sources)}"
            errors[number] = f"{place} stopped with {words(error)}"[:ERROR_LENGTH]
    return errors


def answer(names: dict[str, Any], content: tuple[Any, ...], step_seconds: int) -> bytes:
    """The encoded reply: a value, the result of a call, or what went wrong with this exercise."""
    try:
        with _alarm(step_seconds):
            return wire.encode(_reply(names, *content))
    except TooSlow as error:
        said = f"your function was stopped: {error}."
    except Wrong as wrong:
        said = str(wrong)
    except (ValueError, RuntimeError, TypeError) as error:
        said = f"your answer cannot be sent to the grader: {words(error)}."
    except BaseException as error:
        said = f"your function stopped with {type(error).__name__}."
    return wire.encode({"wrong": said})


def _reply(
    names: dict[str, Any], name: str, arguments: tuple[Any, ...] | None, options: dict[str, Any] | None
) -> dict[str, Any]:
    """The value of a name, or the result of calling it, with what became of the models passed in."""
    if name not in names:
        return {"missing": True}
    if arguments is None or options is None:
        return {"callable": True} if callable(names[name]) else {"value": names[name]}
    value = run(names[name], arguments, options)
    models = [given for given in (*arguments, *options.values()) if isinstance(given, nn.Module)]
    return {
        "value": value,
        "models": [describe(model) for model in models],
        "seen": [list(getattr(model, "seen", [])) for model in models],
    }


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    """Raise TooSlow after so many seconds of CPU time, which does not depend on the machine's load."""

    def ring(*_: Any) -> None:
        raise TooSlow(f"no end after {seconds} s")

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
