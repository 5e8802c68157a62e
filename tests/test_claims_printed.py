"""Claims judged by the paper's own numbers: which cells are compared, and verdicts worked out by hand."""

from typing import Any

import pytest

from meddef import paper
from meddef.claims.cells import Cell, Contrast, comparisons
from meddef.claims.entries import claims, load
from meddef.claims.facts_printed import FACTS
from meddef.claims.ledger import by_printed, decides, printed_findings
from meddef.claims.model import Bound, Fact, Ordering, Probe, Setting, Trend
from meddef.claims.printed import Printed
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome
from meddef.printed.published import Published


def judged(*checks: dict[str, Any]) -> Outcome | None:
    entry = {"id": "x.y", "section": "x", "kind": "ordering", "quote": "", "about": "", "check": list(checks)}
    return by_printed(load([entry])[0], Published())


def test_what_a_check_compares() -> None:
    check = Ordering(kind="ordering", pairs=[("full", "no_afd")], eps=[0.05], attacks=["pgd", "bim"])
    (pgd, _, _, bim) = comparisons(check)
    assert isinstance(pgd, Contrast)
    assert pgd.words == "ROCT PGD ε 0.05: Full DAAM against w/o AFD"
    assert pgd.terms == (
        (1, Cell("roct", "full", "robust", "pgd", 0.05, 0.0)),
        (-1, Cell("roct", "no_afd", "robust", "pgd", 0.05, 0.0)),
    )
    assert bim.words == "Chest X-Ray BIM ε 0.05: Full DAAM against w/o AFD"


def test_a_fall_of_the_success_rate_is_a_rise_of_accuracy() -> None:
    given = {"kind": "trend", "variants": "full", "along": "rate", "start": 0.0, "to": 0.3, "attacks": "pgd"}
    for metric, direction, sign in (
        ("asr", "falls", 1), ("asr", "rises", -1), ("robust", "falls", -1), ("robust", "rises", 1)
    ):  # fmt: skip
        (found, _) = comparisons(Trend(**given, metrics=metric, direction=direction, eps=0.05))
        assert isinstance(found, Contrast)
        assert [(s, cell.rate) for s, cell in found.terms] == [(sign, 0.3), (-sign, 0.0)]


def test_groups_of_models_and_all_rates() -> None:
    check = Ordering(
        kind="ordering", better="full", than="partial", metrics="asr", rates="all", attacks="bim"
    )
    assert len(comparisons(check)) == 2 * 3 * 9
    bound = Bound(kind="bound", variants="defended", rates="all", metrics="asr", high=67)
    assert len(bound.variants) == 4
    with pytest.raises(ValueError, match="hihg"):
        Bound(kind="bound", variants="full", hihg=67)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        # Table 1, ε = 0.05, BIM: full 75.35, w/o AFD 32.85; ResNet18 under PGD 100.00, full 99.97
        ({"better": "full", "than": "no_afd", "attacks": "bim", "eps": 0.05, "datasets": "roct"}, HOLDS),
        ({"better": "full", "than": "resnet18", "attacks": "pgd", "eps": 0.05, "datasets": "roct"}, FAILS),
        # clean: full 98.97, ResNet18 99.59 on ROCT, within 2 points
        ({"better": "full", "than": "resnet18", "metrics": "clean", "datasets": "roct"}, FAILS),
        ({"better": "full", "than": "resnet18", "metrics": "clean", "datasets": "roct", "says": "no_lower"}, HOLDS),
        # a tie counts for the one said to be better: 72.89 and 72.89
        ({"better": "full", "than": "no_afd", "attacks": "bim", "eps": 0.05, "datasets": "chest_xray"}, HOLDS),
        # no table has rate 0.4, and Table 1 no accuracy after pruning
        ({"better": "full", "than": "no_afd", "metrics": "clean", "rates": 0.4}, None),
    ],
)  # fmt: skip
def test_orderings_by_eye(check: dict[str, Any], expected: str | None) -> None:
    found = judged({"kind": "ordering", **check})
    assert (found and found.verdict) == expected


def test_what_the_tables_allow_for_an_unpruned_model_by_hand() -> None:
    """ROCT, full, FGSM: (98.97 - 64.92) / 98.97 at 0.10, and (100 - 64.92) / 98.97; less at 0.05."""
    low, high = Printed(Published()).unpruned(Cell("roct", "full", "asr", "fgsm", 0.05, 0.0))
    assert (float(low), float(high)) == (pytest.approx(10.63, abs=0.01), pytest.approx(35.45, abs=0.01))


def test_an_unpruned_rate_is_an_interval_and_may_leave_a_trend_open() -> None:
    trend = {
        "kind": "trend", "variants": "full", "along": "rate", "start": 0.0, "metrics": "asr", "datasets": "roct",
        "attacks": "fgsm",
    }  # fmt: skip
    pruned = judged(trend | {"to": 0.3, "direction": "rises"})  # 66.18 lies above 35.45
    assert pruned is not None
    assert pruned.verdict == HOLDS
    same = judged(trend | {"to": 0.3, "direction": "falls", "variants": "no_afd_mfe", "attacks": "jsma"})
    assert same is not None
    assert same.verdict == OPEN  # 70.67 lies between what 0.05 and 0.10 allow


