"""The laboratory's work in independent parts, each stored when done, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddef.arithmetic import on_threads
from meddef.evaluation.executor import make_executor
from meddef.evaluation.provenance import provenance
from meddef.progress import progress_bar
from meddef.records import CellResult, Record, RecordStore


@dataclass(frozen=True)
class Part:
    """One piece of work.

    file: name of the file that its rows belong to. run: returns the rows; can be pickled. content: everything that
    determines the rows.
    """

    file: str
    label: str
    run: Callable[[], Iterable[Record]]
    content: Mapping[str, Any]

    @property
    def key(self) -> str:
        """16 hexadecimal digits, the same for the same content."""
        text = json.dumps({"file": self.file, "label": self.label, **self.content}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def compute(parts: Sequence[Part], folder: Path, jobs: int) -> list[CellResult]:
    """The results of all parts in order; those stored in ``folder`` are not recomputed.

    A part that raises ends the run with its error; finished parts are kept.
    """
    store = RecordStore(folder)
    missing = [part for part in parts if store.get(part.key) is None]
    with progress_bar(len(parts), "laboratory", unit="part") as bar:
        bar.update(len(parts) - len(missing))
        bar.refresh()
        for part in _run_each(missing, folder, min(jobs, len(missing))):
            bar.set_postfix_str(f"last: {part.label}", refresh=False)
            bar.update()
    return [result for part in parts if (result := store.get(part.key))]


def _run_each(parts: Sequence[Part], folder: Path, jobs: int) -> Iterator[Part]:
    """Each part once it is kept."""
    if jobs <= 1:
        for part in parts:
            run_part(part, folder)
            yield part
        return
    with make_executor(jobs) as (executor, _):
        running = {executor.submit(run_part, part, folder): part for part in parts}
        for future in as_completed(running):
            future.result()
            yield running[future]


def run_part(part: Part, folder: Path) -> None:
    """Compute one part in this process, on one thread (float sums depend on their number), and keep it."""
    started = time.monotonic()
    with on_threads(1):
        rows = list(part.run())
    made = provenance("cpu", time.monotonic() - started) | {"part": part.label}
    RecordStore(folder).put(CellResult(part.key, rows, made, dict(part.content)))
