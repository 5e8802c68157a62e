"""Tables and charts of defences, universal perturbations and transfer, from records made by hand."""

from typing import Any

import pytest
from report_records import attack_record, data_record, train_record

from meddef.defenses import ATTACKERS
from meddef.evaluation import rivals as cells
from meddef.figures import rivals
from meddef.report import defenses, transfer, universal
from meddef.report.report import Report

LABELS = "0123" * 5  # 20 images
WHERE = ("phantom_oct", "resnet18", "pgd")


def record(
    kind: str, right: int, before: int = 18, *, eps: float = 8 / 255, seed: int = 0, **more: Any
) -> dict[str, Any]:
    training = more.pop("training", "clean")
    shifted = "".join(str((int(c) + 1) % 4) for c in LABELS)
    said = [LABELS[:k] + shifted[k:] for k in (before, right)]
    made = attack_record(*WHERE, LABELS, *said, eps=eps, training=training, seed=seed)
    return {**made, "kind": kind, "key": f"{kind}{right}{seed}", **more}


def report(*records: dict[str, Any]) -> Report:
    trained = [train_record("phantom_oct", "resnet18", training) for training in ("clean", "adversarial")]
    known = [
        {"key": "d", **data_record("phantom_oct")},
        *({"key": str(i), **t} for i, t in enumerate(trained)),
    ]
    rows = [*known, *records]
    return Report("tiny", rows, [{"key": r["key"], "seconds": 1.0} for r in rows])


def defended(defense: str, attacker: str, right: int, **more: Any) -> dict[str, Any]:
    return record("defense", right, defense=defense, choice="jpeg", attacker=attacker, **more)


JPEG = [defended("jpeg 75", *row) for row in (("naive", 17), ("adaptive", 2), ("transfer", 5))]
CERTIFICATE = {
    **{
        k: v
        for k, v in defended("smooth", "certificate", 0, eps=None).items()
        if k not in ("before", "after")
    },
    "certified": LABELS[:10] + "-" * 4 + "000000",
    "radius": [0.1] * 5 + [0.4] * 5 + [0.0] * 4 + [0.2] * 6,
}
L2 = defended("smooth", "adaptive", 9, eps=0.25) | {"settings": {"norm": "l2"}}


def test_reports_read_what_cells_write() -> None:
    """Said twice, as reports do without torch."""
    assert defenses.ATTACKERS == ATTACKERS
    assert (defenses.NO_CERTIFICATE, universal.CONTROL) == (cells.NO_CERTIFICATE, cells.CONTROL)


def test_attackers_stand_side_by_side_with_the_worst_of_them() -> None:
    (row,) = defenses.table(report(*JPEG)).frame.to_dict("records")
    shown = {name: row[name].split("\n")[0] for name in ("clean", *defenses.ATTACKERS, "strongest")}
    assert shown == {
        "clean": "90.0", "naive": "85.0", "adaptive": "10.0", "transfer": "25.0", "strongest": "10.0",
    }  # fmt: skip
    assert (row["model"], row["defence"], row["attack"], row["n"]) == (
        "ResNet18",
        "jpeg 75",
        "PGD, ε = 8/255",
        "20",
    )


def test_the_verdict_says_what_broken_gradients_made_up() -> None:
    holds = [
        defended("other", attacker, right)
        for attacker, right in (("naive", 12), ("adaptive", 11), ("transfer", 15))
    ]
    broken, fine = str(defenses.verdict(report(*JPEG, *holds))).splitlines()
    assert "jpeg 75" in broken
    assert broken.endswith("broken gradients account for the difference.")
    assert "85.0 %" in broken
    assert fine.endswith("gradients hide little.")


def test_proven_stands_beside_attacked_by_radius() -> None:
    """By hand: of 20 images 10 are certified correct, 5 at radius 0.25; the last six certify another
    class, but for the one whose class is 0."""
    rows = defenses.certified(report(CERTIFICATE, L2)).frame.to_dict("records")
    right = [sum(LABELS[i] == "0" for i in range(14, 20)) + 10, 5]
    assert [row["L2 radius"] for row in rows] == ["0", "0.25"]
    assert [row["certified correct"].split("\n")[0] for row in rows] == [
        f"{5 * count:.1f}" for count in right
    ]
    assert [row["correct under attack"].split("\n")[0] for row in rows] == ["–", "45.0"]
    assert rows[0]["abstains"] == "20.0"


def test_a_matrix_of_sources_and_targets() -> None:
    models = ("clean", "adversarial")
    right = {
        ("clean", "clean"): 1,
        ("clean", "adversarial"): 12,
        ("adversarial", "clean"): 8,
        ("adversarial", "adversarial"): 6,
    }
    made = [
        record("transfer", count, source="resnet18", source_training=source, training=target, seed=seed)
        for (source, target), count in right.items()
        for seed in (0, 1)
    ]
    found = transfer.table(report(*made), 8 / 255)
    frame = found.frame.set_index("attacked on").map(lambda cell: str(cell).split("\n")[0])
    names = ("ResNet18", "ResNet18, adversarial training")
    for source, row in zip(models, names, strict=True):
        for target, column in zip(models, names, strict=True):
            assert frame.loc[row, column] == f"{5 * right[source, target]:.1f}"
    assert set(frame.loc["nothing", list(names)]) == {"90.0"}
    assert "Means over 2 seeds" in found.caption
    assert transfer.budgets(report(*made)) == [8 / 255]
    assert transfer.table(report(*made), 0.05).frame.empty


def test_fooling_counts_changed_answers_whatever_is_right() -> None:
    """Two seeds with different clean predictions: 12 and 14 of 20 predictions change."""
    made = []
    for seed, (before, right) in enumerate([(18, 6), (20, 6)]):
        made += [record("universal", right, before, eps=0.05, seed=seed, method="sgd")]
        made += [record("universal", before - 1, before, eps=0.05, seed=seed, method=universal.CONTROL)]
    (row,) = universal.table(report(*made)).frame.to_dict("records")
    assert [row[name].split("\n")[0] for name in ("fooled", "by random signs", "accuracy", "without")] == [
        "65.0", "5.0", "30.0", "95.0",
    ]  # fmt: skip
    assert row["n"] == "20"
    numbers = rivals.fooling(report(*made)).numbers
    assert numbers is not None
    assert sorted(numbers["fooled"].round(6)) == [5.0, 65.0]


def test_charts_draw_or_say_why_not() -> None:
    drawn = rivals.certified(report(CERTIFICATE, L2))
    assert drawn.numbers is not None
    proven = drawn.numbers.query("what == 'certified'")
    assert proven["right"].iloc[0] == pytest.approx(55)
    assert list(proven["right"]) == sorted(proven["right"], reverse=True)
    assert "certified" in drawn.svg()
    assert rivals.certified(report()).numbers is rivals.fooling(report()).numbers is None
    for empty in (defenses.table(report()), defenses.certified(report()), universal.table(report())):
        assert "no records" in repr(empty)
