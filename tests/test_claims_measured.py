"""Claims judged by synthetic records: the outcome of each rule, and its change when one input changes."""

from collections.abc import Iterable
from typing import Any

import pytest
from report_records import answers, attack_record, chosen_labels, data_record, provenance, runs

from meddef.claims.entries import load
from meddef.claims.index import STANDARDISED
from meddef.claims.ledger import by_measured
from meddef.claims.measured import Measured
from meddef.claims.rules import ABSENT, FAILS, HOLDS, OPEN, UNDEFINED, Outcome
from meddef.report.report import Report

Records = list[dict[str, Any]]
GRADIENT = "attacks: [fgsm, pgd, bim]"


def source(records: Iterable[dict[str, Any]], reading: str = "", size: int = 224) -> Measured:
    """At the paper's image size, where nothing else is said."""
    sizes = {"train": 16, "val": 8, "test": 200}
    data = data_record("chest_xray", sizes) | {"image_size": size}
    report = Report("made", [data, *records], provenance())
    return Measured(report, report.datasets[0], reading)


def judged(records: Iterable[dict[str, Any]], *checks: dict[str, Any], reading: str = "") -> Outcome | None:
    """A claim with these checks, by these records."""
    entry = {"id": "x.y", "section": "x", "kind": "ordering", "quote": "", "about": "", "check": list(checks)}
    (claim,) = load([entry])
    return by_measured(claim, source(records, reading))


def verdict(records: Iterable[dict[str, Any]], *checks: dict[str, Any], reading: str = "") -> str | None:
    found = judged(records, *checks, reading=reading)
    return found and found.verdict


BETTER = {"kind": "ordering", "better": "full", "than": "no_afd", "attacks": "pgd", "eps": 0.05}


@pytest.mark.parametrize(
    ("full", "less", "expected"),
    [
        ([150, 152, 148], [90, 92, 88], HOLDS),  # 30 points, 1 point between trainings
        ([90, 92, 88], [150, 152, 148], FAILS),
        ([150, 152, 148], [150, 151, 149], ABSENT),  # no difference, known to a few points
        ([190, 150, 110], [110, 80, 50], OPEN),  # 35 points, but trainings lie 40 apart
        ([150], [90], OPEN),  # one training of each decides nothing
        ([150, 152], [90, 92], OPEN),
    ],
)
def test_an_ordering(full: list[int], less: list[int], expected: str) -> None:
    assert verdict(runs("full", "pgd", full) + runs("no_afd", "pgd", less), BETTER) == expected


def test_one_training_says_that_these_differ() -> None:
    found = judged(runs("full", "pgd", [150]) + runs("no_afd", "pgd", [90]), BETTER)
    assert found is not None
    assert "+30.0 points" in found.words
    assert "these two trainings differ" in found.words


def test_a_model_that_was_not_run_is_not_judged() -> None:
    assert judged(runs("full", "pgd", [150, 152, 148]), BETTER) is None


def test_every_model_that_a_claim_names_must_have_been_run_for_it_to_hold() -> None:
    full = runs("full", "pgd", [150, 152, 148])
    some = runs("no_afd", "pgd", [90, 92, 88])
    check = BETTER | {"than": ["no_afd", "no_afd_mfe"]}
    found = judged(full + some, check)
    assert found is not None
    assert (found.verdict, found.so_far) == (OPEN, HOLDS)
    assert "Not run: 1 of 2" in found.words
    assert verdict(full + some + runs("no_afd_mfe", "pgd", [90, 92, 88]), check) == HOLDS
    assert verdict(some + runs("full", "pgd", [50, 52, 48]), check) == FAILS  # one that fails is enough


def test_an_attack_that_was_not_run_is_no_gap() -> None:
    records = runs("full", "pgd", [150, 152, 148]) + runs("no_afd", "pgd", [90, 92, 88])
    assert verdict(records, BETTER | {"attacks": ["pgd", "bim", "jsma"]}) == HOLDS


def test_no_lower_allows_the_margin_and_no_more() -> None:
    check = BETTER | {"says": "no_lower"}
    same = runs("no_afd", "pgd", [150, 152, 148])
    assert verdict(same + runs("full", "pgd", [149, 151, 147]), check) == HOLDS
    assert verdict(same + runs("full", "pgd", [110, 112, 108]), check) == FAILS


