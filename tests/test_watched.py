"""Batches with a progress bar: every batch unchanged, a bar in a terminal, silence in a log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from meddef.progress import watched

BATCHES = [(torch.zeros(4, 3, 2, 2), torch.zeros(4)), (torch.zeros(2, 3, 2, 2), torch.ones(2))]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_in_a_terminal_alone(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert [
        (x is given, len(y)) for (x, y), (given, _) in zip(watched(BATCHES, 6, "pgd"), BATCHES, strict=True)
    ] == [
        (True, 4),
        (True, 2),
    ]
    shown = capsys.readouterr().err
    assert ("pgd: 100%" in shown and "6.00/6.00" in shown) is terminal
    assert bool(shown) is terminal


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_bar_in_a_terminal_that_says_no_size() -> None:
    """That of a container or a CI job: tqdm's own answer is to draw nothing."""
    ours, theirs = os.openpty()
    code = "from meddef.progress import watched; list(watched([([0, 0], [0, 0])], 2, 'pgd'))"
    subprocess.run([sys.executable, "-c", code], check=True, stderr=theirs, cwd=Path(__file__).parents[1])
    os.close(theirs)
    assert b"pgd: 100%" in os.read(ours, 4096)
