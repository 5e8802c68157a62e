"""The first edition's short reach beside twins with full reach: only such pairs, with their own numbers."""

import pytest
from report_records import answers, attack_record, chosen_labels, data_record, provenance, train_record

from meddef.book.reach_page import reach_page
from meddef.report import reach
from meddef.report.report import Report

N, EPS = 200, 0.031373
LABELS = chosen_labels(N)


def report(name: str, steps: int, step_size: float, correct: int, dataset: str = "chest_xray") -> Report:
    """One model of the paper's recipe, at ε = .03 in its last epoch."""
    train = train_record(dataset, "resnet18", "adversarial")
    train["history"][-1] |= {"epsilon": 0.03, "step_size": step_size}
    train["settings"]["adversarial"]["steps"] = steps
    before = answers(LABELS, 190)
    head = {"training": "adversarial", "seed": 0}
    attacks = [
        attack_record(dataset, "resnet18", "clean", LABELS, before, before, eps=0.0, grid="test", **head),
        attack_record(
            dataset,
            "resnet18",
            "pgd",
            LABELS,
            before,
            answers(LABELS, correct),
            eps=EPS,
            grid="small_epsilon",
            **head,
        ),
    ]
    sizes = {"train": 8, "val": 8, "test": N}
    return Report(name, [data_record(dataset, sizes), train, *attacks], provenance())


def test_a_pair_is_shown_with_the_reach_of_each() -> None:
    table = reach.table([report("new", 10, 0.0075, 160), report("old", 5, 0.003, 120)])
    assert table is not None
    frame = table.frame
    assert frame["reach"].tolist() == [
        "25 %",
        "100 %",
    ]  # 5 x 0.003 of the ball's 0.06; 10 x 0.0075 is more than it
    assert [cell.split("\n")[0] for cell in frame["PGD, 8/255"]] == ["60.0", "80.0"]
    assert [cell.split("\n")[0] for cell in frame["no attack"]] == ["95.0", "95.0"]
    assert frame["PGD, 4/255"].tolist() == ["–", "–"]
    assert frame["training attack"].tolist() == ["5 steps of 0.003, ε = 0.03", "10 steps of 0.0075, ε = 0.03"]


@pytest.mark.parametrize(
    "other", [("b", 5, 0.003, 100, "chest_xray"), ("b", 10, 0.0075, 100, "phantom_xray")]
)
def test_without_a_twin_nothing_is_compared(other: tuple[str, int, float, int, str]) -> None:
    """Another of short reach, or one on other images."""
    reports = [report("a", 5, 0.003, 120), report(*other)]
    assert reach.table(reports) is None
    assert reach_page(reports) == {"lab_reach.md": f"{reach.NOTHING}\n"}
