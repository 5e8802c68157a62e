"""Claims about mechanisms, by planted records of probes; phantoms show and decide nothing."""

from typing import Any

import numpy as np
import pytest
from report_records import data_record, head, provenance, runs

from meddef.claims.entries import claims
from meddef.claims.model import ALONE, Probe
from meddef.claims.verdicts import (
    NOT_DECIDED,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    Row,
    rows,
)
from meddef.probes.registry import PROBES
from meddef.report.report import Report

Records = list[dict[str, Any]]
N = 60
WITHOUT_DATA = {  # files, splits, images or code that are unavailable
    "III-A1.roct-size", "III-A1.chest-size", "III-A1.roct-aspect", "III-A1.chest-channels", "III-A2.leakage",
    "V-F.varying", "I.dataset-dependent", "V-H.generalization", "code-availability.reproduced",
}  # fmt: skip


def probed(
    probe: str,
    measures: dict[str, Any],
    *,
    variant: str = "full",
    seeds: int = 3,
    dataset: str = "chest_xray",
) -> Records:
    """One record per seed; a number stands for one per image, a list for the numbers of each image."""
    values = {k: v if isinstance(v, list) else [v] * N for k, v in measures.items()}
    return [
        {
            **head(dataset, "probe"), "probe": probe, "variant": variant, "seed": seed, "n": N, "measures": values,
            "training": "clean" if variant == "resnet18" else "adversarial", "labels": "01" * (N // 2),
            "settings": {"eps": 0.031373, "steps": 40}, "data_fingerprint": f"data-{dataset}",
        }
        for seed in range(seeds)
    ]  # fmt: skip


def judged(records: Records, name: str, *, size: int = 224, dataset: str = "chest_xray") -> Row:
    data = data_record(dataset) | {"image_size": size}
    found = rows([Report("planted", [data, *records], provenance())])
    return next(row for row in found if row.claim.id == name)


def around(value: float, spread: float = 0.05) -> list[float]:
    """Numbers per image whose logarithms are around that of ``value``."""
    steps = np.linspace(-1, 1, N)
    return [float(value * np.exp(spread * step)) for step in steps]


@pytest.mark.parametrize(
    ("ratio", "seeds", "verdict"),
    [
        (0.9, 3, REPRODUCED),
        (1.1, 3, NOT_REPRODUCED),
        (1.002, 3, NOT_DECIDED),
        (0.9, 2, NOT_DECIDED),
        (0.9, 0, NOT_TESTED),
    ],
)
def test_noise_over_signal_must_fall(ratio: float, seeds: int, verdict: str) -> None:
    records = probed("components", {"in": 0.4, "daam": around(0.4 * ratio)}, seeds=seeds)
    found = judged(records, "abstract.neutralize")
    assert found.measured == verdict
    if seeds:
        assert (
            f"perturbation after DAAM over its input, Full DAAM {ratio:.2f} ["
            in found.judged[0].outcome.words
        )


def test_both_parts_of_the_claim_on_afd_must_hold_and_a_spectrum_of_four_points_decides_nothing() -> None:
    suppressed = {"in": 0.4, "afd": around(0.3), "in high": 0.5}
    less = probed("components", {**suppressed, "afd high": around(0.4)})
    more = probed("components", {**suppressed, "afd high": around(0.6)})
    assert judged(less, "I.afd-noise").measured == REPRODUCED
    assert judged(more, "I.afd-noise").measured == NOT_REPRODUCED
    assert judged(more, "I.afd-noise", size=64).measured == NOT_DECIDED


@pytest.mark.parametrize(
    ("with_msf", "without", "verdict"),
    [
        (0.9, 0.3, REPRODUCED),
        (0.3, 0.9, NOT_REPRODUCED),
        (0.5, 0.5, NOT_DECIDED),
    ],
)
def test_msf_must_help_at_every_scale(with_msf: float, without: float, verdict: str) -> None:
    def answers(share: float) -> dict[str, Any]:
        right = [int(i < share * N) for i in range(N)]
        return {"1": right, "4": right, "16": right}

    records = probed("bands", answers(with_msf), variant="no_afd_mfe")
    records += probed("bands", answers(without), variant="no_afd_mfe_msf")
    assert judged(records, "I.msf-scales").measured == verdict
    assert judged(records, "III-C1.concentrating").measured == verdict


@pytest.mark.parametrize(
    ("confidence", "right", "verdict"),
    [
        (0.9, [1] * 54 + [0] * 6, NOT_DECIDED),  # .9 of 60: the interval is wider than .05
        (0.99, [1] * 30 + [0] * 30, NOT_REPRODUCED),
        (0.995, [1] * 60, REPRODUCED),
        (0.97, [1] * 60, REPRODUCED),
        (0.94, [1] * 60, NOT_REPRODUCED),  # right more often than sure
    ],
)
def test_confidence_must_be_within_five_points_of_accuracy(
    confidence: float, right: list[int], verdict: str
) -> None:
    sure = [confidence + 0.0001 * (i % 3) for i in range(N)]
    records = probed("calibration", {"confidence": sure, "right": right})
    assert judged(records, "V-H.calibrated").measured == verdict


def test_two_errors_that_cancel_are_no_calibration() -> None:
    """Half is 95 % sure and right in 55 %, half the other way round: 75 % of both, and .4 off in each half."""
    n = 8000
    sure = [0.95] * (n // 2) + [0.55] * (n // 2)
    right = [int(i % 20 < 11) for i in range(n // 2)] + [int(i % 20 < 19) for i in range(n // 2)]
    records = probed("calibration", {"confidence": sure, "right": right})
    found = judged([record | {"n": n, "labels": "01" * (n // 2)} for record in records], "V-H.calibrated")
    assert found.measured == NOT_DECIDED
    words = found.judged[0].outcome.words
    assert words.startswith(
        "Confidence minus accuracy 0.00 [-0.01, 0.01], n = 8000, expected calibration error 0.40"
    )


@pytest.mark.parametrize(("similarity", "verdict"), [(0.99, REPRODUCED), (0.8, NOT_REPRODUCED)])
def test_visible_change_is_structural_similarity(similarity: float, verdict: str) -> None:
    records = probed("visibility", {"jsma ssim": around(similarity, 0.005)})
    assert judged(records, "II-B.integrity").measured == verdict


@pytest.mark.parametrize(
    ("full", "verdict"),
    [(180, REPRODUCED), (104, NOT_REPRODUCED), (140, NOT_DECIDED)],
)
def test_the_full_model_must_gain_more_than_its_components_together(full: int, verdict: str) -> None:
    """100 of 200 without any component, 110, 115 and 115 with one: 40 more together, so that 140 is their sum.

    Of 200 images 180 are 20 points more than that, and 104 are 18 less.
    """
    counts = dict(zip(ALONE, (110, 115, 115), strict=True)) | {"no_afd_mfe_msf": 100, "full": full}
    records = []
    for variant, right in counts.items():
        for attack in ("fgsm", "pgd", "bim"):
            for eps in (0.01, 0.05, 0.1):
                records += runs(variant, attack, [right] * 3, eps=eps)
    found = judged(records, "V-C.sum")
    assert found.measured == verdict
    assert {"full", "no_afd_mfe_msf", *ALONE} == set(counts)


@pytest.mark.parametrize(("spread", "verdict"), [(0.5, NOT_DECIDED), (0.01, NOT_REPRODUCED)])
def test_images_must_vary_and_one_dataset_is_not_both(spread: float, verdict: str) -> None:
    values = {f"{name} before": around(50, spread) for name in ("brightness", "contrast", "noise")}
    values["noise after"] = 1.0
    (record,) = probed("images", values, seeds=1)
    found = judged(
        [{k: v for k, v in record.items() if k not in ("variant", "training", "seed")}], "III-A1.variability"
    )
    assert found.measured == verdict
    if verdict == NOT_DECIDED:
        assert found.why == "ROCT not run"


@pytest.mark.parametrize(
    ("name", "probe", "measures"),
    [
        ("V-I.non-diagnostic", "regions", {"clean": 1, "outside": 0}),
        ("V-I.shortcuts", "shortcuts", {"border": 1, "letter removed": 1, "letter moved": 1}),
    ],
)
def test_phantoms_show_what_they_show_and_decide_nothing(
    name: str, probe: str, measures: dict[str, Any]
) -> None:
    records = probed(probe, measures, dataset="phantom_xray")
    found = judged(records, name, dataset="phantom_xray")
    assert found.measured == NOT_DECIDED
    assert found.why == "lesions are known only for phantoms"
    assert found.judged[0].outcome.words.startswith("Phantoms do not decide; on them: 0 of ")
    assert judged([], name, dataset="phantom_xray").measured == NOT_TESTED


def test_phantoms_say_nothing_of_claims_that_are_not_about_lesions() -> None:
    records = probed("components", {"in": 0.4, "daam": 0.2}, dataset="phantom_xray")
    assert judged(records, "abstract.neutralize", dataset="phantom_xray").measured == NOT_TESTED


def test_the_lesion_s_part_of_a_claim_keeps_it_open() -> None:
    """DAAM suppresses the perturbation on real images; whether it attends to lesions is unknown there."""
    records = probed("components", {"in": 0.4, "daam": around(0.3)})
    assert judged(records, "I.focus").measured == NOT_DECIDED
    records = probed("components", {"in": 0.4, "daam": around(0.5)})
    assert judged(records, "I.focus").measured == NOT_REPRODUCED


def test_images_of_another_order_cannot_be_averaged() -> None:
    records = probed("components", {"in": 0.4, "daam": 0.3})
    records[0]["labels"] = "10" * (N // 2)
    with pytest.raises(ValueError, match="different images"):
        judged(records, "abstract.neutralize")


def test_no_claim_is_left_untested_for_want_of_code() -> None:
    """A testable claim has a check, or needs unavailable data."""
    assert {c.id for c in claims() if not c.check and not c.unjudged} == WITHOUT_DATA
    for claim in claims():
        for check in claim.check:
            if isinstance(check, Probe):
                assert check.probe in PROBES
                assert claim.run
