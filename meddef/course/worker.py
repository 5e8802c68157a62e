"""The process that runs submissions: imports torch once, then forks a confined child for each notebook.

Started by ``meddef.course.grade`` as ``python -m meddef.course.worker SOCKET`` with an empty environment. A child
runs the cells of one notebook, then answers calls to the functions that it defined. It gives answers, never marks.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot  # noqa: F401  (before files are closed to it)
import pandas  # noqa: F401
import torch
from IPython.core.inputtransformer2 import TransformerManager
from torch import nn

import meddef.attacks
import meddef.pruning
import meddef.training.schedule  # noqa: F401
from meddef.course import wire
from meddef.course.answers import LABS, Wrong, call, exercises
from meddef.course.kit import Watched
from meddef.course.sandbox import confine, guard, limit

ERROR_LENGTH = 300


class TooSlow(BaseException):
    """A cell or a call took too long; no ``except Exception`` of the notebook catches it."""


def main(handle: int) -> None:
    """Fork a child for each request (folder, limits, two pipes); on command, kill its group and report."""
    for lab in LABS:
        exercises(lab)
    with socket.socket(fileno=handle) as channel:
        channel.sendall(b"ready")
        while True:
            request, handles, _, _ = socket.recv_fds(channel, 1 << 16, 2)
            if not request:
                return
            child = os.fork()
            if child == 0:
                channel.close()
                os.setsid()
                with contextlib.suppress(BaseException):
                    _child(*handles, **json.loads(request))
                os._exit(0)
            for pipe in handles:
                os.close(pipe)
            channel.sendall(b"started")
            channel.recv(1 << 16)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            channel.sendall(b"ended")


def _child(
    requests: int, answers: int, *, folder: str, memory_mb: int, seconds: int, step_seconds: int
) -> None:
    home = Path(folder)
    os.chdir(home)
    os.environ.update(HOME=folder, TMPDIR=folder, MPLCONFIGDIR=folder)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize() >> 20
    torch.set_num_threads(1)
    limit(memory_mb + used, seconds)
    confine(home)
    guard(home)
    names: dict[str, Any] = {
        "__name__": "__main__",
        "get_ipython": lambda: _NoShell(),
        "display": lambda *things, **options: None,
    }
    while True:
        kind, content = pickle.loads(wire.receive(requests))
        if kind == "run":
            wire.send(answers, wire.encode(run_cells(content, names, step_seconds)))
        else:
            wire.send(answers, wire.encode(_answer(names, content, step_seconds)))


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
        except (KeyboardInterrupt, SystemExit, TooSlow, Exception) as error:
            if isinstance(error, Wrong | NotImplementedError):
                continue  # an exercise that is not solved
            place = f"code cell {number + 1} of {len(sources)}"
            errors[number] = f"{place} stopped with {type(error).__name__}: {error}"[:ERROR_LENGTH]
    return errors


def _answer(names: dict[str, Any], content: tuple[Any, ...], step_seconds: int) -> dict[str, Any]:
    """The value of a name, or the result of calling it, with the state of the models passed in."""
    name, arguments, options = content
    if name not in names:
        return {"missing": True}
    if arguments is None:
        return {"callable": True} if callable(names[name]) else {"value": names[name]}
    models = [value for value in (*arguments, *options.values()) if isinstance(value, nn.Module)]
    try:
        with _alarm(step_seconds):
            value = call(names[name], *arguments, **options)
    except TooSlow as error:
        return {"wrong": f"your function was stopped: {error}."}
    except Wrong as wrong:
        return {"wrong": str(wrong)}
    except BaseException as error:
        return {"wrong": f"your function stopped with {type(error).__name__}."}
    return {
        "value": value,
        "models": [dict(model.state_dict()) for model in models],
        "slopes": [any(weight.grad is not None for weight in model.parameters()) for model in models],
        "seen": [model.seen if isinstance(model, Watched) else [] for model in models],
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


if __name__ == "__main__":
    main(int(sys.argv[1]))
