"""Where tasks run: in this process, in several, or on a Dask cluster, behind ``concurrent.futures.Executor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from meddef.evaluation.cluster import cluster
from meddef.evaluation.plan import RunOptions
from meddef.workers import interruptible, processes


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
def make_executor(
    jobs: int, scheduler: str | None = None, options: RunOptions | None = None
) -> Iterator[tuple[Executor, int]]:
    """An executor and how many tasks it runs at once: ``jobs`` processes (none beside this one for 1), or a cluster,
    whose workers must see the folders of ``options``."""
    if scheduler is not None:
        with cluster(scheduler, options) as found, interruptible():
            yield found
    elif jobs == 1:
        with interruptible():
            yield InlineExecutor(), 1
    else:
        with processes(jobs) as executor:
            yield executor, jobs
