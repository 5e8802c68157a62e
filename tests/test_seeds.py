"""What several seeds and controls do to tables, figures and sentences."""

import pytest
from report_records import attack_record, data_record, provenance, train_record

from meddef.figures import curves as figures
from meddef.figures import style
from meddef.report import confusion, findings, headline, tables
from meddef.report.labels import is_control
from meddef.report.report import Report

LABELS = "01230123"
AFTER = {  # attack -> what each seed says
    "pgd": ("01230000", "01200000", "01000000"),  # 5, 4, 3 of 8 right
    "fgsm": ("01230123",) * 3,
    "ensemble": ("01000000",),  # seed 0 alone: 3 of 8
}
MODELS = (("resnet18", "clean"), ("full", "adversarial"), ("full", "clean"), ("resnet18", "adversarial"))


def made() -> list[dict]:
    records = [data_record("phantom_oct")]
    for variant, training in MODELS:
        for seed in range(3):
            more = {"training": training, "seed": seed}
            records.append(train_record("phantom_oct", variant, training, seed))
            for grid in ("test", "epsilon"):
                before = LABELS[: 7 - seed] + "9" * (seed + 1)
                clean = (
                    "phantom_oct",
                    variant,
                    "clean",
                    LABELS,
                    before.replace("9", "0"),
                    before.replace("9", "0"),
                )
                records.append(attack_record(*clean, eps=0.0, grid=grid, **more))
            for attack, said in AFTER.items():
                if seed < len(said):
                    records.append(
                        attack_record("phantom_oct", variant, attack, LABELS, LABELS, said[seed], **more)
                    )
    return records


@pytest.fixture(scope="module")
def report() -> Report:
    return Report("tiny", made(), provenance())


def row(report: Report, model: str) -> dict:
    (found,) = (r for r in tables.epsilon(report).frame.to_dict("records") if r["model"] == model)
    return found


def test_a_cell_of_fewer_seeds_says_so_and_the_caption_explains_the_others(report: Report) -> None:
    full = row(report, "Full DAAM")
    assert full["PGD"].startswith("50.0 ± 12.5\n[")  # 62.5, 50 and 37.5
    assert "seeds" not in full["PGD"]
    assert full["Ensemble (worst case)"].endswith("\n1 of 3 seeds")
    assert "±" not in full["Ensemble (worst case)"]
    caption = tables.epsilon(report).caption
    assert "Means over 3 seeds ± standard deviation" in caption
    assert "fewer seeds are marked" in caption


def test_the_interval_over_seeds_is_not_that_of_three_times_the_images(report: Report) -> None:
    frame = report.attacks("epsilon").query("attack == 'fgsm' and variant == 'full' and training == 'clean'")
    (low,) = frame["robust_low"]
    assert round(low, 1) == 67.6  # Wilson for 8 of 8 by hand; 24 of 24 would give 86.2


def test_controls_come_last_and_have_no_published_value(report: Report) -> None:
    assert [is_control(*model) for model in report.models()] == [False, False, True, True]
    shown = [r["model"] for r in tables.epsilon(report).frame.to_dict("records")]
    assert shown == [
        "ResNet18", "Full DAAM", "ResNet18, adversarial training", "Full DAAM, clean training",
        "constant classifier\nCNV",
    ]  # fmt: skip
    assert "paper" in row(report, "Full DAAM")["PGD"]
    assert not any("paper" in str(value) for value in row(report, "Full DAAM, clean training").values())
    published = figures.beside_paper(report, report.datasets[0], 0.05).dropna(subset=["published"])
    assert not any(
        is_control(*model) for model in zip(published["variant"], published["training"], strict=True)
    )
    assert len({style.model_colour(*model) for model in report.models()}) == 4


def test_each_class_has_one_row_a_model(report: Report) -> None:
    """One NORMAL of two is always taken for CNV; in seeds 1 and 2 a DRUSEN too, in seed 2 a DME."""
    table = confusion.per_class(report)
    assert (
        len(table.frame) == (4 + 1) * len(MODELS) + 1
    )  # below the classes their mean, also for the constant classifier
    (mean,) = table.frame.query("`class` == 'all: balanced accuracy' and model == 'Full DAAM'").to_dict(
        "records"
    )
    # seeds 0, 1 and 2: recalls of 1, 1, 1, 1/2; 1, 1, 1/2, 1/2; 1, 1/2, 1/2, 1/2
    assert mean["sensitivity"].startswith("75.0 ± 12.5\n")
    (drusen,) = table.frame.query("`class` == 'DRUSEN' and model == 'Full DAAM'").to_dict("records")
    assert drusen["sensitivity"].startswith("66.7 ± 28.9\n")  # 100, 50 and 50
    assert "Means over 3 seeds" in table.caption


def test_confusion_matrices_say_what_was_added_up(report: Report) -> None:
    found = confusion.matrices(report, report.datasets[0], 0.05)["full", "adversarial"]
    assert list(found) == [
        "no attack, n = 3 seeds × 8",
        "FGSM, n = 3 seeds × 8",
        "PGD, n = 3 seeds × 8",
        "Ensemble (worst case), n = 8",
    ]
    assert found["PGD, n = 3 seeds × 8"].sum() == 24
    (entry,) = confusion.published_entries(report).frame.query(
        "`true class` == 'DRUSEN' and predicted == 'DRUSEN'"
    )["here"]
    assert entry == "1.3 of 2\n66.7 %"


def test_the_worst_case_is_compared_with_attacks_on_the_same_training(report: Report) -> None:
    """Seed 0: 5 of 8 under PGD and 3 of 8 in the worst case; the mean of PGD over seeds is 4 of 8."""
    assert "in 4 of 4 rows, by at most 25.0 points" in findings.epsilon(report)


def test_what_is_left_is_over_attacks_that_all_seeds_have(report: Report) -> None:
    """The ensemble was run on seed 0 alone: three seeds under FGSM and PGD are not mixed with it."""
    told = headline.strongest(report, report.datasets[0], 0.05)
    assert "worst case over FGSM and PGD, n = 8, 3 seeds: ResNet18 keeps 50.0 ± 12.5 %" in told


def test_figures_mark_the_lowest_and_the_highest_seed(report: Report) -> None:
    panel, _ = figures.models_at(report, 0.05).axes
    dashes = [line for line in panel.lines if line.get_marker() == "_" and line.get_color() == "#D55E00"]
    drawn = sorted(float(y) for line in dashes for y in line.get_ydata())
    assert {37.5, 62.5} <= set(drawn)
    assert "n = 8, 1–3 seeds" in panel.get_title()


def test_seven_models_go_on_two_lines() -> None:
    controls = [("full", "clean"), ("resnet18", "adversarial")]
    others = [(variant, "adversarial") for variant in ("no_afd_mfe_msf", "no_afd_mfe", "no_afd", "full")]
    records = [data_record("phantom_oct")]
    for variant, training in [("resnet18", "clean"), *others, *controls]:
        records.append(train_record("phantom_oct", variant, training))
        records.append(
            attack_record("phantom_oct", variant, "pgd", LABELS, LABELS, AFTER["pgd"][0], training=training)
        )
    figure = figures.security_curves(Report("tiny", records, provenance()))
    assert len(figure.axes) == 7
    assert figure.get_figwidth() <= figures.PAGE
    assert [bool(panel.get_xlabel()) for panel in figure.axes] == [
        False,
        False,
        False,
        True,
        True,
        True,
        True,
    ]
    assert [bool(panel.get_ylabel()) for panel in figure.axes] == [
        True,
        False,
        False,
        False,
        True,
        False,
        False,
    ]
