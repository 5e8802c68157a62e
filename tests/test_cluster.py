"""The engine on a Dask cluster of two worker processes on this machine."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_profile import WITHOUT_MAPS

from meddef.errors import InputError
from meddef.evaluation.cluster import ClusterFailed
from meddef.evaluation.executor import InlineExecutor, make_executor
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.provenance import surroundings
from meddef.evaluation.run import run_plan
from meddef.evaluation.task import Task, run_task
from meddef.records import RecordStore
from meddef.results_version import RESULTS_VERSION
from meddef.settings import load_profile

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Dask's own, at shutdown and when a worker is killed


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("profile")
    (folder / "tiny.yaml").write_text(WITHOUT_MAPS)
    return make_plan(load_profile(str(folder / "tiny.yaml")), RunOptions(folder / "runs"))


@pytest.fixture(scope="module")
def in_process(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.set_num_threads(1)
    options = RunOptions(tmp_path_factory.mktemp("inline") / "tiny")
    run_plan(plan, options, InlineExecutor(), inside=False)
    return (options.folder / "records.jsonl").read_bytes()


@pytest.fixture(scope="module")
def cluster() -> Iterator["distributed.LocalCluster"]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_cluster_gives_the_same_records(
    plan: Plan, in_process: bytes, cluster: "distributed.LocalCluster", tmp_path: Path
) -> None:
    options = RunOptions(tmp_path / "tiny")
    with make_executor(0, cluster.scheduler_address) as (executor, workers):
        assert workers == 2
        run_plan(plan, options, executor, inside=False)
    assert (options.folder / "records.jsonl").read_bytes() == in_process


@pytest.mark.fault(
    "a Dask worker has another version of the package, or other images under the same path",
    "it gets no cell; the line names what differs",
    says="computes with something else: results version of attacks",
)
def test_a_worker_proves_what_it_computes_with(
    plan: Plan,
    cluster: "distributed.LocalCluster",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
) -> None:
    task = Task(plan.cells[:1], None, plan.profile, RunOptions(tmp_path), False, planned_with=surroundings())
    monkeypatch.setitem(RESULTS_VERSION, "attacks", RESULTS_VERSION["attacks"] + 1)
    with pytest.raises(InputError, match=says), make_executor(0, cluster.scheduler_address):
        pass
    with pytest.raises(InputError, match=says):  # as for one that joins later
        run_task(task)
    settings = {**plan.cells[0].settings, "fingerprint": "0" * 64}
    planned = Task(
        (replace(plan.cells[0], settings=settings),), None, plan.profile, RunOptions(tmp_path), False
    )
    with pytest.raises(
        InputError, match=r"the images of phantom_oct here .* are others than those of the plan"
    ):
        run_task(planned)
    assert RecordStore(tmp_path).keys() == []


@pytest.mark.fault(
    "a worker of a Dask cluster is killed during a cell",
    "its cell is re-run on another worker; the records are byte-identical to those of a single-process run",
)
def test_a_worker_killed_in_mid_cell_loses_nothing(
    plan: Plan, in_process: bytes, cluster: "distributed.LocalCluster", tmp_path: Path
) -> None:
    options = RunOptions(tmp_path / "tiny")
    victim = next(iter(cluster.workers.values())).pid
    training = options.folder / "models"
    killed = threading.Event()

    def kill_when_training() -> None:
        while not list(training.glob("*/checkpoint.safetensors")):
            time.sleep(0.02)
        os.kill(victim, signal.SIGKILL)
        killed.set()

    killer = threading.Thread(target=kill_when_training, daemon=True)
    killer.start()
    with make_executor(0, cluster.scheduler_address) as (executor, _):
        run_plan(plan, options, executor, inside=False)
    killer.join(10)
    assert killed.is_set()
    assert (options.folder / "records.jsonl").read_bytes() == in_process
    assert len(RecordStore(options.folder).keys()) == len(plan.cells)


@pytest.mark.fault(
    "a second run is started in the folder of a cluster run",
    "the second is refused; the first records each cell once, and a third has nothing to do",
    says="another run works in",
)
def test_two_runs_on_one_store_record_each_cell_once(
    plan: Plan, in_process: bytes, cluster: "distributed.LocalCluster", tmp_path: Path, says: str
) -> None:
    options = RunOptions(tmp_path / "tiny")

    def run() -> None:
        with make_executor(0, cluster.scheduler_address) as (executor, _):
            run_plan(plan, options, executor, inside=False)

    first = threading.Thread(target=run)
    first.start()
    while first.is_alive() and not (written := cells(options)):
        time.sleep(0.02)
    with pytest.raises(InputError, match=says):
        run()
    first.join()
    everything = cells(options)
    assert everything.items() >= written.items()
    assert len(everything) == len(plan.cells)
    run()
    assert cells(options) == everything
    assert (options.folder / "records.jsonl").read_bytes() == in_process


@pytest.mark.fault(
    "a Dask worker does not see the folder of the run or that of the data",
    "it gets no cell; one line names the folder",
    says="does not see",
)
def test_a_worker_that_does_not_see_a_folder_is_refused(
    plan: Plan,
    cluster: "distributed.LocalCluster",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
) -> None:
    seen = RunOptions(tmp_path / "run", data_dir=tmp_path)
    with make_executor(0, cluster.scheduler_address, seen):
        pass
    assert list(seen.folder.iterdir()) == []
    for options in (replace(seen, data_dir=tmp_path / "gone"), seen):
        with pytest.raises(InputError, match=says), make_executor(0, cluster.scheduler_address, options):
            pass
        monkeypatch.setattr(
            tempfile,
            "NamedTemporaryFile",
            lambda **given: nullcontext(SimpleNamespace(name=str(tmp_path / "x"))),
        )
    real = replace(plan.cells[0], dataset="chest_xray")
    task = Task(
        (real,),
        None,
        plan.profile,
        RunOptions(tmp_path, tmp_path / "gone"),
        False,
        planned_with=surroundings(),
    )
    with pytest.raises(InputError, match="mount the data under the same path on every worker"):
        run_task(task)  # as on a worker that joins later


def start(*command: str) -> subprocess.Popen[bytes]:
    """A scheduler or a worker as a process of its own."""
    script = [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:], "--no-dashboard"]
    return subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.fault(
    "the Dask scheduler dies during a run, or all its workers do and none comes back",
    "the run ends with one line that says what to start; what is recorded is kept",
    says="what is recorded is kept: start",
)
@pytest.mark.parametrize("victim", ["scheduler", "workers"])
def test_the_end_of_a_cluster_is_said_in_a_line(
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    victim: str,
    says: str,
) -> None:
    monkeypatch.setattr("meddef.evaluation.cluster.WITHOUT_WORKERS_SECONDS", 0.2)
    monkeypatch.setattr("meddef.evaluation.cluster.CONNECT_SECONDS", 60)
    monkeypatch.setattr("meddef.evaluation.run.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("meddef.evaluation.run.run_task", lambda task: time.sleep(600))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", port)
    worker = start("dask_worker", address, "--nthreads", "1", "--no-nanny")
    options = RunOptions(tmp_path / "tiny")
    try:
        with distributed.Client(address, timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
        with make_executor(0, address) as (executor, _):
            threading.Timer(1, (scheduler if victim == "scheduler" else worker).kill).start()
            with pytest.raises(ClusterFailed, match=says) as failed:
                run_plan(plan, options, executor, inside=False)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait(60)
    assert victim in str(failed.value)
    assert "\n" not in str(failed.value)
    assert "Traceback" not in capfd.readouterr().err


def cells(options: RunOptions) -> dict[str, int]:
    """Cell file -> inode; a cell that is recorded again appears as a new file."""
    return {path.name: path.stat().st_ino for path in (options.folder / "cells").glob("*.json")}


def test_an_address_where_nothing_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meddef.evaluation.cluster.CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9"), make_executor(0, "tcp://127.0.0.1:9"):
        pass
