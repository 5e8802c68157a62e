"""``meddef course grade``: each submission runs in its own confined process; the checks run in the grader.

A submission's process returns answers: values, and results of calls to its functions. The checks, and so the
marks, stay in this process. What a notebook prints, or makes of ``check``, has no influence.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from meddef.course import wire
from meddef.course.answers import LABS, Wrong, exercises, judge, variable
from meddef.course.kit import Watched
from meddef.errors import InputError, RunFailed

LARGEST_FILE = 20 << 20
START_SECONDS = 180


@dataclass(frozen=True)
class Limits:
    """Limits of one submission: total seconds, CPU seconds per cell or call, MB of memory on top of the libraries'."""

    seconds: int = 300
    step_seconds: int = 60
    memory_mb: int = 2048


@dataclass
class Marked:
    """One row of the result: exercise -> (points, message of the check); ``status``: any other error."""

    submission: str
    lab: str = ""
    status: str = "ran"
    exercises: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def points(self) -> int:
        return sum(points for points, _ in self.exercises.values())


class Workshop:
    """The process that forks a confined child for each submission; restarted if it ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def _start(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        self.close()
        ours, theirs = socket.socketpair()
        package = Path(__file__).resolve().parents[2]
        environment = {
            "PATH": os.defpath, "PYTHONPATH": str(package), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0", "LANG": "C.UTF-8",
        }  # fmt: skip
        command = [sys.executable, "-m", "meddef.course.worker", str(theirs.fileno())]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment, cwd="/",
            pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()
        ours.settimeout(START_SECONDS)
        if ours.recv(16) != b"ready":
            raise RunFailed(
                "the process that runs submissions did not start: try 'python -c \"import meddef.course.worker\"'"
            )
        self._channel = ours
        return ours

    @contextlib.contextmanager
    def child(self, limits: Limits) -> Iterator[tuple[int, int]]:
        """Pipes to and from a fresh child with its own folder; its process group is killed at the end."""
        channel = self._start()
        with tempfile.TemporaryDirectory(prefix="meddef-course-") as folder:
            theirs_in, ours_out = os.pipe()
            ours_in, theirs_out = os.pipe()
            try:
                wishes = {
                    "folder": folder, "memory_mb": limits.memory_mb, "seconds": limits.seconds,
                    "step_seconds": limits.step_seconds,
                }  # fmt: skip
                socket.send_fds(channel, [json.dumps(wishes).encode()], [theirs_in, theirs_out])
                channel.recv(16)
                os.close(theirs_in)
                os.close(theirs_out)
                yield ours_in, ours_out
            finally:
                os.close(ours_in)
                os.close(ours_out)
                with contextlib.suppress(OSError):
                    channel.sendall(b"end")
                    channel.recv(16)

    def close(self) -> None:
        """End the process."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None


class Student:
    """The child at the other end of the pipes, which runs cells and returns values."""

    def __init__(self, pipes: tuple[int, int], limits: Limits) -> None:
        self._in, self._out = pipes
        self._deadline = time.monotonic() + limits.seconds
        self.gone = ""

    def ask(self, kind: str, content: Any) -> Any:
        """Raises ``wire.Silent`` if no reply arrives."""
        if self.gone:
            raise wire.Silent(self.gone)
        try:
            wire.send(self._out, pickle.dumps((kind, content)))
            return wire.decode(wire.receive(self._in, self._deadline))
        except (wire.Silent, OSError) as error:
            self.gone = str(error) if isinstance(error, wire.Silent) else "the process ended"
            raise wire.Silent(self.gone) from None

    def answer(self, name: str) -> Any:
        """The notebook's ``name``: a value, or a proxy that calls the function in the child."""
        reply = _dict(self.ask("answer", (name, None, None)))
        if "missing" in reply:
            raise Wrong(f"the notebook has no `{name}`, or the cell that defines it stopped before.")
        return Remote(self, name) if reply.get("callable") is True else reply.get("value")


@dataclass(frozen=True)
class Remote:
    """Proxy for a function of the notebook; returns its result and updates the state of models passed in."""

    student: Student
    name: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        reply = _dict(self.student.ask("answer", (self.name, arguments, options)))
        if "wrong" in reply:
            raise Wrong(str(reply["wrong"]))
        models = [value for value in (*arguments, *options.values()) if isinstance(value, nn.Module)]
        try:
            for model, state, slopes, seen in zip(
                models, reply["models"], reply["slopes"], reply["seen"], strict=True
            ):
                model.load_state_dict(state)
                for weight in model.parameters() if slopes else ():
                    weight.grad = weight.detach().clone()
                if isinstance(model, Watched):
                    model.seen = list(seen)
        except Exception:  # a submission may send anything; whatever does not fit is a wrong answer
            raise Wrong("the returned model is not the original one.") from None
        return reply["value"]


def _dict(reply: Any) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise wire.Silent("an answer that cannot be read")
    return reply


def grade(paths: list[Path], limits: Limits | None = None) -> Iterator[Marked]:
    """Mark submissions one after the other, whatever they do. Raises InputError if a path is not a file."""
    limits = limits or Limits()
    for path in paths:
        if not path.is_file():
            raise InputError(f"no file {path}: name the students' notebooks")
    workshop = Workshop()
    try:
        for path in paths:
            yield _grade(path, limits, workshop)
    finally:
        workshop.close()


def _grade(path: Path, limits: Limits, workshop: Workshop) -> Marked:
    marked = Marked(path.name)
    try:
        marked.lab, sources = read_submission(path)
    except InputError as error:
        marked.status = str(error)
        return marked
    wanted = exercises(marked.lab)
    try:
        with workshop.child(limits) as pipes:
            student = Student(pipes, limits)
            errors = [str(text) for text in _dict(student.ask("run", sources)).values()]
            marked.status = errors[0] if errors else "ran"
            for name in wanted:
                marked.exercises[name] = _mark(name, student)
    except wire.Silent as silence:
        marked.status = _last_words(str(silence), limits)
    for name in wanted:
        marked.exercises.setdefault(name, (0, marked.status))
    return marked


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
        return 0, str(wrong).removeprefix(f"{name}: ")
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