@pytest.mark.parametrize(
    ("small", "large", "direction", "expected"),
    [
        ([150, 152, 148], [50, 52, 48], "falls", HOLDS),
        ([50, 52, 48], [150, 152, 148], "falls", FAILS),
        ([150, 152, 148], [50, 52, 48], "stable", FAILS),
        ([150, 152, 148], [150, 151, 148], "stable", HOLDS),
        ([9, 10, 8], [0, 0, 0], "falls", UNDEFINED),  # 4.5 % are at the floor, nothing can fall from there
        ([30, 32, 28], [0, 0, 0], "falls", HOLDS),
    ],
)
def test_a_trend_along_epsilon(small: list[int], large: list[int], direction: str, expected: str) -> None:
    records = runs("full", "pgd", small, eps=0.01) + runs("full", "pgd", large, eps=0.1)
    check = {
        "kind": "trend", "variants": "full", "along": "eps", "start": 0.01, "to": 0.1, "direction": direction,
        "attacks": "pgd",
    }  # fmt: skip
    assert verdict(records, check) == expected


def collapsed(records: Records) -> Records:
    """The same models answering 1 for every image, before and after."""
    return [r | {"before": "1" * r["n"], "after": "1" * r["n"]} for r in records]


BELOW = {
    "kind": "bound",
    "variants": "full",
    "metrics": "asr",
    "attacks": ["pgd"],
    "high": 67,
    "strict": True,
}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([150, 152, 148], HOLDS),  # ASR 25 %
        ([20, 22, 18], FAILS),  # 90 %
        ([70, 72, 68], OPEN),  # 65 %: its interval crosses 67
        ([150], OPEN),
    ],
)
def test_a_bound(after: list[int], expected: str) -> None:
    assert verdict(runs("full", "pgd", after), BELOW) == expected


def test_a_bound_is_judged_by_the_strongest_attack_of_all_grids() -> None:
    weak = runs("full", "pgd", [150, 152, 148], grid="pruning", settings={"steps": 10, "step_size": 0.01})
    strong = runs("full", "pgd", [20, 22, 18])
    assert verdict(weak, BELOW) == HOLDS
    assert verdict(weak + strong, BELOW) == FAILS
    assert verdict(strong + weak, BELOW) == FAILS


def test_the_worst_case_counts_an_image_that_any_attack_changes() -> None:
    """FGSM leaves the first 120 images, BIM the last 120: each 60 %, both together 20 %."""
    labels = chosen_labels(200)
    wrong = answers(labels, 0)
    records = []
    for seed in range(3):
        for attack, after in (
            ("fgsm", labels[:120] + wrong[120:]),
            ("bim", wrong[:80] + labels[80:]),
        ):
            records.append(attack_record("chest_xray", "full", attack, labels, labels, after, seed=seed))
    each = BELOW | {"attacks": ["fgsm", "bim"]}
    assert verdict(records, each) == HOLDS  # ASR 40 %
    assert verdict(records, each | {"attacks": ["fgsm", "bim", "worst"]}) == FAILS  # 80 %


def test_a_collapsed_model_has_no_success_rate() -> None:
    records = collapsed(runs("full", "pgd", [150, 152, 148], rate=0.8))
    assert verdict(records, BELOW | {"rates": [0.8]}) == UNDEFINED
    found = judged(records + runs("full", "pgd", [150, 152, 148]), BELOW | {"rates": [0.0, 0.8]})
    assert found is not None
    assert found.verdict == HOLDS
    assert "left out: PGD ASR at 80 %: Full DAAM: a constant classifier" in found.words


def test_pruned_and_unpruned_are_compared_with_the_same_settings() -> None:
    """Unpruned 40 steps leave 100 images and 10 steps 150; pruned 10 steps leave 150: pruning changes nothing."""
    ten = {"steps": 10, "step_size": 0.01}
    records = runs("full", "pgd", [100, 102, 98])
    pruned = runs("full", "pgd", [150, 152, 148], n=200, grid="pruning", rate=0.3, settings=ten)
    check = {
        "kind": "trend", "variants": "full", "along": "rate", "start": 0.0, "to": 0.3, "direction": "falls",
        "metrics": "asr", "attacks": "pgd", "rule": "some",
    }  # fmt: skip
    assert judged(records + pruned, check) is None  # no setting that both have
    unpruned = runs("full", "pgd", [150, 152, 148], grid="pruning", settings=ten)
    assert verdict(records + pruned + unpruned, check) == ABSENT


