"""A Dask cluster as an executor: what its workers must prove before they get a cell, and what its end looks like."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meddef.error_source import in_a_line
from meddef.errors import InputError, RunFailed
from meddef.evaluation.plan import RunOptions
from meddef.evaluation.provenance import check_surroundings, surroundings

CONNECT_SECONDS = 10
WITHOUT_WORKERS_SECONDS = 60.0  # a killed worker is started again by its nanny within seconds
logger = logging.getLogger(__name__)


class ClusterFailed(RunFailed):
    """The scheduler or all workers are gone; everything recorded is kept."""


class Cluster(Executor):
    """The workers of the Dask scheduler at ``address``, to which ``client`` is connected."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._pool = client.get_executor(pure=False)
        self._alone_since: float | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._check_scheduler()
        future: Future[Any] = self._pool.submit(fn, *args, **kwargs)
        return future

    def error_of(self, future: Future[Any]) -> BaseException | None:
        """What a finished task raised, None if nothing.

        Raises:
            ClusterFailed: it was cancelled, which the loss of the scheduler does.
        """
        try:
            return future.exception()
        except CancelledError as error:
            raise self._gone() from error

    def look(self) -> None:
        """To be called now and then while nothing finishes.

        Raises:
            ClusterFailed: the scheduler is gone, or there has been no worker for ``WITHOUT_WORKERS_SECONDS``.
        """
        self._check_scheduler()
        try:
            workers = len(self._client.nthreads())
        except (OSError, TimeoutError, CancelledError) as error:
            raise self._gone() from error
        now = time.monotonic()
        if workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
            logger.warning(
                "the Dask scheduler at %s has no worker left: waiting %.0f s for one",
                self._address,
                WITHOUT_WORKERS_SECONDS,
            )
        elif now - self._alone_since >= WITHOUT_WORKERS_SECONDS:
            raise ClusterFailed(
                f"all workers of the Dask scheduler at '{self._address}' are gone; what is recorded is kept: start "
                f"'dask worker {self._address} --nthreads 1' and run the same command again"
            )

    def _check_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._gone()

    def _gone(self) -> ClusterFailed:
        return ClusterFailed(
            f"the Dask scheduler at '{self._address}' is gone; what is recorded is kept: start it and its workers and "
            "run the same command again"
        )


@contextmanager
def cluster(scheduler: str, options: RunOptions | None) -> Iterator[tuple[Executor, int]]:
    """The Dask cluster at ``scheduler`` ("tcp://host:8786"), and how many workers it has.

    The run folder and the data must have the same paths on every worker: those of ``options`` are looked for. A task
    whose worker dies is re-run on another one; after three deaths it fails.

    Raises:
        InputError: ``distributed`` is not installed, nothing answers, no worker, or one that runs several threads
            (warnings, thread counts and determinism are a process's, so a process can do one cell at a time), or
            another version of this package or of what computes, or one that does not see the folders. One that joins
            later is refused by ``run_task``.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("a Dask cluster needs the extra 'cluster': pip install meddef[cluster]") from error
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at '{scheduler}' ({error}): start 'dask scheduler'"
        ) from error
    with _quiet_at_the_end(), client:
        threads = client.nthreads()
        if not threads:
            raise InputError(
                f"the Dask scheduler at '{scheduler}' has no worker: start 'dask worker --nthreads 1'"
            )
        if max(threads.values()) > 1:
            raise InputError("a Dask worker runs several threads: start it with --nthreads 1")
        for worker, there in client.run(surroundings, on_error="return").items():
            if not isinstance(there, dict):
                raise InputError(
                    f"the Dask worker at {worker} cannot run this version of meddef ({in_a_line(there)})"
                )
            check_surroundings(there, f"the Dask worker at {worker}")
        if options is not None:
            _check_folders(client, options)
        yield Cluster(client, scheduler), len(threads)


@contextmanager
def _quiet_at_the_end() -> Iterator[None]:
    """Dask tells of a lost connection in tracebacks; the run says it in a line."""
    logs = [logging.getLogger(f"distributed.{name}") for name in ("client", "core", "comm")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


def _check_folders(client: Any, options: RunOptions) -> None:
    """Refuse workers that do not see the run folder, in which a file is left for them meanwhile, or the data."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=options.folder, prefix=".seen.jsonl.") as mark:
        places = [mark.name, *([str(options.data_dir)] if options.data_dir else [])]
        for worker, unseen in client.run(unseen_of, places).items():
            if unseen:
                place = options.folder if unseen[0] == mark.name else unseen[0]
                raise InputError(
                    f"the Dask worker at {worker} does not see {place}: mount it there under the same path"
                )


def unseen_of(places: Iterable[str]) -> list[str]:
    """Those of ``places`` that do not exist here (on a worker)."""
    return [place for place in places if not Path(place).exists()]
