"""Preprocessed images on disk: one .npy of uint8 and one .json per pool, under a key of everything that affects them.

The key covers the contents and names of the files, the preprocessing, the image size, and the code and
libraries that decode and preprocess; not the folder's path nor time stamps. The .json is written last, so a pool
without one is incomplete and ignored. It holds the SHA-256 of each image and its own (earlier
versions did not write that): whatever differs from them when it is read is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagehash
import numpy as np
import PIL

from meddef.atomic import replacing, write_text
from meddef.data.duplicates import pixel_digest
from meddef.data.pool import Index
from meddef.error_source import in_a_line
from meddef.errors import InputError

logger = logging.getLogger(__name__)

MAKES_PIXELS = ("decode.py", "depth.py", "dicom.py", "duplicates.py", "pool.py", "preprocessing.py")
"""Source files whose change makes every stored pool stale."""
CHECKSUM = "sha256"
"""Where a stored index holds its own; what reads an index without it does not mind it."""


@dataclass(frozen=True)
class Pool:
    """``images`` is a read-only memory map, uint8 (N, H, W) or (N, H, W, 3), in the order of ``index``."""

    images: np.ndarray
    index: Index


def find_cache_dir(cache_dir: Path | None) -> Path:
    """``cache_dir``, or ``MEDDEF_CACHE_DIR``, or ~/.cache/meddef; made if missing, ``InputError`` if that fails."""
    named = os.environ.get("MEDDEF_CACHE_DIR")
    folder = Path(cache_dir or named or Path.home() / ".cache" / "meddef")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the cache folder {folder}: {error.strerror}; set MEDDEF_CACHE_DIR"
        ) from None
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"cannot write to the cache folder {folder}; set MEDDEF_CACHE_DIR to one that can be written"
        )
    return folder


def content_key(*parts: object) -> str:
    """SHA-256 over JSON-able parts, the source in ``MAKES_PIXELS``, and the versions of the libraries that
    touch pixels."""
    versions = [cv2.__version__, PIL.__version__, imagehash.__version__, np.__version__]
    return hashlib.sha256(json.dumps([*parts, source_digest(*MAKES_PIXELS), versions]).encode()).hexdigest()


def cached_pool(cache_dir: Path, name: str, key: str, build: Callable[[Path], Index]) -> Pool:
    """The pool stored under ``key``, or the one that ``build`` makes: it writes the .npy it is given."""
    stem = f"{name}-{key[:20]}"
    images_path, index_path = cache_dir / f"{stem}.npy", cache_dir / f"{stem}.json"
    with _locked(cache_dir / f"{stem}.lock"):
        if (pool := _load(images_path, index_path, key)) is not None:
            return pool
        for left_over in cache_dir.glob(f".{stem}.*"):
            left_over.unlink()
        with replacing(images_path) as unfinished:
            index = build(unfinished)
        content = index.model_dump(mode="json")
        write_text(index_path, json.dumps(content | {CHECKSUM: _checksum(content, key)}))
        pool = _load(images_path, index_path, key)
    if pool is None:
        raise InputError(
            f"the cache {images_path} cannot be read back: is the disk full? set MEDDEF_CACHE_DIR"
        )
    return pool


def _load(images_path: Path, index_path: Path, key: str) -> Pool | None:
    """What is stored, if every image and what is known of it is what was stored; None (logged) otherwise."""
    if not index_path.exists():
        return None
    try:
        content = json.loads(index_path.read_bytes())
        checksum = content.pop(CHECKSUM, None)
        if checksum not in (None, _checksum(content, key)):
            raise ValueError("its checksum does not match")
        index = Index.model_validate(content)
        images = np.load(images_path, mmap_mode="r", allow_pickle=False)
        _check(images, index)
    except (OSError, EOFError, ValueError, AttributeError, TypeError) as error:
        logger.warning("cache %s cannot be used (%s): preparing again", index_path, in_a_line(error))
        return None
    return Pool(images, index)


def _checksum(content: Mapping[str, object], key: str) -> str:
    return hashlib.sha256(json.dumps([key, content], sort_keys=True).encode()).hexdigest()


def _check(images: np.ndarray, index: Index) -> None:
    """``ValueError`` unless there is one image per row of the index, and each is the one whose digest it holds."""
    fields = (
        index.names,
        index.labels,
        index.patients,
        index.splits,
        index.digests,
        index.sums,
        index.squares,
    )
    if images.dtype != np.uint8 or {len(field) for field in fields} != {len(images)}:
        raise ValueError(f"{len(images)} images of {images.dtype} for {len(index.names)} names")
    plain = images.view(np.ndarray)  # without the cost of a memory map's slices
    for row, digest in enumerate(index.digests):
        if pixel_digest(plain[row]) != digest:
            raise ValueError(f"the pixels of {index.names[row]} are not those that were prepared")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the system frees the lock when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def source_digest(*patterns: str) -> str:
    """SHA-256 of the files beside this one that match."""
    folder = Path(__file__).parent
    sources = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
