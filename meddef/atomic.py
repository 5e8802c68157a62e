"""Files that appear whole or not at all (write beside, fsync, rename), and folders in which one process works."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meddef.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block succeeds, and is removed otherwise.

    Raises:
        InputError: ``path`` is a folder, which nothing here makes.
    """
    with _beside(path) as (handle, temporary):
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def alone(folder: Path, refusal: str) -> Iterator[None]:
    """One process at a time holds ``folder``, which is made; the lock ends with the process in any case.

    Raises:
        InputError: another one holds it; the message is ``refusal``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(refusal) from error
        yield


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old file or the new one, never a part.

    After a power cut a file that is not ``durable`` may be empty: only for what is verified when it is read and can be
    made again.
    """
    with _beside(path) as (handle, _), open(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(handle)


@contextmanager
def _beside(path: Path) -> Iterator[tuple[int, Path]]:
    """An open file beside ``path``, as a handle and its place, that replaces ``path`` when the block succeeds."""
    if path.is_dir():
        raise InputError(f"{path} is a folder where a file belongs: remove it and run the same command again")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        os.fchmod(handle, 0o644)
        yield handle, temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
