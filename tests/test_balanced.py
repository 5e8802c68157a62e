"""Balanced accuracy and the constant classifier, against counts by hand; their display in tables and figures."""

import math
from pathlib import Path

import pytest
from report_records import CLASSES, attack_record, data_record, provenance, small_run, train_record

from meddef.figures import balanced as figures_balanced
from meddef.figures import controls as figures_controls
from meddef.figures import curves
from meddef.records import load_records
from meddef.report import tables
from meddef.report.balanced import absent_classes, balanced_accuracy, balanced_frame, constant_classifier
from meddef.report.report import Report
from meddef.statistics import BalancedAccuracy, Proportion

RESULTS = Path(__file__).parents[1] / "results"
# labels and predictions; recalls of the classes by hand; the constant classifier's class and share
CASES = {
    2: ("00011111", "00111110", [2 / 3, 4 / 5], "1", 5 / 8),
    3: ("000112", "000012", [1, 1 / 2, 1], "0", 3 / 6),
    4: ("01230123", "01220000", [1, 1 / 2, 1 / 2, 0], "0", 2 / 8),
    8: ("0123456777", "0000456777", [1, 0, 0, 0, 1, 1, 1, 1], "7", 3 / 10),
}


def record(labels: str, after: str, classes: int) -> dict:
    made = attack_record("phantom_oct", "full", "pgd", labels, labels, after)
    return {**made, "classes": [f"class {place}" for place in range(classes)]}


@pytest.mark.parametrize("classes", CASES)
def test_the_mean_of_the_recalls_of_two_to_eight_classes(classes: int) -> None:
    labels, after, recalls, largest, share = CASES[classes]
    made = record(labels, after, classes)
    assert [recall.value for recall in balanced_accuracy(made).recalls] == pytest.approx(recalls)
    assert balanced_accuracy(made).value == pytest.approx(sum(recalls) / classes)
    assert balanced_accuracy(made, "before").value == 1
    answer = constant_classifier(made)
    assert (answer.name, answer.accuracy.value) == (f"class {largest}", share)
    assert answer.balanced == pytest.approx(1 / classes)
    # giving it has these values
    constant = record(labels, largest * len(labels), classes)
    assert balanced_accuracy(constant).value == pytest.approx(answer.balanced)
    assert constant["correct_after"] / constant["n"] == answer.accuracy.value


def test_balanced_accuracy_does_not_depend_on_how_many_images_a_class_has() -> None:
    few, many = record("0011", "0110", 2), record("001111111111", "011111100000", 2)
    assert balanced_accuracy(few).value == pytest.approx(0.5)
    assert balanced_accuracy(many).value == pytest.approx((1 / 2 + 5 / 10) / 2)


def test_a_class_without_images_is_named_and_left_out() -> None:
    made = record("0133", "0103", 4)
    rate = balanced_accuracy(made)
    assert rate.value == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert (rate.absent, absent_classes(made)) == ((2,), ["class 2"])
    assert constant_classifier(made).balanced == pytest.approx(1 / 3)
    (row,) = balanced_frame([made]).to_dict("records")
    assert (row["absent"], row["largest"]) == ("class 2", "class 3")


def test_no_images_at_all_say_nothing() -> None:
    nothing = BalancedAccuracy((Proportion(0, 0), Proportion(0, 0)))
    assert math.isnan(nothing.value)
    assert all(math.isnan(end) for end in nothing.interval)
    with pytest.raises(ValueError, match="no images"):
        constant_classifier({"labels": "", "classes": ["a"]})


def test_the_interval_is_put_together_from_wilsons() -> None:
    """Of one class it is Wilson's; of two the halves add up as squares, by hand: 3 of 8, [13.68, 69.43] %."""
    three, one = Proportion(3, 8), Proportion(8, 8)  # 8 of 8: [67.56, 100]
    assert BalancedAccuracy((three,)).interval == pytest.approx(three.interval)
    low, high = BalancedAccuracy((three, one)).interval
    middle = (0.375 + 1) / 2
    assert low == pytest.approx(middle - math.hypot(0.375 - 0.1368, 1 - 0.6756) / 2, abs=2e-4)
    assert high == pytest.approx(middle + math.hypot(0.6943 - 0.375, 0) / 2, abs=2e-4)
    assert (
        BalancedAccuracy((three, one)).interval == BalancedAccuracy((three, one, Proportion(0, 0))).interval
    )


