"""Records a step as a CUDA graph, and keeps CUDA usable where that fails."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch


class NotRecordable(Exception):
    """Why a step cannot be replayed: it needs the host while it runs, or something that a graph cannot hold."""


class Graphs:
    """Records steps as CUDA graphs that share one stream and one pool of memory; they must not run at the same time.

    Between replays a step may use only memory of tensors created before it was recorded.
    """

    def __init__(self, device: torch.device) -> None:
        """``device`` with its index."""
        self.device = device
        with torch.cuda.device(self.device):
            self.stream = torch.cuda.Stream()
            self.pool = torch.cuda.graph_pool_handle()
        self.graphs: list[torch.cuda.CUDAGraph] = []

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Run ``step`` three times, recording the last; returns its replay on the current stream.

        Raises:
            NotRecordable: the step waits for the device, draws random numbers on the host, or CUDA refuses.
            Exception: any error of the step itself.
        """
        with torch.cuda.device(self.device), _nothing_cached():
            before = torch.cuda.current_stream()
            self.stream.wait_stream(before)
            with torch.cuda.stream(self.stream):
                step()  # libraries set themselves up
                with _without_host():
                    step()
            before.wait_stream(self.stream)
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(
                    graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
                ):
                    step()
            except Exception as error:
                self._recover(before)
                first = _first(error)
                if isinstance(first, torch.OutOfMemoryError):
                    raise first from None
                reason = str(first).split("\n", 1)[0].removesuffix(".")
                raise NotRecordable(reason) from error
        self.graphs.append(graph)
        return graph.replay

    def _recover(self, before: torch.cuda.Stream) -> None:
        """Clean up after an aborted capture: PyTorch stops its clean-up at the first error.

        Each of these may already have been done.
        """
        torch.cuda.set_stream(before)
        index = self.device.index
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(index, self.pool)
        self.pool = torch.cuda.graph_pool_handle()  # other graphs may use the old one, which stays reserved
        generator = torch.cuda.default_generators[index]
        with suppress(RuntimeError):  # a state outside the capture, with the same upcoming numbers
            generator.graphsafe_set_state(generator.clone_state())
        with suppress(RuntimeError):
            torch.cuda.synchronize(self.device)

    def close(self) -> None:
        """Free the graphs and the memory allocated on their stream."""
        with torch.cuda.device(self.device):
            torch.cuda.synchronize()
            for graph in self.graphs:
                graph.reset()
            self.graphs.clear()
            torch._C._cuda_clearCublasWorkspaces()
            torch.cuda.empty_cache()


@contextmanager
def _without_host() -> Iterator[None]:
    """Refuse a step that waits for the device or draws random numbers on the host, which a replay would not do.

    Checked here, outside a capture, this avoids an aborted one.
    """
    mode = torch.cuda.get_sync_debug_mode()
    drawn = _host_randomness()
    _set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        raise NotRecordable(
            "its forward pass waits for the GPU (.item(), an if on a tensor, a shape that depends on values)"
        ) from error
    finally:
        _set_sync_debug_mode(mode)
    if _host_randomness() != drawn:
        raise NotRecordable("its forward pass draws random numbers on the host")


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that it is a prototype, which may miss some: the capture itself does not
        torch.cuda.set_sync_debug_mode(mode)


def _host_randomness() -> tuple[object, ...]:
    kind, keys, place, *_ = np.random.get_state()  # noqa: NPY002 - the model may draw from it
    return random.getstate(), kind, np.asarray(keys).tobytes(), place, torch.get_rng_state().numpy().tobytes()


@contextmanager
def _nothing_cached() -> Iterator[None]:
    """Disables autocast's weight cache: results of a capture do not exist before its first replay."""
    caches = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(caches)


def _first(error: Exception) -> BaseException:
    """The first error: CUDA reports the end of a capture, not its cause."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return cause
