"""The score of the paper's claims: verdicts by hand-made records, and counts that add up."""

import pandas as pd
import pytest
from meddef.report.claims_measured import CONTRADICTED, HOLDS, OPEN
from report_records import attack_record, data_record, provenance, small_run, train_record

from meddef.paper import CLAIMS
from meddef.report import claims_judged, claims_score
from meddef.report.report import Report

LABELS = "0" * 40


def answers(right: int) -> str:
    return "0" * right + "1" * (40 - right)


def resnet_under_attack(after: dict[float, int], clean: int = 39) -> Report:
    """ResNet18 on chest X-rays: images right without attack, and under every gradient attack at each ε."""
    records = [data_record("chest_xray"), train_record("chest_xray", "resnet18", "clean")]
    before = answers(clean)
    more = {"training": "clean"}
    records.append(attack_record("chest_xray", "resnet18", "clean", LABELS, before, before, eps=0.0, **more))
    records.append(
        attack_record("chest_xray", "resnet18", "clean", LABELS, before, before, eps=0.0, grid="test", **more)
    )
    for eps, right in after.items():
        for attack in claims_judged.GRADIENT:
            records.append(
                attack_record(
                    "chest_xray", "resnet18", attack, LABELS, before, answers(right), eps=eps, **more
                )
            )
    return Report("made", records, provenance())


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [(30, 5, HOLDS), (20, 19, OPEN), (5, 30, CONTRADICTED)],
)
def test_a_fall_must_be_clear(small: int, large: int, verdict: str) -> None:
    report = resnet_under_attack({0.01: small, 0.10: large})
    check = claims_judged.CHECKS["V-C.baseline-degrades"]
    judged = check(report, report.datasets[0], 0.05)
    assert judged is not None
    assert judged[0] == verdict


def test_a_claim_about_models_that_were_not_run_is_not_judged() -> None:
    report = resnet_under_attack({0.01: 30, 0.10: 5})
    assert claims_judged.CHECKS["V-D.strong"](report, report.datasets[0], 0.05) is None
    assert claims_judged.CHECKS["V-B.highest-clean"](report, report.datasets[0], 0.05) is None


@pytest.mark.parametrize(("clean", "verdict"), [(29, HOLDS), (40, CONTRADICTED)])
def test_a_printed_accuracy_must_lie_in_the_interval(clean: int, verdict: str) -> None:
    """72.92 % are printed for ResNet18: 29 of 40 is 72.5 %, with an interval around it; 40 of 40 ends at 91 %."""
    report = resnet_under_attack({0.05: 1}, clean)
    judged = claims_judged.CHECKS["V-B.baseline"](report, report.datasets[0], 0.05)
    assert judged is not None
    assert judged[0] == verdict


def test_bounds() -> None:
    def rows(*values: tuple[float, float, float]) -> pd.DataFrame:
        return pd.DataFrame(values, columns=["asr_low", "asr", "asr_high"])

    assert claims_judged.within(rows((20, 30, 40)), None, 67)[0] == HOLDS
    assert claims_judged.within(rows((20, 30, 40), (60, 70, 80)), None, 67)[0] == OPEN
    assert claims_judged.within(rows((20, 30, 40), (70, 80, 90)), None, 67)[0] == CONTRADICTED
    assert claims_judged.within(rows((5, 10, 15)), 17, 83)[0] == CONTRADICTED


def test_verdicts_over_several_images() -> None:
    assert claims_score.verdict({}) == claims_score.UNJUDGED
    assert claims_score.verdict({"a": (HOLDS, ""), "b": (HOLDS, "")}) == claims_score.REPRODUCED
    assert claims_score.verdict({"a": (HOLDS, ""), "b": (OPEN, "")}) == claims_score.UNJUDGED
    assert claims_score.verdict({"a": (HOLDS, ""), "b": (CONTRADICTED, "")}) == claims_score.NOT_REPRODUCED


def test_the_counts_cover_the_ledger_and_stand_ins_do_not_count() -> None:
    assert set(claims_judged.CHECKS) <= {claim["id"] for claim in CLAIMS}
    stand_in = Report("smoke", small_run("phantom_xray"), provenance())
    assert claims_score.judge_all([stand_in], 0.05) == {}
    judged = claims_score.judge_all([resnet_under_attack({0.01: 30, 0.05: 20, 0.10: 5})], 0.05)
    counts = claims_score.score(judged)
    assert sum(counts.values()) == len(CLAIMS)
    assert counts[claims_score.REPRODUCED] == 2  # it loses under attack, and more under a larger one
    why = claims_score.unjudged(judged).frame["claims"].astype(int).sum()
    assert why == counts[claims_score.UNJUDGED]
