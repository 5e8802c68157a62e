"""The front page: a figure with its numbers, the score by verdict, and findings that follow from the records."""

from collections import Counter
from dataclasses import replace

import pytest
from report_records import provenance, small_run
from test_controls import experiment

from meddef.book import frontpage
from meddef.claims.verdicts import Score
from meddef.figures.front import front
from meddef.printed.published import Published
from meddef.report import controls
from meddef.report.report import Report


@pytest.fixture(scope="module")
def report() -> Report:
    return Report("three", experiment((0, 1, 2)), provenance())


def test_the_figure_holds_every_measured_and_printed_point(report: Report) -> None:
    """Four models, three seeds, clean and three ε; Table 2 prints clean and three ε under PGD of two of them."""
    drawn = front(report).numbers
    measured = drawn.dropna(subset=["robust"])
    assert len(measured) == 4 * 3 * 4
    printed = drawn.dropna(subset=["published"]).set_index(["variant", "eps"])["published"]
    assert printed["full", 0.05] == 98.83
    assert printed["resnet18", 0.0] == 72.92
    assert len(printed) == 2 * 4


def test_a_run_without_attacks_says_so() -> None:
    records = [record for record in small_run("chest_xray") if record["kind"] != "attack"]
    assert "no PGD at several" in front(Report("made", records, provenance())).svg()


def test_the_score_shows_every_verdict_that_occurs() -> None:
    counts = Score(
        testable=Counter({"reproduced": 3, "open": 4}), settings=Counter(), others=Counter(), repeats=1,
        printed=Counter({"holds": 5, "does_not_hold": 6}),
    )  # fmt: skip
    text = frontpage.score(counts)
    assert "Of **7 testable claims**" in text
    assert ":::{grid-item-card} 3" in text
    assert ":::{grid-item-card} 4" in text
    assert "mixed" not in text
    assert "5 distinct claims hold and 6 do not" in text


def test_training_not_attention_only_where_both_are_shown(report: Report) -> None:
    """Adversarial training adds 22 of 40 images, clearly; that the architecture adds nothing must be shown too."""
    assert frontpage.what_helps([report]).startswith("**Training or attention.** Chest X-Ray at 32 px, under")
    found = controls.effects(report, report.datasets[0], 0.05)
    each = found["pgd", 0.05]
    small = replace(
        each[controls.DAAM["adversarial"]], by_seed=(0.0, 0.5, -0.5), p_value=0.9, p_equivalence=0.01
    )
    shown = {**found, ("pgd", 0.05): each | {controls.DAAM["adversarial"]: small}}
    assert frontpage.headline(shown) == "Training, not attention"
    open_ = replace(small, p_equivalence=0.2)
    assert (
        frontpage.headline({**found, ("pgd", 0.05): each | {controls.DAAM["adversarial"]: open_}})
        != "Training, not attention"
    )
    harmful = replace(each[controls.TRAINING["full"]], by_seed=(-50.0, -51.0, -52.0))
    assert (
        frontpage.headline(
            {**shown, ("pgd", 0.05): shown["pgd", 0.05] | {controls.TRAINING["full"]: harmful}}
        )
        != "Training, not attention"
    )


def test_single_trainings_at_another_size_stand_beside_without_a_verdict(report: Report) -> None:
    larger = [{**r, "image_size": 224} if r["kind"] == "data" else r for r in experiment((0,))]
    said = frontpage.what_helps([report, Report("large", larger, provenance())])
    assert (
        " At 224 px, one training each, the difference between the full model and ResNet18 at ε = 0.05 is "
        in said
    )
    assert said.endswith(": no verdict.")
    assert "224" not in frontpage.what_helps([report, Report("same", experiment((0,)), provenance())])
    several = [{**r, "image_size": 224} if r["kind"] == "data" else r for r in report.records]
    assert "224" not in frontpage.what_helps([report, Report("three", several, provenance())])


def test_the_other_test_set_is_arithmetic_on_the_printed_table() -> None:
    """Counted by hand with exact decimals: of the 22 distinct accuracies of the three ablated models."""
    printed = Published()
    said = frontpage.other_test_set(printed, "chest_xray")
    assert "(22 of 22 distinct values; chance 3.8e-16 at this size or a smaller one)" in said
    assert "9 of 10 of the full model's; out of the stated 879 test images it is 4 of 22" in said
    table = printed.epsilon.copy()
    rows = (table["dataset"] == "chest_xray") & table["variant"].str.startswith("no_afd")
    table.loc[rows, "printed"] = "95.79"  # 842/879
    assert frontpage.other_test_set(replace(printed, epsilon=table), "chest_xray") == ""


def test_equivalence_is_told_up_to_the_largest_epsilon_that_shows_it(report: Report) -> None:
    found = controls.effects(report, report.datasets[0], 0.05)
    assert "equally accurate" not in frontpage.what_helps([report])
    same = {"p_equivalence": 0.01, "p_value": 0.9, "by_seed": (0.0, 0.5, -0.5)}
    shown = {
        condition: {
            name: replace(effect, **same) if condition != ("pgd", 0.1) else effect
            for name, effect in each.items()
        }
        for condition, each in found.items()
    }
    assert (
        "up to ε = 0.05 the two architectures are shown to be equally accurate ([within ±2 and ±5 points]"
        in (frontpage._equivalent(shown))
    )