def test_its_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Two classes of 136 and 64 images, as the first 200 X-rays have them; recalls of 0.9 and 0.4."""
    import numpy as np

    rng = np.random.default_rng(0)
    right = rng.binomial((136, 64), (0.9, 0.4), size=(2000, 2))
    rates = [BalancedAccuracy((Proportion(int(a), 136), Proportion(int(b), 64))) for a, b in right]
    covered = np.mean([rate.interval[0] <= 0.65 <= rate.interval[1] for rate in rates])
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize("profile", ["cpu", "cpu_oct"])
def test_of_published_records_it_is_what_scikit_learn_says(profile: str) -> None:
    from sklearn.metrics import balanced_accuracy_score

    found = [r for r in load_records(RESULTS, profile, kind="attack") if r["n"] >= 100][::40]
    assert len(found) > 5
    for made in found:
        theirs = balanced_accuracy_score(list(made["labels"]), list(made["after"]))
        assert balanced_accuracy(made).value == pytest.approx(theirs)


@pytest.fixture(scope="module")
def report() -> Report:
    """Six of eight images show PNEUMONIA; the model predicts it for seven under PGD, JSMA sees the first four."""
    labels, after = "00111111", "10111111"
    records = [data_record("phantom_xray"), train_record("phantom_xray", "full", "adversarial")]
    records.append(attack_record("phantom_xray", "full", "clean", labels, labels, labels, eps=0.0))
    for grid, eps in (("epsilon", 0.05), ("epsilon", 0.1), ("small_epsilon", 0.031373)):
        records.append(
            attack_record("phantom_xray", "full", "pgd", labels, labels, after, eps=eps, grid=grid)
        )
    jsma = ("phantom_xray", "full", "jsma", labels[2:], labels[2:], after[2:])
    return Report("tiny", [*records, attack_record(*jsma, eps=None, grid="jsma")], provenance())


def test_a_table_of_accuracy_shows_both(report: Report) -> None:
    table = tables.front(report, (0.031373, 0.05))
    assert list(table.frame["ε"]) == ["0.031\n8/255"] * 2 + ["0.05"] * 2
    model, constant, *_ = table.frame.to_dict("records")
    # 7 of 8 right; recalls 1 of 2 and 6 of 6
    assert model["PGD"].split("\n")[0] == "87.5"
    assert "\nbalanced 75.0" in model["PGD"]
    assert constant["model"] == "constant classifier\nPNEUMONIA"
    assert constant["PGD"] == "75.0\nbalanced 50.0"
    assert constant["JSMA"] == "100.0\nbalanced 100.0\nn = 6"
    assert "No image shows NORMAL (JSMA, n = 6): balanced accuracy is over the other classes" in table.caption
    assert "balanced" not in str(tables.compression(report, 0.05))


def lines(panel) -> list[float]:
    return [float(line.get_ydata()[0]) for line in panel.lines if line.get_gid() == "constant classifier"]


def test_every_figure_of_accuracy_has_the_line_and_says_its_height(report: Report) -> None:
    accuracy, balanced = curves.models_at(report, 0.05).axes
    assert lines(accuracy) == [75.0]
    assert lines(balanced) == [50.0]
    assert [text.get_text() for text in accuracy.texts] == [
        "constant\nclassifier\n(75 to 100 %)"
    ]  # JSMA's images
    assert lines(curves.security_curves(report).axes[0]) == [75.0]
    assert lines(figures_balanced.balanced_curves(report).axes[0]) == [50.0]
    pruned = Report("pruned", small_run("phantom_oct"), provenance())
    assert lines(curves.accuracy_against_pruning(pruned).axes[0]) == [50.0]
    assert not any(lines(panel) for panel in curves.asr_against_pruning(pruned, 0.05).axes)


def test_the_line_is_that_of_the_images_that_were_attacked_not_of_the_whole_split() -> None:
    """Clean: 8 images with 4 of a class; under PGD the first 5, of which 3."""
    records = [data_record("phantom_xray"), train_record("phantom_xray", "full", "adversarial")]
    labels = "00011011"
    records.append(attack_record("phantom_xray", "full", "clean", labels, labels, labels, eps=0.0))
    for eps in (0.05, 0.1):
        few = labels[:5]
        records.append(attack_record("phantom_xray", "full", "pgd", few, few, few, eps=eps))
    figure = curves.security_curves(Report("tiny", records, provenance()))
    assert lines(figure.axes[0]) == [60.0]


def test_the_figure_of_controls_shows_both_rates() -> None:
    published = Report.load("cpu", RESULTS)
    figure = figures_controls.two_by_two(published)
    half = len(figure.axes) // 2
    first = next(r for r in published.of("attack") if (r["attack"], r["grid"]) == ("pgd", "epsilon"))
    share = 100 * first["labels"].count("1") / first["n"]
    assert {round(lines(panel)[0], 6) for panel in figure.axes[:half]} == {round(share, 6)}
    assert {lines(panel)[0] for panel in figure.axes[half:]} == {50.0}
    assert figure.numbers is not None
    assert {"balanced", "constant"} <= set(figure.numbers)


def test_classes_are_those_of_the_records() -> None:
    assert len(CLASSES["phantom_oct"]) == 4
    assert balanced_accuracy(attack_record("phantom_oct", "full", "pgd", "01", "01", "01")).absent == (2, 3)
