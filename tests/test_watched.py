"""Batches with a progress bar: every batch unchanged, a bar in a terminal, silence in a log."""

import sys

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
