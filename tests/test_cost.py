"""The page on cost shows what the bench wrote, and says so where there is nothing."""

import json
from pathlib import Path

import pandas as pd
import pytest
from report_records import provenance

from meddef.book import cost, cost_gpu
from meddef.figures.published import ENDINGS

ROW = {
    "workload": "bim-40, K = 4: fast", "measured": 1.5, "unit": "x", "least": 1.25, "most": None,
    "note": "8 images", "verdict": "PASS",
}  # fmt: skip


@pytest.fixture
def bench() -> dict:
    origin = provenance()[0] | {"threads": 2}
    origin["hardware"] |= {"instructions": "AVX512"}
    rows = [
        ROW,
        ROW | {"workload": "jsma: against ART", "measured": None, "verdict": "not measured"},
        ROW | {"workload": "ensemble: against AutoAttack", "verdict": "BELOW", "measured": 0.5},
        ROW | {"workload": "bim-10: foolbox", "least": None, "verdict": "–"},
    ]
    growth = [
        {"axis": axis, "value": value, "mode": mode, "ms": 2.0 * value}
        for axis in cost.AXES
        for value in (1, 2, 4)
        for mode in ("floor", "reference")
    ]
    return {"provenance": origin, "rows": rows, "growth": growth}


def test_the_summary_counts_what_is_met_and_missed(bench: dict) -> None:
    assert cost.summary(bench) == ("1 of 3 targets are met, 1 below, 1 not measured.")


def test_machines_together_name_what_is_missed_on_one_and_on_all(bench: dict) -> None:
    other = bench | {"rows": [row | {"verdict": "PASS"} for row in bench["rows"][:2]] + bench["rows"][2:]}
    slow = bench | {"rows": [bench["rows"][0] | {"verdict": "BELOW"}]}
    assert cost.together([bench, other]) == (
        "Of 3 targets, 2 are met on every machine that measured them. Met on none: ensemble: against AutoAttack."
    )
    assert cost.together([bench, slow]) == (
        "Of 2 targets, 0 are met on every machine that measured them. "
        "Met on one and missed on another: bim-40, K = 4: fast. Met on none: ensemble: against AutoAttack."
    )
    assert cost.together([other | {"rows": other["rows"][:2]}]).endswith("None is missed on all of them.")


def test_the_table_keeps_every_row(bench: dict) -> None:
    frame = cost.table(bench).frame
    assert frame["workload"].tolist() == ["bim-40, K = 4", "jsma", "ensemble", "bim-10"]
    assert frame["measured"].tolist() == ["1.5 x", "–", "0.5 x", "1.5 x"]
    assert frame["wanted"].tolist() == ["at least 1.25"] * 3 + ["–"]


def test_the_figure_draws_only_what_was_measured_the_same_twice(bench: dict) -> None:
    figure = cost.growth(bench)
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert [line.get_ydata().tolist() for line in drawn] == [[2.0, 4.0, 8.0]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["floor", "reference"]
    assert all(panel.get_xlabel() for panel in figure.axes)
    assert figure.svg() == cost.growth(bench).svg()


def test_the_page_holds_the_table_the_picture_and_the_origin_of_every_machine(
    bench: dict, tmp_path: Path
) -> None:
    folder = tmp_path / cost.PLACE
    folder.mkdir(parents=True)
    for kind in ("AVX2", "AVX512"):
        bench["provenance"]["hardware"]["instructions"] = kind
        (folder / f"attacks_{kind.lower()}.json").write_text(json.dumps(bench))
    page = cost.cost_page(tmp_path)
    left = {f"cost_growth_{kind}.{ending}" for kind in ("avx2", "avx512") for ending in ENDINGS}
    assert set(page) == {"cost.md"} | left
    for piece in ("8 images", "Provenance", "{tab-item}"):
        assert page["cost.md"].count(piece) >= 2
    assert page["cost.md"].index("AVX2, 2 threads") < page["cost.md"].index("AVX512, 2 threads")


def test_without_a_measurement_the_page_says_so(tmp_path: Path) -> None:
    assert cost.cost_page(tmp_path) == {"cost.md": f"{cost.NOTHING}\n"}


def gpu_rows() -> list[dict]:
    speed = {"what": "PGD", "unit": "image-steps/s", "model": "full", "batch": 128}
    verdict = {"what": "verdicts", "eps": 0.02, "n": 256}
    compiled = {"what": "compile", "unit": "image-steps/s", "model": "resnet18", "batch": 32, "first": 21.0}
    cell = {"what": "table", "n": 128, "value": 2000.0}
    return [
        cell | {"workload": "fgsm", "mode": "TF32"},
        cell | {"workload": "fgsm", "mode": "torchattacks", "value": 55.71},
        cell | {"workload": "nine prune rates", "mode": "torch"},
        speed | {"mode": "floor", "value": 6000.0},
        speed | {"mode": "bf16", "value": 5900.0},
        speed | {"what": "training", "unit": "images/s", "mode": "bf16", "value": 2000.0},
        verdict | {"mode": "float32", "robust": 200, "other_in_tf32": 0},
        verdict | {"mode": "bf16", "robust": 201, "other_in_tf32": 1},
        compiled | {"mode": "floor, compiled", "value": 7000.0},
    ]


def test_a_gpu_has_tables_of_speed_of_verdicts_and_of_compiling(tmp_path: Path, bench: dict) -> None:
    assert "Speeds on a GPU were not measured" in cost_gpu.gpu_page(tmp_path)["cost_gpu.md"]
    (tmp_path / cost_gpu.PLACE).parent.mkdir(parents=True)
    (tmp_path / cost_gpu.PLACE).write_text(json.dumps(bench | {"rows": gpu_rows(), "notes": ["Said of it."]}))
    text = cost_gpu.gpu_page(tmp_path)["cost_gpu.md"]
    assert "not measured" not in text
    assert text.startswith("Said of it.")
    rows = pd.DataFrame(gpu_rows())
    assert cost_gpu.workloads(rows).frame.to_dict("records") == [
        {"workload": "fgsm", "at once": 128, "default": "2,000", "peer": "55.7"},
        {"workload": "nine prune rates", "at once": 128, "default": "–", "peer": "2,000"},
    ]
    assert cost_gpu.speeds(rows).frame.to_dict("records") == [
        {"model": "MedDef (full)", "batch": 128, "floor": "6,000", "bf16": "5,900"}
    ]
    assert cost_gpu.others(rows).frame["speed"].tolist() == ["2,000 images/s"]
    assert cost_gpu.verdicts(rows).frame.to_dict("records") == [
        {"ε": 0.02, "float32": "200", "bf16": "201", "differently classified in TF32": "1"}
    ]
    assert cost_gpu.compiled(rows).frame["first pass"].tolist() == ["21 s"]


def test_verdicts_in_emulated_tf32_are_counted() -> None:
    row = {"variant": "full", "training": "adversarial", "eps": 0.05, "n": 100, "right": 30, "right_tf32": 31}
    found = cost_gpu.rounded(
        {"rows": [row | {"otherwise": 3}, row | {"otherwise": 0}], "provenance": {"profile": "x"}}
    )
    assert found.frame["model"].tolist() == ["MedDef (Full DAAM)"] * 2
    assert "3 of 200 predictions differ" in found.caption
