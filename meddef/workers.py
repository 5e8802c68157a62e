"""Processes that work for this one: they end when it does, whatever ended it, and an interrupt ends them at once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

STOPPING = "meddef: stopping; what is recorded is kept, and the same command goes on from there"


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``count`` processes, each started afresh. An interrupt kills them: what they write appears whole or
    not at all, so nothing is lost by it but the work of the moment."""
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_work_for_parent
    )
    with pool, interruptible(_kill_children):
        yield pool


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()


@contextmanager
def interruptible(stop: Callable[[], object] = lambda: None) -> Iterator[None]:
    """An interrupt (Ctrl-C) is answered with a line at once, then ``stop`` is called; a second one then ends all."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not interrupt.args:  # else it was answered further in
            print(STOPPING, file=sys.stderr, flush=True)
            interrupt.args = (STOPPING,)
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_DFL) if main else None
        stop()
        if before is not None:
            signal.signal(signal.SIGINT, before)
        raise


def leave(code: int) -> NoReturn:
    """End this process with what is registered for its end, but not the seconds that libraries take to go to pieces."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _work_for_parent() -> None:
    """An interrupt is the parent's to answer; its end, of which it may not have been told, is this process's too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(
        threading.RLock()
    )  # tqdm's own is a semaphore of the system, which a kill would leave behind
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
