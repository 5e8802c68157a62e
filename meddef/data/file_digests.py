"""SHA-256 of files, cached by size and modification time."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from meddef.atomic import sha256_of, write_text

Stamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


def file_digests(root: Path, names: list[str], cache_dir: Path) -> list[str]:
    """The SHA-256 of each of ``names`` below ``root``, in their order; "" for one that cannot be opened."""
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()
    memory = cache_dir / f"files-{place[:20]}.json"
    known = _recall(memory)
    stamps = [_stamp(root / name) for name in names]
    new = [name for name, stamp in zip(names, stamps, strict=True) if known.get(name, ((), ""))[0] != stamp]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        fresh = dict(zip(new, threads.map(lambda name: _digest(root / name), new), strict=True))
    digests = [fresh[name] if name in fresh else known[name][1] for name in names]
    if new:
        merged = known | {n: (s, d) for n, s, d in zip(names, stamps, digests, strict=True)}
        write_text(memory, json.dumps(merged))
    return digests


def _recall(memory: Path) -> dict[str, tuple[Stamp, str]]:
    if not memory.is_file():
        return {}
    try:
        entries = json.loads(memory.read_text(encoding="utf-8"))
        return {name: ((stamp[0], stamp[1]), str(digest)) for name, (stamp, digest) in entries.items()}
    except (ValueError, TypeError, AttributeError, LookupError):
        return {}  # only a memory: a damaged one costs reading the files again


def _stamp(path: Path) -> Stamp:
    if not path.is_file():
        return (-1, -1)
    status = path.stat()
    return (status.st_size, status.st_mtime_ns)


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ""
