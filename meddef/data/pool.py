"""All images of a dataset, decoded and preprocessed once, before any split policy; stored by ``cache``."""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel
from tqdm import tqdm

from meddef.data import duplicates
from meddef.data.decode import UnreadableImage, quiet_decoding
from meddef.data.preprocessing import Preprocessing
from meddef.data.source import Source
from meddef.errors import InputError
from meddef.image_size import Size, sides

SHOWN = 3
"""Unusable files that an error message names."""


class Problem(BaseModel):
    """A file that cannot be used, and why."""

    name: str
    reason: str


class Index(BaseModel):
    """Facts about each of the N images of a pool, in order; groups hold positions.
    ``near`` is None where near duplicates were not searched for. ``read_as`` counts files that are not plain 8-bit
    grey.

    ``digests`` are SHA-256 of the prepared pixels; ``sums`` and ``squares`` are sums of values and of
    their squares, exact integers, from which mean and standard deviation of any subset follow.
    """

    names: list[str]
    labels: list[int]
    patients: list[str | None]
    splits: list[str]
    digests: list[str]
    sums: list[int]
    squares: list[int]
    exact: list[list[int]]
    near: list[list[int]] | None
    skipped: list[Problem]
    read_as: dict[str, int] = {}


class _Prepared(NamedTuple):
    source_digest: str
    digest: str
    total: int
    squares: int
    thumbnail: np.ndarray
    hash: np.ndarray
    how_read: list[str]


def prepare(
    source: Source,
    path: Path,
    *,
    dataset: str,
    image_size: Size,
    colour: bool = False,
    preprocessing: Preprocessing,
    skip_unreadable: bool,
    progress: bool,
) -> Index:
    """Write the prepared images to ``path`` as .npy, uint8 (N, H, W), with ``colour`` (N, H, W, 3), and return what is
    known about them.

    Raises ``InputError`` that counts the unusable files and names the first few, unless ``skip_unreadable``;
    also when nothing is left.
    """
    count = len(source.items)
    shape = (count, *sides(image_size), *((3,) if colour else ()))
    _check_space(path.parent, math.prod(shape))
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def prepare_one(index: int) -> _Prepared | Problem:
        try:
            pixels = source.read(index)
        except UnreadableImage as error:
            return Problem(name=source.items[index].name, reason=str(error))
        if colour and pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        images[index] = preprocessing.apply(pixels, image_size)
        return _describe(pixels, images[index], source.how_read(index), with_hash=source.find_near_duplicates)

    with quiet_decoding(), _pool_of_threads() as threads:
        bar = tqdm(total=count, desc=f"{dataset}: prepare", unit="image", disable=None if progress else True)
        with bar:
            results = []
            for result in threads.map(prepare_one, range(count)):
                results.append(result)
                bar.update()
    images.flush()

    kept = [index for index, result in enumerate(results) if isinstance(result, _Prepared)]
    problems = [result for result in results if isinstance(result, Problem)]
    if (problems and not skip_unreadable) or not kept:
        raise InputError(describe_problems(dataset, problems, count))
    if problems:
        _keep_rows(images, kept, path)
    return _index(source, kept, [result for result in results if isinstance(result, _Prepared)], problems)


def describe_problems(dataset: str, problems: list[Problem], count: int) -> str:
    """One line: how many files cannot be used, the first few with the reason, and what to do."""
    shown = "; ".join(f"{problem.name} ({problem.reason})" for problem in problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return (
        f"{dataset}: {len(problems)} of {count} files cannot be used: {shown}{more}; "
        "remove them, or skip them with --skip-unreadable"
    )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"the cache needs {needed / 1e6:,.0f} MB in {folder}, which has {free / 1e6:,.0f} MB free; "
            "make room or set MEDDEF_CACHE_DIR"
        )


def _describe(pixels: np.ndarray, prepared: np.ndarray, how_read: list[str], *, with_hash: bool) -> _Prepared:
    small = duplicates.thumbnail(pixels)
    values = prepared.astype(np.int64)
    return _Prepared(
        duplicates.pixel_digest(pixels),
        duplicates.pixel_digest(prepared),
        int(values.sum()),
        int((values * values).sum()),
        small,
        duplicates.perceptual_hash(small) if with_hash else np.zeros(0, dtype=bool),
        how_read,
    )


def _index(source: Source, kept: list[int], results: list[_Prepared], problems: list[Problem]) -> Index:
    exact = duplicates.exact_groups([result.source_digest for result in results])
    near = None
    if source.find_near_duplicates:
        copies = {index for group in exact for index in group[1:]}
        originals = np.array([index for index in range(len(results)) if index not in copies])
        hashes = np.stack([results[index].hash for index in originals])
        thumbnails = np.stack([results[index].thumbnail for index in originals])
        groups = duplicates.near_groups(hashes, thumbnails)
        near = [originals[group].tolist() for group in groups]
    items = [source.items[index] for index in kept]
    return Index(
        names=[item.name for item in items],
        labels=[item.label for item in items],
        patients=[item.patient for item in items],
        splits=[item.split for item in items],
        digests=[result.digest for result in results],
        sums=[result.total for result in results],
        squares=[result.squares for result in results],
        exact=exact,
        near=near,
        skipped=problems,
        read_as=dict(Counter(word for result in results for word in result.how_read)),
    )


def _keep_rows(images: np.ndarray, kept: list[int], path: Path) -> None:
    """Replace the file by one without the rows of unusable images."""
    shorter = path.with_name(path.name + ".kept")
    target = np.lib.format.open_memmap(
        shorter, mode="w+", dtype=np.uint8, shape=(len(kept), *images.shape[1:])
    )
    for row, index in enumerate(kept):
        target[row] = images[index]
    target.flush()
    shorter.replace(path)


@contextmanager
def _pool_of_threads() -> Iterator[ThreadPoolExecutor]:
    """One thread per core; on an error, pending tasks are cancelled."""
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        yield threads
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
