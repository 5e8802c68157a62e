"""Limits that a process sets on itself before it runs an untrusted notebook.

Memory, CPU time, processes, open files and file size: ``resource`` limits, which cannot be raised again. Files: on
Linux 5.13 and later, Landlock, a rule of the kernel that cannot be taken back. Everywhere, a Python audit hook refuses
to change files elsewhere, to start, signal or look into processes, to set limits and to connect. The hook stops
accidents and simple malice; it is no wall against someone who knows CPython well. Where the system gives them, the
namespaces of ``meddef.course.isolation`` are that wall.
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
FILE_MB, OPEN_FILES, PROCESSES = 64, 128, 64
COUNTED_PER_NAMESPACE = (5, 14)  # the Linux that first counts processes per user namespace, not per account
# linux/landlock.h: every right to change files, by ABI; what is listed is refused outside the folder
_WRITE = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))
_REFER, _TRUNCATE, _TCP, _SIGNAL = 1 << 13, 1 << 14, 0b11, 0b10
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_REFUSED = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.kill",
    "os.killpg", "signal.pthread_kill", "resource.setrlimit", "resource.prlimit", "ctypes.dlopen", "ctypes.dlsym",
    "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "socket.getnameinfo",
)  # fmt: skip
_CHANGES = {
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),), "os.truncate": ((0, None),), "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),), "os.utime": ((0, 3),), "os.setxattr": ((0, None),), "os.removexattr": ((0, None),),
    "os.chflags": ((0, None),), "shutil.rmtree": ((0, 1),), "shutil.move": ((0, None), (1, None)),
}  # fmt: skip
"""Audit event -> where its arguments have each path, and the handle of the folder that a relative path starts from."""


def limit(memory_mb: int, seconds: int, *, own_namespace: bool) -> None:
    """Limit memory, CPU time, processes, open files and the size of a file; no core dumps, no message queues.

    ``memory_mb`` is on top of what is mapped now, and holds for memory that is shared too. CPU time is limited to what
    all cores can use in ``seconds`` of wall time. The grader enforces wall time; this limit only catches processes it
    lost track of. Processes are limited where the kernel counts those of this namespace only.
    """
    mapped = _mapped()
    for what, most in (
        (resource.RLIMIT_AS, memory_mb * MB + mapped),
        (resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1)),
        (resource.RLIMIT_FSIZE, FILE_MB * MB),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        *([(resource.RLIMIT_MSGQUEUE, 0)] if hasattr(resource, "RLIMIT_MSGQUEUE") else []),
        *([(resource.RLIMIT_NPROC, PROCESSES)] if own_namespace and _counted_per_namespace() else []),
    ):
        resource.setrlimit(what, (most, most))


def _mapped() -> int:
    """Bytes of address space in use; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _counted_per_namespace() -> bool:
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return sys.platform == "linux" and tuple(int(n) for n in numbers if n.isdigit()) >= COUNTED_PER_NAMESPACE


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
    """Add an audit hook that refuses changes outside ``folder``, other processes, limits, signals and connections."""
    root = os.path.realpath(folder)
    own = f"/proc/{os.getpid()}"

    def place(path: Any, start: Any = None) -> str:
        if isinstance(path, int):
            return os.path.realpath(f"/proc/self/fd/{path}")
        base = place(start) if isinstance(start, int) and start >= 0 else ""
        return os.path.realpath(os.path.join(base, os.fsdecode(path)))

    def outside(where: str) -> bool:
        return not _within(where, root) and where != os.devnull

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int):
                return
            where = place(path)
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            # the event does not tell the folder that a relative path starts from, so there are no handles of folders
            if outside(where) and (writes or os.path.isdir(where)):
                raise PermissionError(f"a submission may not write {os.fsdecode(path)}")
            if where.startswith("/proc/") and where.split(os.sep)[2].isdigit() and not _within(where, own):
                raise PermissionError("a submission may not look into other processes")
        elif event in _CHANGES:
            for position, handle in _CHANGES[event]:
                start = arguments[handle] if handle is not None and handle < len(arguments) else None
                if outside(place(arguments[position], start)):
                    raise PermissionError(f"a submission may not change {arguments[position]!r}")
        elif event in _REFUSED:
            raise PermissionError(f"a submission may not use {event}")

    sys.addaudithook(hook)


def _within(where: str, folder: str) -> bool:
    return where == folder or where.startswith(folder + os.sep)
