"""Figures of what was measured apart from a profile's records: ways of splitting, and what pruning buys."""

import json
from pathlib import Path

import pytest
from report_records import provenance, small_run, write_run

from meddef.figures import pruning as figures_pruning
from meddef.figures import setup as figures_setup
from meddef.report.report import Report

LAYERS = {"conv": 0.25, "head": 0.75}
HEAD = {"dataset": "phantom_xray", "variant": "full", "training": "adversarial", "seed": 0}


def row(rate: float) -> dict:
    sizes = {
        "nonzero": 1000 * (1 - rate),
        "parameters": 1100,
        "dense_bytes": 4e6,
        "sparse_bytes": 4e6 * (1 - rate),
    }
    times = {"dense_ms": 2.0, "sparse_ms": 5.0}
    return {**HEAD, "prune_rate": rate, "cut": 0.01 * (1 + rate), "layers": LAYERS, **sizes, **times}


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """A profile of chest X-rays with both measurements beside it."""
    write_run(tmp_path, "tiny", small_run("chest_xray", ("full",)))
    split = {
        "dataset": "chest_xray", "fingerprint": "f", "removed_from_training": 2, "patients": 9,
        "counts": {name: {"NORMAL": 3, "PNEUMONIA": 5} for name in ("train", "val", "test")},
        "duplicates_across": {"exact": 4, "near": 0},
    }  # fmt: skip
    policies = {"released": 6, "paper": 7, "patient": 0}
    splits = [split | {"policy": p, "patients_in_several_splits": n} for p, n in policies.items()]
    shape = HEAD | {"histogram": [10, 90], "log10_edges": [-2.0, 0.0]}
    origin = {key: value for key, value in provenance()[0].items() if key != "key"} | {"threads": 1}
    (tmp_path / "bench").mkdir()
    for name, rows in (("splits", splits), ("compression", [*map(row, (0.0, 0.5, 0.8)), shape])):
        (tmp_path / "bench" / f"{name}.json").write_text(json.dumps({"provenance": origin, "rows": rows}))
    return Report.load("tiny", tmp_path)


def test_a_panel_for_each_way_of_splitting_says_what_lies_in_several_splits(report: Report) -> None:
    figure = figures_setup.split_policies(report)
    assert [panel.get_title().splitlines()[1] for panel in figure.axes] == [
        "6 of 9 patients and", "7 of 9 patients and", "0 of 9 patients and",
    ]  # fmt: skip
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [3, 3, 3, 5, 5, 5]
    assert figure.content()["command"] == "python -m tests.bench.splits --data-dir DATA"


def test_cuts_stand_where_the_rates_put_them(report: Report) -> None:
    histogram, layers = figures_pruning.weights(report).axes
    assert [line.get_xdata()[0] for line in histogram.lines] == pytest.approx([-1.8239, -1.7447], abs=1e-3)
    assert [list(line.get_ydata()) for line in layers.lines] == [[25, 75], [25, 75]]
    assert "n = 100 weights" in histogram.get_title()


def test_benefits_are_those_measured(report: Report) -> None:
    counts, disk, time = figures_pruning.benefits(report).axes
    assert list(counts.lines[0].get_ydata()) == pytest.approx([1e-3, 5e-4, 2e-4])
    assert [list(line.get_ydata()) for line in disk.lines] == [[4, 4, 4], pytest.approx([4, 2, 0.8])]
    assert [list(line.get_ydata()) for line in time.lines] == [[2, 2, 2], [5, 5, 5]]
    assert figures_pruning.benefits(report).content()["origin"]["records"]["keys"] == ["bench/compression"]


def test_without_a_measurement_a_sentence_stands_in_its_place() -> None:
    bare = Report("bare", small_run("chest_xray", ("full",)), provenance())
    for draw in (figures_setup.split_policies, figures_pruning.weights, figures_pruning.benefits):
        assert draw(bare).content() is None
        assert len(draw(bare).texts) == 1
