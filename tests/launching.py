"""What torchrun does, with functions for programs: its agent starts the processes, watches them and ends them.

They are forked from a server that has imported PyTorch once, so that starting them takes no time.
"""

import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch.distributed.launcher.api", "meddef.evaluation.distributed_training", "meddef.models"]
)


def start(size: int, log: Path, function: Any, *arguments: Any) -> BaseProcess:
    """An agent whose ``size`` processes each call ``function``; what they print goes to ``log``."""
    agent = CONTEXT.Process(target=_agent, args=(size, str(log), function, arguments))
    agent.start()
    return agent


def finish(agent: BaseProcess, seconds: float = 600) -> int:
    """Its exit code: 0 if every process ended well."""
    agent.join(seconds)
    assert agent.exitcode is not None, "still running"
    return agent.exitcode


def workers(agent: BaseProcess) -> list[int]:
    """Process ids of the processes that the agent started, in the order of their ranks."""
    tasks = Path(f"/proc/{agent.pid}/task").glob("*/children")
    return sorted(int(child) for task in tasks for child in task.read_text().split())


def _agent(size: int, log: str, function: Any, arguments: tuple[Any, ...]) -> None:
    import torch
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    torch.set_num_threads(1)
    here = "127.0.0.1"  # not a name: a worker that is forked while the agent's threads look one up can wait for ever
    config = LaunchConfig(
        1, 1, size, run_id="test", rdzv_backend="c10d", rdzv_endpoint=f"{here}:0", local_addr=here, max_restarts=0,
        start_method="fork",
    )  # fmt: skip
    elastic_launch(config, function)(*arguments)
