"""What a verdict is corrected for, and what it is tested against: sizes, named conditions, the order of ε."""

from pathlib import Path

import pytest
from report_records import runs
from test_claims_measured import BELOW, BETTER, judged, source, verdict

from meddef.claims.cells import Cell, Contrast
from meddef.claims.entries import load
from meddef.claims.index import STANDARDISED
from meddef.claims.ledger import by_measured
from meddef.claims.measured import Measured
from meddef.claims.rules import ABSENT, FAILS, HOLDS, OPEN
from meddef.report import controls
from meddef.report.report import Report


def test_a_printed_value_is_judged_at_the_size_of_the_paper() -> None:
    check = {"kind": "values", "values": [{"variant": "full", "dataset": "chest_xray", "value": "97.67"}]}
    entry = {"id": "x.y", "section": "x", "kind": "value", "quote": "", "about": "", "check": [check]}
    (claim,) = load([entry])
    for right in ([858, 861, 859], [800, 803, 797]):
        found = by_measured(claim, source(runs("full", "clean", right, n=879, grid="test"), size=64))
        assert found is not None
        assert found.verdict == OPEN
        assert "97.67 %" in found.words
        assert "at 64 px" in found.words


def test_bounds_are_corrected_for_all_that_a_claim_names() -> None:
    """61 %: below 67 % as one bound, not as one of 36, of which the others were not run."""
    records = runs("full", "pgd", [78, 80, 76])
    one = judged(records, BELOW)
    many = judged(records, BELOW | {"attacks": ["fgsm", "pgd", "bim", "jsma"], "rates": "all"})
    assert one is not None
    assert many is not None
    assert many.words.split("[")[1] != one.words.split("[")[1]
    few = judged(records, BELOW | {"attacks": ["fgsm", "pgd"]})
    more = judged(records + runs("full", "fgsm", [78, 80, 76]), BELOW | {"attacks": ["fgsm", "pgd"]})
    assert few is not None
    assert more is not None
    assert more.words.count(few.words.split("[")[1].split("]")[0]) == 2  # the same interval, run or not


def test_jsma_has_no_epsilon_in_other_units() -> None:
    records = runs("full", "jsma", [20, 22, 18]) + runs("full", "pgd", [190, 192, 188], eps=0.01)
    check = BELOW | {"attacks": ["pgd", "jsma"]}
    assert verdict(records, check) == FAILS
    assert verdict(records, check, reading=STANDARDISED) == HOLDS
    assert judged(records, BELOW | {"attacks": "jsma"}, reading=STANDARDISED) is None


def test_equivalence_at_an_epsilon_takes_that_at_all_smaller_ones() -> None:
    """Equal at 0.05: shown, unless clean accuracy or accuracy at a smaller ε is not, regardless of the claim."""
    equal = runs("full", "pgd", [150, 152, 148]) + runs("no_afd", "pgd", [150, 151, 149])
    assert verdict(equal, BETTER) == ABSENT
    for attack, eps, grid in (("clean", 0.05, "test"), ("pgd", 0.01, "epsilon")):
        apart = [
            record
            for variant, right in (("full", [190, 150, 110]), ("no_afd", [110, 80, 50]))
            for record in runs(variant, attack, right, grid=grid, eps=eps)
        ]
        assert verdict(equal + apart, BETTER) == OPEN
    later = runs("full", "pgd", [190, 150, 110], eps=0.1) + runs("no_afd", "pgd", [110, 80, 50], eps=0.1)
    assert verdict(equal + later, BETTER) == ABSENT


def test_claims_and_the_page_of_controls_show_the_same_equivalences() -> None:
    """Full against ResNet18, both trained adversarially, of the stored records: up to 8/255, not at 0.05 and 0.1."""
    report = Report.load("cpu", Path(__file__).parents[1] / "results")
    (dataset,) = report.datasets
    ours = Measured(report, dataset)
    on_page = controls.effects(report, dataset, 0.05)
    name = controls.DAAM["adversarial"]
    pages = {eps: each[name].is_equivalent for (a, eps), each in on_page.items() if a == "pgd" and eps}
    pages = {eps: each for eps, each in pages.items() if eps <= 0.1}
    found = {}
    for eps in pages:
        cells = [
            Cell("chest_xray", model, "robust", "pgd", eps, 0.0) for model in ("full", "resnet18/adversarial")
        ]
        p = ours.equivalence(Contrast(((1, cells[0]), (-1, cells[1])), "higher", ""))
        found[eps] = p is not None and p < 0.05
    assert found == pages
    assert max(eps for eps, shown in found.items() if shown) == pytest.approx(8 / 255, abs=1e-4)
    assert not found[0.05]
    assert not found[0.1]


def test_what_it_is_tested_against_is_said_and_no_interval_is_longer_than_a_difference_can_be() -> None:
    bound = {
        "kind": "bound",
        "variants": "full",
        "attacks": "pgd",
        "eps": 0.05,
        "low": "constant",
        "strict": True,
    }
    near = BELOW | {"near": 100, "high": None, "strict": False}
    stable = {
        "kind": "trend", "variants": "full", "along": "attack", "start": "fgsm", "to": "pgd", "eps": 0.05,
        "direction": "stable",
    }  # fmt: skip
    records = runs("full", "pgd", [150, 152, 148]) + runs("full", "fgsm", [152, 152, 148])
    for check, words in (
        (bound, "tested against: above the constant classifier, 66 %"),
        (BELOW, "tested against: below 67 %"),
        (near, "tested against: within ±10 of 100 %"),
        (stable, "tested against: within ±5 points"),
    ):
        found = judged(records, check)
        assert found is not None
        assert words in found.words
    wide = judged(runs("full", "pgd", [200, 200, 20]) + runs("no_afd", "pgd", [150, 0, 0]), BETTER)
    assert wide is not None
    assert "+100.0]" in wide.words
