"""Changes planted in hand-made records: the verdicts that hang on them change, and no others."""

from collections.abc import Callable
from typing import Any

import pytest
from report_records import answers, data_record, provenance, runs
from test_claims_measured import BELOW, Records, collapsed, verdict

from meddef.claims.rules import ABSENT, FAILS, HOLDS, OPEN, UNDEFINED
from meddef.claims.verdicts import MIXED, NOT_DECIDED, NOT_REPRODUCED, REPRODUCED, rows
from meddef.report.report import Report


def all_models(pruned: bool = True) -> Records:
    """A profile in which the full model is clearly above ResNet18 and equal to no_afd."""
    records: Records = []
    for variant, clean, right in (("full", 196, 150), ("no_afd", 196, 150), ("resnet18", 196, 20)):
        counts = [right, right + 2, right - 2]
        records += runs(variant, "clean", [clean, clean + 1, clean - 1], grid="test")
        for attack in ("fgsm", "pgd"):
            records += runs(variant, attack, counts)
            if pruned:
                records += runs(variant, attack, counts, grid="pruning", rate=0.3)
    return records


CLAIMS: dict[str, dict[str, Any]] = {
    "above": {"kind": "ordering", "better": "full", "than": "resnet18", "attacks": ["fgsm", "pgd"], "eps": 0.05},
    "beyond": {"kind": "ordering", "better": "full", "than": "no_afd", "attacks": ["fgsm", "pgd"], "eps": 0.05},
    "clean": {"kind": "ordering", "better": "full", "than": "resnet18", "metrics": "clean", "says": "no_lower"},
    "bound": BELOW | {"rates": [0.0, 0.3]},
    "pruned": {
        "kind": "trend", "variants": "full", "along": "rate", "start": 0.0, "to": 0.3, "direction": "stable",
        "metrics": "asr", "attacks": ["fgsm", "pgd"],
    },
}  # fmt: skip
BEFORE = {"above": HOLDS, "beyond": ABSENT, "clean": HOLDS, "bound": HOLDS, "pruned": HOLDS}
Change = Callable[[dict[str, Any]], dict[str, Any]]


def is_of(record: dict[str, Any], **wanted: Any) -> bool:
    return all(record[name] == value for name, value in wanted.items())


def swapped(record: dict[str, Any]) -> dict[str, Any]:
    """The predictions of one training of ResNet18 under PGD inverted: the sign of its difference flips."""
    if not is_of(record, variant="resnet18", attack="pgd", seed=1, prune_rate=0.0):
        return record
    return record | {"after": answers(record["labels"], 190), "correct_after": 190}


def every_second(record: dict[str, Any]) -> dict[str, Any]:
    """A record of every fourth image: the same rates on fewer."""
    labels, before, after = (record[name][::4] for name in ("labels", "before", "after"))
    return record | {"n": len(labels), "labels": labels, "before": before, "after": after}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda records: list(map(swapped, records)), {"above": OPEN}, id="a seed's sign flipped"
        ),
        pytest.param(
            lambda records: (
                records + runs("full", "pgd", [20, 22, 18], settings={"steps": 100, "step_size": 0.01})
            ),
            {"bound": FAILS},
            id="a stronger grid of one model",
        ),
        pytest.param(
            lambda records: [r for r in records if r["seed"] == 0],
            dict.fromkeys(BEFORE, OPEN),
            id="one training of three",
        ),
        pytest.param(
            lambda records: [r for r in records if not r["prune_rate"]],
            {"bound": OPEN, "pruned": None},
            id="pruning not run",
        ),
        pytest.param(
            lambda records: (
                collapsed([r for r in records if is_of(r, variant="full", prune_rate=0.3)])
                + [r for r in records if not is_of(r, variant="full", prune_rate=0.3)]
            ),
            {"pruned": UNDEFINED},
            id="the pruned model collapsed",
        ),
        pytest.param(
            lambda records: [r for r in records if r["variant"] != "resnet18"],
            {"above": None, "clean": None},
            id="a model not run",
        ),
        pytest.param(
            lambda records: list(map(every_second, records)),
            dict.fromkeys(("beyond", "clean"), OPEN),
            id="a quarter of the images",
        ),
        pytest.param(
            lambda records: [r for r in records if r["attack"] != "fgsm"], {}, id="an attack not run for any"
        ),
    ],
)
def test_planted_changes_change_the_right_verdicts_and_no_others(
    change: Callable[[Records], Records], expected: dict[str, str | None]
) -> None:
    assert {name: verdict(all_models(), check) for name, check in CLAIMS.items()} == BEFORE
    after = {name: verdict(change(all_models()), check) for name, check in CLAIMS.items()}
    assert after == BEFORE | expected


def test_a_profile_that_comes_to_the_contrary_makes_it_mixed() -> None:
    """ResNet18 keeps 5 % under PGD in one profile and 95 % in another: catastrophic, not so, and both."""

    def profile(name: str, right: int) -> Report:
        records = runs("resnet18", "pgd", [right, right + 2, right - 2])
        return Report(name, [data_record("chest_xray"), *records], provenance())

    def measured(*reports: Report) -> dict[str, str]:
        return {row.claim.id: row.measured for row in rows(reports)}

    low, high = profile("low", 10), profile("high", 190)
    both, one, other = measured(low, high), measured(low), measured(high)
    about = [name for name in both if both[name] == MIXED]
    assert about == ["fig6.catastrophic", "V-E.catastrophic"]
    assert {one[name] for name in about} == {REPRODUCED}
    assert {other[name] for name in about} == {NOT_REPRODUCED}
    open_in_one = {"V-D.baseline", "fig6.low"}  # parts of them were not run, so they can fail and not hold
    assert {one[name] for name in open_in_one} == {NOT_DECIDED}
    assert {both[name] for name in open_in_one} == {NOT_REPRODUCED}
    assert {name for name in both if both[name] != one[name]} == {*about, *open_in_one}
