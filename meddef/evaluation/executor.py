"""Where tasks run: in this process, in several, or on a Dask cluster, behind ``concurrent.futures.Executor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from meddef.error_source import in_a_line
from meddef.errors import InputError
from meddef.evaluation.provenance import check_surroundings, surroundings
from meddef.workers import interruptible, processes

CONNECT_SECONDS = 10


class DirectExecutor(Executor):
    """Runs each task when it is submitted, in this process; an error ends the run."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class InlineExecutor(DirectExecutor):
    """Runs each task when it is submitted, in this process; an error is that task's."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return super().submit(fn, *args, **kwargs)
        except Exception as error:  # the future raises it to the caller
            future: Future[Any] = Future()
            future.set_exception(error)
            return future


@contextmanager
def make_executor(jobs: int, scheduler: str | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor and how many tasks it runs at once: ``jobs`` processes (none beside this one for 1), or a cluster."""
    if scheduler is not None:
        with _dask(scheduler) as cluster, interruptible():
            yield cluster
    elif jobs == 1:
        with interruptible():
            yield InlineExecutor(), 1
    else:
        with processes(jobs) as executor:
            yield executor, jobs


@contextmanager
def _dask(scheduler: str) -> Iterator[tuple[Executor, int]]:
    """The Dask cluster at ``scheduler`` ("tcp://host:8786"), and how many workers it has.

    The run folder and the data must have the same paths on every worker. A task whose worker dies is re-run on another
    one; after three deaths it fails.

    Raises:
        InputError: ``distributed`` is not installed, nothing answers, no worker, or one that runs several threads
            (warnings, thread counts and determinism are a process's, so a process can do one cell at a time), or
            another version of this package or of what computes. One that joins later is refused by ``run_task``.
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
    with client:
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
        yield client.get_executor(pure=False), len(threads)
