"""Tables of the probes: numbers worked out by hand, and a sentence where nothing was run."""

import pytest
from report_records import data_record, provenance
from test_claims_probed import Records, probed

from meddef.report import probes
from meddef.report.display import NOTHING, Table
from meddef.report.report import Report

EVERY = (
    probes.components, probes.bands, probes.regions, probes.calibration, probes.visibility, probes.shortcuts,
    probes.pixels,
)  # fmt: skip


def report(records: Records) -> Report:
    return Report("planted", [data_record("chest_xray"), *records], provenance())


def cell(table: Table, column: str, row: int = 0) -> str:
    return str(table.frame[column][row])


@pytest.mark.parametrize("table", EVERY)
def test_a_profile_without_probes_says_so(table: object) -> None:
    assert NOTHING in repr(table(report([])))  # type: ignore[operator]


def test_components_show_the_perturbation_and_its_ratio_to_the_input() -> None:
    once = {"in": [0.5] * 30 + [0.1] * 30, "afd": [0.25] * 30 + [0.1] * 30, "in high": 0.5, "afd high": 0.25}
    table = probes.components(report(probed("components", once, seeds=1)))
    assert cell(table, "input") == "0.30\nhigh 50 %"
    assert cell(table, "AFD") == "0.17\n× 0.75\nhigh 25 %"  # medians of .25 and .1, and of 1/2 and 1
    assert table.frame["MSF"].isna().all()
    assert "PGD (ε = 8/255, 40 steps)" in table.caption


def test_scales_are_in_order_and_shares_have_intervals() -> None:
    right = {name: [1] * 30 + [0] * 30 for name in ("1", "16", "4", "clean")}
    table = probes.bands(report(probed("bands", right)))
    assert list(table.frame)[-4:] == ["these images, clean", "1 px", "4 px", "16 px"]
    assert cell(table, "4 px") == "50.0 ± 0.0\n[37.7, 62.3]"
    assert cell(table, "n") == "60, 3 seeds"


def test_calibration_has_its_error_and_brier_score() -> None:
    values = {"confidence": 0.9, "right": [1] * 45 + [0] * 15, "brier": 0.4}
    both = values | {f"{name} attacked": each for name, each in values.items()}
    table = probes.calibration(report(probed("calibration", both, seeds=1)))
    shown = [
        cell(table, f"attacked: {name}") for name in ("correct (%)", "confidence (%)", "ECE (%)", "Brier")
    ]
    assert shown == ["75.0", "90.0", "15.0", "0.40"]


def test_visibility_turns_length_into_decibels() -> None:
    """32 px, three channels: a length of .1 of the square root of 3072 is a mean squared error of .01, 20 dB."""
    values = {"jsma ssim": 0.9876, "jsma l2": 0.1 * 3072**0.5, "jsma l0": 0.021}
    table = probes.visibility(report(probed("visibility", values, seeds=1)))
    shown = [cell(table, name) for name in ("attack", "SSIM", "PSNR (dB)", "pixels changed (%)")]
    assert shown == ["JSMA", "0.988", "20.0", "2.1"]


def test_shares_are_of_the_images_that_have_it() -> None:
    values = {"letter removed": [1] * 5 + [0] * 15 + [None] * 40, "border": 0}
    table = probes.shortcuts(report(probed("shortcuts", values, seeds=1)))
    assert cell(table, "letter removed") == "25.0\n[11.2, 46.9]\nn = 20"
    assert cell(table, "border blanked") == "0.0\n[0.0, 6.0]"


def test_regions_say_how_large_lesions_are() -> None:
    values = {"clean": 1, "inside": 1, "outside": 0, "everywhere": 0, "lesion": 0.125}
    table = probes.regions(report(probed("regions", values, seeds=1)))
    assert cell(table, "lesion (% of the image)") == "12.5"
    assert cell(table, "outside").startswith("0.0")


def test_pixels_have_a_row_before_and_one_after() -> None:
    names = [f"{name} {when}" for name in ("brightness", "contrast", "noise") for when in ("before", "after")]
    (record,) = probed("images", dict.fromkeys(names, [10] * 30 + [30] * 30), seeds=1)
    table = probes.pixels(report([{k: v for k, v in record.items() if k != "variant"}]))
    assert cell(table, "noise", 1) == "20.0 ± 10.0"
    assert list(table.frame["preprocessing"]) == ["before", "after"]
    assert table.frame["lesion"].isna().all()
