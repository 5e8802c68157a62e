"""The process that forks a confined child for each submission, and the grader's end of the pipes to it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from meddef.course import isolation, wire
from meddef.course.altered import imitate
from meddef.course.answers import ALTERED, Wrong
from meddef.course.kit import Watched
from meddef.errors import RunFailed

START_SECONDS, ANSWER_SECONDS = 180, 60


@dataclass(frozen=True)
class Limits:
    """Limits of one submission: total seconds, CPU seconds per cell or call, MB of memory on top of the libraries'."""

    seconds: int = 300
    step_seconds: int = 60
    memory_mb: int = 2048


class Workshop:
    """The process that forks a child for each submission; restarted if it ends.

    ``without``: why it has no namespaces of its own on this system; empty where it has them.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._base = Path(tempfile.mkdtemp(prefix="meddef-course-"))
        self.without = isolation.missing(self._base)

    def _start(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        self._end()
        ours, theirs = socket.socketpair()
        package = Path(__file__).resolve().parents[2]
        folder = str(self._base) if self.without else isolation.HOME
        environment = {
            "PATH": isolation.PATH, "PYTHONPATH": str(package), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder, "MPLCONFIGDIR": folder,
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "meddef.course.worker",
            folder,
            str(theirs.fileno()),
            str(self._base),
        ]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command if self.without else isolation.wrapped(command, self._base),
            stdin=quiet, stdout=quiet, stderr=quiet, env=environment, cwd="/",
            pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()
        ours.settimeout(START_SECONDS)
        self._channel = ours
        if self._reply() != b"ready":
            self._end()
            raise RunFailed(
                "the process that runs submissions did not start: try 'python -c \"import meddef.course.worker\"'"
            )
        ours.settimeout(ANSWER_SECONDS)
        return ours

    def _reply(self) -> bytes:
        """What the process says; nothing if it has ended or does not answer."""
        try:
            return self._channel.recv(16) if self._channel is not None else b""
        except OSError:
            return b""

    @contextlib.contextmanager
    def child(self, limits: Limits) -> Iterator[tuple[int, int]]:
        """Pipes, which do not block, to and from a fresh child with its own folder; all of it is killed at the end.

        Raises ``wire.Silent`` if there is no child to be had.
        """
        channel = self._start()
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        try:
            wishes = {
                "memory_mb": limits.memory_mb, "seconds": limits.seconds, "step_seconds": limits.step_seconds,
            }  # fmt: skip
            try:
                socket.send_fds(channel, [json.dumps(wishes).encode()], [theirs_in, theirs_out])
            except OSError:
                raise wire.Silent("the process that runs submissions ended") from None
            finally:
                os.close(theirs_in)
                os.close(theirs_out)
            if self._reply() != b"started":
                raise wire.Silent("the process that runs submissions ended")
            os.set_blocking(ours_in, False)
            os.set_blocking(ours_out, False)
            yield ours_in, ours_out
        finally:
            os.close(ours_in)
            os.close(ours_out)
            with contextlib.suppress(OSError):
                channel.sendall(b"end")
            if self._reply() != b"ended":
                self._end()

    def _end(self) -> None:
        """End the process, and with it everything in its namespaces."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ANSWER_SECONDS)
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its folder."""
        self._end()
        for command in (["chmod", "-R", "u+rwx", "--"], ["rm", "-rf", "--"]):
            subprocess.run([*command, str(self._base)], stderr=subprocess.DEVNULL, check=False)


class Student:
    """The child at the other end of the pipes, which runs cells and returns values."""

    def __init__(self, pipes: tuple[int, int], limits: Limits) -> None:
        self._in, self._out = pipes
        self._deadline = time.monotonic() + limits.seconds
        self.gone = ""

    def ask(self, kind: str, content: Any) -> dict[Any, Any]:
        """Raises ``wire.Silent`` if no reply arrives until the deadline, ``Wrong`` if it cannot be read."""
        if self.gone:
            raise wire.Silent(self.gone)
        try:
            wire.send(self._out, pickle.dumps((kind, content)), self._deadline)
            reply = wire.decode(wire.receive(self._in, self._deadline))
        except wire.Unreadable as error:
            raise Wrong(f"the notebook's process sent {error}.") from None
        except (wire.Silent, OSError) as error:
            self.gone = str(error) if isinstance(error, wire.Silent) else "the process ended"
            raise wire.Silent(self.gone) from None
        if not isinstance(reply, dict):
            raise Wrong("the notebook's process sent an answer that cannot be read.")
        if "wrong" in reply:
            raise Wrong(str(reply["wrong"]))
        return reply

    def answer(self, name: str) -> Any:
        """The notebook's ``name``: a value, or a proxy that calls the function in the child."""
        reply = self.ask("answer", (name, None, None))
        if "missing" in reply:
            raise Wrong(f"the notebook has no `{name}`, or the cell that defines it stopped before.")
        return Remote(self, name) if reply.get("callable") is True else reply.get("value")


@dataclass(frozen=True)
class Remote:
    """Proxy for a function of the notebook; returns its result, and makes the models passed in look like the child's.

    The models passed in are copies (``meddef.course.answers.call``), which are compared with their originals then.
    """

    student: Student
    name: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        reply = self.student.ask("answer", (self.name, arguments, options))
        models = [value for value in (*arguments, *options.values()) if isinstance(value, nn.Module)]
        try:
            for model, description, seen in zip(models, reply["models"], reply["seen"], strict=True):
                imitate(model, description)
                if isinstance(model, Watched):
                    model.seen = list(seen)
            return reply["value"]
        except Exception:  # a submission may send anything; whatever does not fit is a wrong answer
            raise Wrong(ALTERED.format("its layers")) from None
