"""How a step is recorded and what happens where that fails, with CUDA played by a fake: the real one is in test_gpu."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from meddef.attacks.cuda_graph import Graphs, NotRecordable


class FakeCuda:
    """Notes what is asked of it, in order; a capture fails where ``breaks`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.mode: Any = 0
        self.breaks: Exception | None = None
        stream = SimpleNamespace(wait_stream=lambda other: self.said.append("wait"))
        generator = SimpleNamespace(
            clone_state=lambda: "state", graphsafe_set_state=lambda state: self.said.append("generator")
        )
        graph = SimpleNamespace(
            replay=lambda: self.said.append("replay"), reset=lambda: self.said.append("reset")
        )
        for name, value in {
            "device": lambda device: self.inside("device"),
            "Stream": lambda: stream,
            "current_stream": lambda: stream,
            "stream": lambda stream: self.inside("side"),
            "graph_pool_handle": lambda: ("pool", len(self.said)),
            "CUDAGraph": lambda: graph,
            "graph": lambda graph, **settings: self.capture(),
            "set_stream": lambda stream: self.said.append("stream"),
            "synchronize": lambda *_: self.said.append("synchronize"),
            "empty_cache": lambda: self.said.append("empty"),
            "default_generators": (generator,),
            "get_sync_debug_mode": lambda: self.mode,
            "set_sync_debug_mode": lambda mode: setattr(self, "mode", mode),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(
            torch._C, "_cuda_endAllocateToPool", lambda *_: self.said.append("pool"), raising=False
        )
        monkeypatch.setattr(
            torch._C, "_cuda_clearCublasWorkspaces", lambda: self.said.append("workspaces"), raising=False
        )

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        yield

    @contextmanager
    def capture(self) -> Iterator[None]:
        yield
        if self.breaks is not None:
            raise self.breaks


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_a_step_runs_twice_before_it_is_recorded_and_then_is_replayed(cuda: FakeCuda) -> None:
    modes: list[Any] = []
    caches: list[bool] = []

    def step() -> None:
        modes.append(cuda.mode)
        caches.append(torch.is_autocast_cache_enabled())

    graphs = Graphs(torch.device("cuda", 0))
    replay = graphs(step)
    assert modes == [0, "error", 0]
    assert caches == [False] * 3
    assert torch.is_autocast_cache_enabled()
    replay()
    assert cuda.said[-1] == "replay"
    graphs.close()
    assert cuda.said[-4:] == ["synchronize", "reset", "workspaces", "empty"]
    assert not graphs.graphs


def test_a_step_that_waits_is_refused_before_anything_is_captured(cuda: FakeCuda) -> None:
    def step() -> None:
        if cuda.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(NotRecordable, match="waits for the GPU"):
        Graphs(torch.device("cuda", 0))(step)
    assert cuda.mode == 0
    assert "stream" not in cuda.said


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(())])
def test_a_step_that_draws_on_the_host_is_refused(cuda: FakeCuda, draw: Any) -> None:
    with pytest.raises(NotRecordable, match="random numbers on the host"):
        Graphs(torch.device("cuda", 0))(lambda: draw() and None)


def test_an_error_of_the_model_is_the_models(cuda: FakeCuda) -> None:
    def step() -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Graphs(torch.device("cuda", 0))(step)


def test_a_capture_that_breaks_leaves_stream_pool_and_generator_as_they_were(cuda: FakeCuda) -> None:
    graphs = Graphs(torch.device("cuda", 0))
    pool = graphs.pool
    cuda.breaks = RuntimeError("capture invalidated\nmore")
    cuda.breaks.__context__ = RuntimeError("operation not permitted.")
    with pytest.raises(NotRecordable, match=r"operation not permitted$"):
        graphs(lambda: None)
    assert cuda.said[-4:] == ["stream", "pool", "generator", "synchronize"]
    assert graphs.pool != pool
    cuda.breaks = RuntimeError("capture invalidated")
    cuda.breaks.__context__ = torch.OutOfMemoryError("no memory")
    with pytest.raises(torch.OutOfMemoryError):
        graphs(lambda: None)
    assert cuda.said[-4:] == ["stream", "pool", "generator", "synchronize"]