def test_different_numbers_of_images_are_cut_to_those_that_both_saw() -> None:
    """Of the first 100 images both have 90 right; that the other model has few right of the rest is not counted."""
    records = runs("full", "pgd", [90, 91, 89], n=100) + runs("no_afd", "pgd", [90, 91, 89])
    found = judged(records, BETTER)
    assert found is not None
    assert found.verdict == ABSENT
    assert "n = 100" in found.words


@pytest.mark.parametrize(
    ("right", "expected"),
    [([858, 861, 859], HOLDS), ([800, 803, 797], FAILS), ([858], OPEN), ([879, 850, 830], OPEN)],
)
def test_a_printed_value(right: list[int], expected: str) -> None:
    """97.67 % are printed; of 879 that is 858 or 859."""
    check = {"kind": "values", "values": [{"variant": "full", "dataset": "chest_xray", "value": "97.67"}]}
    assert verdict(runs("full", "clean", right, n=879, grid="test"), check) == expected


def test_epsilon_in_standardised_units_is_the_nearest_run() -> None:
    """0.05 × 0.22157896 is 0.0111 in pixels: 0.01 lies within 15 %, 0.0078 does not."""
    strong, weak = (
        runs("full", "pgd", [20, 22, 18]),
        runs("full", "pgd", [190, 192, 188], eps=0.01),
    )
    assert verdict(strong + weak, BELOW) == FAILS
    assert verdict(strong + weak, BELOW, reading=STANDARDISED) == HOLDS
    far = runs("full", "pgd", [190, 192, 188], eps=0.0078)
    assert judged(strong + far, BELOW, reading=STANDARDISED) is None


def test_the_constant_classifier_is_that_of_the_images() -> None:
    """Two thirds of the images are of one class."""
    check = {"kind": "bound", "variants": "full", "attacks": "pgd", "eps": 0.05, "low": "constant"}
    assert verdict(runs("full", "pgd", [190, 192, 188]), check) == HOLDS
    assert verdict(runs("full", "pgd", [60, 62, 58]), check) == FAILS


def test_jsma_has_no_epsilon_and_counts_once() -> None:
    records = runs("full", "jsma", [150, 152, 148]) + runs("no_afd", "jsma", [90, 92, 88])
    found = judged(records, BETTER | {"attacks": "jsma", "eps": [0.01, 0.05, 0.1]})
    assert found is not None
    assert found.words.startswith("1 of 1 comparison holds, as JSMA: Full DAAM against w/o AFD")
    trend = {
        "kind": "trend",
        "variants": "full",
        "along": "eps",
        "start": 0.01,
        "to": 0.1,
        "direction": "falls",
    }
    assert judged(records, trend | {"attacks": "jsma"}) is None


def test_the_largest_effect_is_the_mean_over_the_conditions() -> None:
    """AFD's removal costs 20 points under FGSM and 40 under PGD, MFE's and MSF's 10 and 10."""
    right = {"full": (180, 160), "no_afd": (140, 80), "no_afd_mfe": (120, 60), "no_afd_mfe_msf": (100, 40)}
    records = [
        record
        for variant, counts in right.items()
        for attack, count in zip(("fgsm", "pgd"), counts, strict=True)
        for record in runs(variant, attack, [count, count + 2, count - 2])
    ]
    check = {"kind": "largest", "attacks": ["fgsm", "pgd"], "eps": 0.05}
    assert verdict(records, check | {"component": "AFD"}) == HOLDS
    found = judged(records, check | {"component": "MSF"})
    assert found is not None
    assert found.verdict == FAILS
    assert "what removing MSF costs against AFD, on average: -20.0 points" in found.words


def test_half_the_images_open_what_only_many_can_show() -> None:
    """At 97.67 % printed: 95.6 % of 879 is too little, of 90 it could be chance."""
    check = {"kind": "values", "values": [{"variant": "full", "dataset": "chest_xray", "value": "97.67"}]}
    assert verdict(runs("full", "clean", [838, 840, 836], n=879), check) == FAILS
    assert verdict(runs("full", "clean", [86, 86, 86], n=90), check) == OPEN
