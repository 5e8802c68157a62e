"""Sentences on what a run was: images that attacks saw, schedule, validation and test, time; by hand."""

import pytest
from report_records import attack_record, data_record, provenance, train_record

from meddef.report import findings, tables_setup
from meddef.report.report import Report
from meddef.report.scope import attacked_images

LABELS = "01" * 20


def attack(n: int, name: str = "pgd", *, grid: str = "epsilon", rate: float = 0.0, seed: int = 0) -> dict:
    eps = None if name == "jsma" else 0.05
    labels = LABELS[:n]
    return attack_record(
        "chest_xray", "full", name, labels, labels, labels, eps=eps, grid=grid, rate=rate, seed=seed
    )


def seen(*attacks: dict) -> str:
    report = Report("tiny", [data_record("chest_xray"), *attacks], provenance())
    return attacked_images(report, report.datasets[0])


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        ([], ""),
        ([attack(40)], "attacks saw 40"),
        ([attack(40), attack(40, "fgsm"), attack(4, "jsma")], "attacks saw 40 (JSMA 4)"),
        ([attack(40), attack(8, grid="small_epsilon")], "attacks saw 40"),  # what is shown is the larger
        (
            [attack(40), attack(40, "bim"), attack(10, "ensemble"), attack(20, grid="pruning", rate=0.3)],
            "attacks saw 40 (Ensemble 10; pruned models 20)",
        ),
        ([attack(40), attack(40, grid="pruning", rate=0.3)], "attacks saw 40"),
        ([attack(40, seed=0), attack(20, seed=1)], "attacks saw 20 to 40"),
        ([attack(20, grid="pruning", rate=0.3)], "attacks saw 20"),
    ],
)
def test_the_scope_says_how_many_images_attacks_saw(attacks: list[dict], said: str) -> None:
    assert seen(*attacks) == said


def trained(*epochs: tuple[str, float], eased: int = 0) -> dict:
    """An adversarial training whose last ``eased`` epochs are at half of ε."""
    record = train_record("chest_xray", "full", "adversarial")
    rows = [
        {
            **record["history"][0],
            "epoch": i,
            "phase": phase,
            "epsilon": eps,
            "step_size": 0.003,
            "val_adversarial": 0.9,
        }
        for i, (phase, eps) in enumerate(epochs)
    ]
    for row in rows[len(rows) - eased :]:
        row |= {"ease": 0.5, "epsilon": row["epsilon"] / 2}
    return record | {"history": rows, "epochs": len(rows), "best_epoch": len(rows) - 1}


def test_the_schedule_is_told_as_it_was_run() -> None:
    run = trained(("warm-up", 0.01), ("aggressive", 0.0328), ("stabilization", 0.03), ("stabilization", 0.03))
    report = Report("tiny", [data_record("chest_xray"), run], provenance())
    # the paper's phases by hand from Section IV-B: 8 and 15 of 100 epochs
    assert findings.schedule(report) == (
        "- 4 epochs instead of the paper's 100: warmup 1 epoch, ε 0.01 (the paper: 8, ε 0.01 to 0.02); aggressive "
        "1 epoch, ε 0.0328 (the paper: 15, ε 0.02 to 0.04); stabilization 2 epochs, ε 0.03 (the paper: 77, ε at most "
        "0.03)."
    )
    short = trained(("warm-up", 0.01), ("stabilization", 0.03), ("stabilization", 0.03), eased=1)
    said = findings.schedule(Report("short", [data_record("chest_xray"), short], provenance()))
    assert "aggressive none (the paper: 15" in said
    assert "stabilization 2 epochs, ε 0.03 " in said  # easing comes on top of the schedule
    clean = Report("clean", [train_record("chest_xray", "full", "clean")], provenance())
    assert findings.schedule(clean) == "No model was trained adversarially here."


def test_validation_under_the_trainings_own_attack_stands_beside_the_test() -> None:
    run = trained(("warm-up", 0.01), ("stabilization", 0.03))
    labels, after = LABELS[:10], "0101010000"  # 8 of 10 right
    near = attack_record(
        "chest_xray", "full", "pgd", labels, labels, after, eps=0.031373, grid="small_epsilon"
    )
    far = attack_record("chest_xray", "full", "pgd", labels, labels, labels, eps=0.05)
    said = findings.training(Report("tiny", [data_record("chest_xray"), run, near, far], provenance()))
    assert "under their own training attack (PGD at ε = 0.03, 3 steps of 0.003)" in said
    assert "models reach 90.0 % in validation" in said
    assert "On test images, under PGD at ε = 8/255 with 40 steps, they reach 80.0 % (n = 10)." in said
    untested = findings.training(Report("tiny", [data_record("chest_xray"), run], provenance()))
    assert "On test images" not in untested


def test_time_is_told_as_a_sum_and_by_the_clock() -> None:
    """Two cells of ten minutes that end together, and one of five after them."""
    (cell,) = provenance()
    ends = {"2025-11-22T18:00:00+00:00": 2, "2025-11-22T18:05:00+00:00": 1}
    cells = [
        {**cell, "finished": end, "seconds": 600.0 if count == 2 else 300.0}
        for end, count in ends.items()
        for _ in range(count)
    ]
    said = tables_setup.circumstances(cells)["computing time"]
    assert said == "25 min, summed over cells, 1.7 of which ran at a time: 15 min of wall-clock time"
    assert tables_setup.circumstances(cells[:1])["computing time"] == "10 min"
