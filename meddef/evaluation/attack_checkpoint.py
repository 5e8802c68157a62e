"""An attack cell batch by batch: finished batches are kept on disk, so that a killed cell resumes after them.

Random numbers are derived from the images, so a batch does not depend on what was attacked before it. What is
kept names its cell and has a checksum (earlier versions wrote neither), and must be the outcome of this cell's images.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meddef.atomic import write_text
from meddef.evaluation.metrics import ARRAYS, Evaluation

logger = logging.getLogger(__name__)
EVERY_SECONDS = 30.0


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """The outcome over all images from the outcomes of the batches, in their order."""
    return Evaluation(
        labels=np.concatenate([part.labels for part in parts]),
        before=np.concatenate([part.before for part in parts]),
        after=np.concatenate([part.after for part in parts]),
        linf=max(part.linf for part in parts),
        l0=max(part.l0 for part in parts),
        num_classes=parts[0].num_classes,
    )


def place(run_folder: Path, key: str) -> Path:
    """Where the cell ``key`` keeps its batches while it is running."""
    return run_folder / "unfinished" / f"{key}.json"


def images_done(run_folder: Path, key: str) -> int:
    """Images finished by the running cell ``key``; 0 where nothing was kept."""
    path = place(run_folder, key)
    if not path.is_file():
        return 0
    try:
        return sum(len(part["labels"]) for part in _read(path)["parts"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _read(path: Path) -> dict[str, Any]:
    """What ``path`` holds; ``ValueError``, ``KeyError`` or ``TypeError`` unless it is what was written for its cell."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content.pop("sha256", None) not in (None, _digest(content)):
        raise ValueError("its checksum does not match")
    if content.get("key", path.stem) != path.stem:
        raise ValueError(f"it is of cell {content['key']}")
    return content


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Unfinished:
    """The batches of one cell that are done, and the warnings they gave.

    Args:
        path: the cell's file; it is written at most every ``EVERY_SECONDS``, so short cells leave none.
        size: images per batch; batches kept under another size are discarded.
        labels: (n,), of the images in the order in which they are attacked.
    """

    def __init__(self, path: Path, size: int, labels: np.ndarray) -> None:
        self.path, self.size, self.labels = path, size, labels
        self.parts: list[Evaluation] = []
        self.warnings: set[str] = set()
        self._saved = time.monotonic()
        self._load()

    def add(self, part: Evaluation, warned: Iterable[str]) -> None:
        """One batch more."""
        self.parts.append(part)
        self.warnings |= set(warned)
        if time.monotonic() - self._saved >= EVERY_SECONDS:
            content = self._content()
            write_text(self.path, json.dumps(content | {"sha256": _digest(content)}))
            self._saved = time.monotonic()

    def finish(self) -> Evaluation:
        """The whole outcome; deletes the file."""
        self.path.unlink(missing_ok=True)
        return joined(self.parts)

    def _content(self) -> dict[str, Any]:
        parts = [
            {name: getattr(part, name).tolist() for name in ARRAYS}
            | {"linf": part.linf, "l0": part.l0, "num_classes": part.num_classes}
            for part in self.parts
        ]
        return {"key": self.path.stem, "size": self.size, "parts": parts, "warnings": sorted(self.warnings)}

    def _load(self) -> None:
        if not self.path.is_file():
            return
        try:
            content = _read(self.path)
            parts = [
                Evaluation(**part | {name: np.array(part[name], dtype=np.int64) for name in ARRAYS})
                for part in content["parts"]
            ]
            kept_size, warned = int(content["size"]), {str(words) for words in content["warnings"]}
            if kept_size == self.size:
                self._check(parts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged (%s): the cell starts again", self.path, error)
            return
        if kept_size != self.size:
            return
        self.parts, self.warnings = parts, warned

    def _check(self, parts: Sequence[Evaluation]) -> None:
        """``ValueError`` unless ``parts`` are the outcomes of the first batches, in their order."""
        for number, part in enumerate(parts):
            wanted = self.labels[number * self.size :][: self.size]
            answers = np.stack([part.before, part.after])
            is_whole = np.array_equal(part.labels, wanted) and answers.shape[1:] == wanted.shape
            if not len(wanted) or not is_whole or not 0 <= answers.min() <= answers.max() < part.num_classes:
                raise ValueError(f"batch {number} is none of this cell")
            if not isinstance(part.linf, float) or not isinstance(part.l0, int):
                raise ValueError(f"batch {number} holds no numbers")
