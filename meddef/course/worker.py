"""The process that runs submissions: imports torch once, then forks a confined child for each notebook.

Started by ``meddef.course.workshop`` as ``python -m meddef.course.worker FOLDER SOCKET NAME``, with an empty
environment, and in namespaces of its own where the system gives them: there it is process 1, and what a child leaves
behind is killed whatever it did. Elsewhere it adopts what its children leave behind, where the system allows that,
and kills it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot  # noqa: F401  (before files are closed to it)
import pandas  # noqa: F401

import meddef.attacks
import meddef.pruning
import meddef.training.schedule  # noqa: F401
from meddef.course import child
from meddef.course.answers import LABS, exercises

LONGEST_KILL = 5.0
_DUMPABLE, _SUBREAPER = 4, 36  # linux/prctl.h


def main(place: Path, handle: int) -> None:
    """Fork a child for each request (limits, two pipes); on command, kill all that it started, and report.

    Ends with the grader, and when a child has changed this process's limits: the grader then starts another one.
    """
    for lab in LABS:
        exercises(lab)
    adopt()
    _hide()
    limits = _limits()
    with socket.socket(fileno=handle) as channel:
        channel.sendall(b"ready")
        while True:
            request, handles, _, _ = socket.recv_fds(channel, 1 << 16, 2)
            if not request:
                return
            folder = Path(tempfile.mkdtemp(prefix="submission-", dir=place))
            started = os.fork()
            if started == 0:
                channel.close()
                os.setsid()
                with contextlib.suppress(BaseException):
                    child.serve(handles[0], handles[1], folder, **json.loads(request))
                os._exit(0)
            for pipe in handles:
                os.close(pipe)
            channel.sendall(b"started")
            channel.recv(1 << 16)
            kill(started)
            remove(folder)
            if _limits() != limits or folder.exists():
                return
            channel.sendall(b"ended")


def adopt(*, on: bool = True) -> None:
    """Make this process the parent of what its descendants leave behind, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, int(on), 0, 0, 0)


def _hide() -> None:
    """Close this process's environment and memory to other processes of the account, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)


def _limits() -> list[tuple[int, int]]:
    kinds = (getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
    return [resource.getrlimit(kind) for kind in kinds]


def kill(started: int) -> None:
    """Kill a child, its group, and what it or its children left behind; wait for all of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started, signal.SIGKILL)
    end = time.monotonic() + LONGEST_KILL
    while time.monotonic() < end:
        if os.getpid() == 1:  # in a namespace of processes of its own: all others inside
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            for left in adopted():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
        except ChildProcessError:
            return


def adopted() -> list[int]:
    """Processes whose parent is this one, as ``/proc`` tells; none where it does not."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(place.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(place.parent.name))
    return found


def remove(folder: Path) -> None:
    """Remove a folder of any depth, whatever the rights of what is in it."""
    for command in (["chmod", "-R", "u+rwx", "--"], ["rm", "-rf", "--"]):
        subprocess.run([*command, str(folder)], stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)  # what torch would clear up ends with the process
