"""The attacks beyond the paper's through ``meddef evaluate``: what their ε is, and what is told of them."""

import json
import re
from pathlib import Path

import pytest
from test_cli_evaluate import folder  # noqa: F401  (a fixture: bright images are class 1)
from test_cli_output import ran

pytestmark = pytest.mark.usefixtures("folder")
FEW = ("--set", "steps=30", "--set", "learning_rate=0.1")


def test_the_eps_of_carlini_and_wagner_is_a_length() -> None:
    told = " ".join(ran("--attack", "cw", "--eps", "30", *FEW).split())
    assert "Robust accuracy under cw at ε = 30 in L2: 0.0%" in told
    median, largest = map(
        float, re.search(r"that broke an image: median ([\d.]+), largest ([\d.]+)", told).groups()
    )  # type: ignore[union-attr]
    assert 0 < median <= largest <= 30
    alone = " ".join(ran("--attack", "cw", "--eps", f"{0.9 * median}", *FEW, "-o", "r.json").split())
    broken = json.loads(Path("r.json").read_text())["rates"][2]
    assert 0 < broken["hits"] < broken["of"]
    assert "more than its ε" not in alone


def test_a_curve_along_lengths() -> None:
    told = ran("--attack", "cw", "--eps", "0.5,30", *FEW)
    assert "ε = 30 in L2" in told
    assert re.search(r"^ +0\.5 ", told, re.M)
    assert re.search(r"^ +30 ", told, re.M)


def test_attacks_without_an_eps() -> None:
    """A patch changes its share of the pixels; a corruption is called by its settings."""
    told = json.loads(ran("--attack", "patch", "--set", "share=0.25", "--set", "steps=2", "--json"))
    assert told["eps"] is None
    assert 0 < told["headline"]["most_features_changed"] <= 0.25 * 3 * 32 * 32
    printed = ran("--attack", "corruption", "--set", "kind=contrast", "--set", "severity=5")
    assert "Robust accuracy under corruption: " in printed
    assert "corruption (kind=contrast, severity=5) on" in " ".join(printed.split())
