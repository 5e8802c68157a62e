"""Worker processes end with the process they work for, and at once when it is interrupted."""

import os
import signal
import subprocess
import sys
import time

import pytest

from meddef.workers import STOPPING, interruptible

SCRIPT = """
import signal

from meddef.workers import processes

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored

with processes(2) as pool:
    busy = [pool.submit(exec, "import os, time; os.write(1, b'%d ' % os.getpid()); time.sleep(300)") for _ in range(4)]
    [one.result() for one in busy]
"""


def start() -> tuple[subprocess.Popen[str], list[int]]:
    """A process with two workers that are busy for minutes, and the workers' numbers."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    while said.count(" ") < 2:  # both in one pipe
        said += process.stdout.read(1)
    return process, [int(word) for word in said.split()]


def wait_for_end(numbers: list[int]) -> None:
    deadline = time.monotonic() + 60
    while alive := [number for number in numbers if is_alive(number)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.05)


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    return not state.stdout.startswith("Z") and bool(state.stdout)


@pytest.mark.fault(
    "the main process of a run is killed or told to end (SIGKILL, SIGTERM)",
    "its worker processes end at once, so that none writes on without the lock",
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_they_work_for(number: signal.Signals) -> None:
    process, workers = start()
    with process:
        process.send_signal(number)
        assert process.wait(60) == -number
        wait_for_end(workers)


@pytest.mark.fault(
    "a run with worker processes is interrupted (Ctrl-C)",
    "a line at once; the workers are ended, and what is recorded is kept; a second interrupt ends it now",
    says="what is recorded is kept",
)
def test_an_interrupt_is_answered_and_ends_the_workers(says: str) -> None:
    process, workers = start()
    with process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    lines = said.splitlines()
    assert says in STOPPING == lines[0]
    assert lines[-1] == f"KeyboardInterrupt: {STOPPING}"
    assert (
        said.count("Traceback") == 1
    )  # that of this script, which does not answer it; the workers are silent
    wait_for_end(workers)


def test_an_interrupt_is_answered_once(capsys: pytest.CaptureFixture[str]) -> None:
    stopped: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with (
        pytest.raises(KeyboardInterrupt),
        interruptible(lambda: stopped.append("outer")),
        interruptible(lambda: stopped.append(str(signal.getsignal(signal.SIGINT)))),
    ):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"{STOPPING}\n"
    assert stopped == [
        str(signal.SIG_DFL),
        "outer",
    ]  # a second interrupt ends the process while it is put away
    assert signal.getsignal(signal.SIGINT) is before