def test_a_value_that_stands_elsewhere_is_found() -> None:
    found = judged(
        {"kind": "values", "values": [{"variant": "no_afd", "dataset": "roct", "metric": "asr", "attack": "jsma",
                                       "rate": 0.3, "value": "66.18"}]}
    )  # fmt: skip
    assert found is not None
    assert found.verdict == FAILS
    assert "(66.18 is that of Full DAAM FGSM at 30 %, Full DAAM JSMA at 30 %)" in found.words


def test_a_drop_beyond_chance_is_more_than_two_samples_differ_by() -> None:
    """Chest, ResNet18: clean 72.92, FGSM 72.92 at 0.01, BIM 15.81."""
    drop = {
        "kind": "trend", "variants": "resnet18", "along": "attack", "start": "clean", "eps": 0.01,
        "direction": "falls", "datasets": "chest_xray", "beyond_chance": True,
    }  # fmt: skip
    for attack, expected in (("fgsm", FAILS), ("bim", HOLDS)):
        found = judged(drop | {"to": attack})
        assert found is not None
        assert found.verdict == expected


# What the claims were found to be before the ledger had one evaluator, read off the paper by hand.
KNOWN = {
    "abstract.up-to": "does_not_hold", "I.roct-pruning": "does_not_hold", "I.moderate": "cannot_be_checked",
    "II-B.bim": "holds", "III-A2.duplicates": "cannot_be_checked", "III-C1.afd-clean": "does_not_hold",
    "III-C1.afd-pgd": "holds", "III-C1.mfe-jsma": "does_not_hold", "III-C1.msf-most": "does_not_hold",
    "V-B.afd-primary": "holds", "IV-B.stabilization": "cannot_be_checked", "IV-B.jsma": "cannot_be_checked",
    "V-B.minimal-clean": "holds", "V-B.minimal-robust": "holds", "V-B.baseline-attacks": "does_not_hold",
    "V-C.stable": "does_not_hold", "fig6.bim": "holds", "fig6.low": "does_not_hold", "fig10.pgd": "holds",
    "V-E.baseline": "does_not_hold", "V-G.lowest": "does_not_hold", "V-H.pathological": "holds",
    "fig12.retained": "does_not_hold", "table3.bold": "does_not_hold", "table4.bold": "holds",
    "abstract.maintaining": "holds", "III-C1.vulnerability": "does_not_hold", "V-A.distance": "cannot_be_checked",
}  # fmt: skip


def test_known_verdicts() -> None:
    found = {finding.id: finding.verdict for finding in printed_findings(Published())}
    assert {name: found[f"claim:{name}"] for name in KNOWN} == KNOWN


def test_every_claim_has_a_check_or_says_what_it_is() -> None:
    """A check, its subject, or the run that would judge it; no fact or setting without code."""
    from meddef.claims import facts_bench, facts_measured, settings

    known = set(facts_measured.FACTS) | set(facts_bench.FACTS)
    for claim in claims():
        assert claim.check or claim.unjudged or claim.run, claim.id
        for check in claim.check:
            if isinstance(check, Fact):
                assert check.fact in FACTS or check.fact in known, claim.id
                assert check.only == "printed" or claim.unjudged or check.fact in known, claim.id
            elif isinstance(check, Setting):
                assert check.setting in settings.SETTINGS, claim.id
            elif not isinstance(check, Probe):
                assert comparisons(check), claim.id
        assert callable(decides(claim.id))
    used = {c.fact if isinstance(c, Fact) else c.setting for claim in claims() for c in claim.check
            if isinstance(c, Fact | Setting)}  # fmt: skip
    assert used == set(FACTS) | known | set(settings.SETTINGS)


def test_a_claim_that_says_another_again_is_decided_by_it() -> None:
    by_id = {claim.id: claim for claim in claims()}
    again = [claim for claim in claims() if claim.same_as]
    assert len(again) > 50
    own = {claim["id"] for claim in paper.CLAIMS if "check" in claim}
    for claim in again:
        if claim.id not in own:
            assert claim.check == by_id[claim.same_as or ""].check


def test_a_tie_is_no_lead_where_some_would_do() -> None:
    """72.89 and 72.89 of Table 2: as good as, but nowhere ahead."""
    tie = {"kind": "ordering", "better": "full", "than": "no_afd", "attacks": "bim", "eps": 0.05}
    for rule, expected in (("every", HOLDS), ("some", FAILS)):
        found = judged(tie | {"datasets": "chest_xray", "rule": rule})
        assert found is not None
        assert found.verdict == expected
