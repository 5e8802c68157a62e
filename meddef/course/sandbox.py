"""Limits that a process sets on itself before it runs an untrusted notebook.

Memory, CPU time and file size: ``resource`` limits. Files: on Linux 5.13 and later, Landlock, a rule of the kernel that
cannot be taken back. Everywhere, a Python audit hook refuses to change files elsewhere, to start or signal processes
and to connect. The hook stops accidents and simple malice; it is no wall against someone who knows CPython well.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from pathlib import Path
from typing import Any

MB = 1 << 20
FILE_MB = 64
# linux/landlock.h: every right to change files, by ABI; what is listed is refused outside the folder
_WRITE = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))
_REFER, _TRUNCATE, _TCP, _SIGNAL = 1 << 13, 1 << 14, 0b11, 0b10
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_REFUSED = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.kill",
    "os.killpg", "signal.pthread_kill", "socket.connect", "socket.bind", "socket.sendto",
    "ctypes.dlopen", "ctypes.dlsym",
)  # fmt: skip
_CHANGES = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.move",
)  # fmt: skip


def limit(memory_mb: int, seconds: int) -> None:
    """Limit memory, CPU time and the size of a file; no core dumps.

    CPU time is limited to what all cores can use in ``seconds`` of wall time. The grader enforces wall time; this limit
    only catches processes it lost track of.
    """
    for what, most in (
        (resource.RLIMIT_DATA, memory_mb * MB),
        (resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1)),
        (resource.RLIMIT_FSIZE, FILE_MB * MB),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def confine(folder: Path) -> bool:
    """Irrevocably confine writes of this process and its children to ``folder``; False if the kernel cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = _WRITE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    parts = [rights, _TCP if version >= 4 else 0, _SIGNAL if version >= 6 else 0]
    length = 1 if version < 4 else 2 if version < 6 else 3
    attributes = struct.pack(f"={length}Q", *parts[:length])
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for place, allowed in ((folder, rights), (Path(os.devnull), rights & (1 << 1 | _TRUNCATE))):
            handle = os.open(place, os.O_PATH)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, handle))
            failed = libc.syscall(_ADD, ruleset, 1, rule, 0)
            os.close(handle)
            if failed:
                return False
        no_new_privileges = 38
        return not libc.prctl(no_new_privileges, 1, 0, 0, 0) and not libc.syscall(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def guard(folder: Path) -> None:
    """Add an audit hook that refuses changes outside ``folder``, other processes, signals and connections."""
    root = os.path.realpath(folder)
    devices = (os.devnull,)

    def place(path: Any) -> str:
        if isinstance(path, int):
            return os.path.realpath(f"/proc/self/fd/{path}")
        return os.path.realpath(os.fsdecode(path))

    def outside(path: Any) -> bool:
        where = place(path)
        return where != root and not where.startswith(root + os.sep) and where not in devices

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            if writes and not isinstance(path, int) and outside(path):
                raise PermissionError(f"a submission may not write {os.fsdecode(path)}")
        elif event in _CHANGES:
            folder_handle = next((a for a in arguments[1:] if isinstance(a, int) and a > 2), None)
            paths = [a for a in arguments if isinstance(a, str | bytes | os.PathLike)]
            if folder_handle is not None and event in ("os.remove", "os.rmdir") and outside(folder_handle):
                raise PermissionError("a submission may not change files of others")
            if folder_handle is None and any(outside(path) for path in paths):
                raise PermissionError(f"a submission may not change {os.fsdecode(paths[0])}")
        elif event in _REFUSED:
            raise PermissionError(f"a submission may not use {event}")

    sys.addaudithook(hook)
