"""Diagnostic accuracy against scikit-learn and by hand; its intervals against SciPy and against a known truth."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics
from torch import Tensor, nn

from meddef.errors import InputError
from meddef.evaluation import Evaluation, diagnostic_accuracy, evaluate
from meddef.evaluation.diagnostic import ALL, Estimate, _measures, as_rows
from meddef.statistics import calibration_error, reliability

NAMES = ["A", "B", "C", "D"]


def drawn(n: int, k: int, seed: int = 0, *, sharp: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and softmax scores (n, k) that know something of them, some of them tied."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    logits = np.round(rng.normal(size=(n, k)) + np.eye(k)[labels], 1) * sharp
    exp = np.exp(logits)
    return labels, (exp / exp.sum(1, keepdims=True)).astype(np.float32)


def outcome(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Evaluation:
    answers = (labels, before.argmax(1), after.argmax(1))
    return Evaluation(*answers, 0.1, 3, before.shape[1], None, before, after)


def found(
    labels: np.ndarray, scores: np.ndarray, patients: list[int] | None = None, positive: int = 1
) -> dict[tuple[str, str], Estimate]:
    k = scores.shape[1]
    rows = diagnostic_accuracy(
        outcome(labels, scores, scores), NAMES[:k], positive=positive, patients=patients
    )
    return {(row.measure, row.of): row.after for row in rows}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_values_are_those_of_scikit_learn(k: int, weighted: bool) -> None:
    labels, scores = drawn(180, k)
    predictions = scores.argmax(1)
    weights = np.random.default_rng(1).integers(4, size=len(labels)) if weighted else np.ones(len(labels))
    values = _measures(labels, predictions, scores, NAMES[:k], 1)(weights[None].astype(float))
    mine = {name: value[0] for name, value in values.items()}
    for place, name in enumerate(NAMES[:k]):
        if k == 2 and place == 0:
            assert ("sensitivity", name) not in mine
            continue
        true, said = labels == place, predictions == place
        theirs = {
            "sensitivity": metrics.recall_score(true, said, sample_weight=weights),
            "specificity": metrics.recall_score(~true, ~said, sample_weight=weights),
            "F1": metrics.f1_score(true, said, sample_weight=weights),
            "AUROC": metrics.roc_auc_score(true, scores[:, place], sample_weight=weights),
        }
        assert {kind: mine[kind, name] for kind in theirs} == pytest.approx(theirs, abs=1e-6)
    balanced = metrics.balanced_accuracy_score(labels, predictions, sample_weight=weights)
    assert mine["balanced accuracy", ALL] == pytest.approx(balanced)
    if k > 2:
        f1 = metrics.f1_score(labels, predictions, average="macro", sample_weight=weights)
        areas = [metrics.roc_auc_score(labels == c, scores[:, c], sample_weight=weights) for c in range(k)]
        assert mine["F1", ALL] == pytest.approx(f1)
        assert mine["AUROC", ALL] == pytest.approx(np.mean(areas), abs=1e-6)
    repeated = np.repeat(np.arange(len(labels)), weights.astype(int))
    right = (predictions == labels)[repeated].tolist()
    theirs = calibration_error(scores.max(1).astype(float)[repeated].tolist(), right)
    assert mine["calibration error", ALL] == pytest.approx(theirs)


def test_by_hand() -> None:
    """Two sick of three found, one of two healthy called sick; pairs in order: 0.9 and 0.8 beat both, 0.3 beats 0.1."""
    sick = np.array([0.9, 0.8, 0.3, 0.6, 0.1], dtype=np.float32)
    values = found(np.array([1, 1, 1, 0, 0]), np.stack([1 - sick, sick], 1))
    assert {name: one.value for name, one in values.items()} == pytest.approx(
        {
            ("sensitivity", "B"): 2 / 3,
            ("specificity", "B"): 1 / 2,
            ("F1", "B"): 2 * 2 / (3 + 3),
            ("AUROC", "B"): 5 / 6,
            ("balanced accuracy", ALL): (2 / 3 + 1 / 2) / 2,
            # each image alone in its bin: right with .9, .8, .9; wrong with .7, .6
            ("calibration error", ALL): (abs(2 - 0.9 - 0.9) + 0.2 + 0.7 + 0.6) / 5,
        },
        abs=1e-6,
    )
    other = found(np.array([1, 1, 1, 0, 0]), np.stack([1 - sick, sick], 1), positive=0)
    assert other["sensitivity", "A"].value == 1 / 2


def test_a_proportion_has_wilsons_interval_and_the_rest_one_around_the_value() -> None:
    labels, scores = drawn(150, 2)
    values = found(labels, scores)
    hits, n = int(((labels == 1) & (scores.argmax(1) == 1)).sum()), int((labels == 1).sum())
    ends = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    one = values["sensitivity", "B"]
    assert (one.low, one.high) == pytest.approx((ends.low, ends.high), abs=1e-9)
    for name in (("F1", "B"), ("AUROC", "B"), ("balanced accuracy", ALL), ("calibration error", ALL)):
        one = values[name]
        assert 0 <= one.low < one.value < one.high <= 1, name


def test_the_interval_of_auroc_covers_the_truth() -> None:
    """Normal scores one apart have an area of Phi(1 / sqrt 2) = 0.760."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = np.arange(80) % 2
        p = (1 / (1 + np.exp(-rng.normal(labels)))).astype(np.float32)
        one = found(labels, np.stack([1 - p, p], 1))["AUROC", "B"]
        covered += one.low <= 0.7602 <= one.high
    assert covered >= 52  # of 60; 95 % are 57


@pytest.mark.parametrize(
    ("sure", "truth"), [(lambda p: p, 0.0), (lambda p: np.minimum(p + 0.15, 0.9999), 0.15)]
)
def test_the_interval_of_the_calibration_error_covers_the_truth(sure, truth: float) -> None:  # type: ignore[no-untyped-def]
    """Answers that are right with probability p of 0.55 to 0.8, and confidences of p or 0.15 more."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.55, 0.8, size=150)
        labels = (rng.uniform(size=150) < p).astype(np.int64)
        score = sure(p).astype(np.float32)
        one = found(labels, np.stack([1 - score, score], 1))["calibration error", ALL]
        covered += one.low <= truth <= one.high
    assert covered >= 48  # of 60; unreflected intervals never reach 0


def test_patients_with_several_images_widen_the_intervals() -> None:
    """Four copies of each image as four images of a patient: the intervals of the quarter, not of the whole."""
    labels, scores = drawn(60, 2)
    four = np.tile(labels, 4), np.tile(scores, (4, 1))
    alone, naive = found(labels, scores), found(*four)
    clustered = found(*four, patients=list(np.tile(np.arange(60), 4)))
    for name, one in clustered.items():
        assert one.value == pytest.approx(alone[name].value)
        width = one.high - one.low
        assert width == pytest.approx(alone[name].high - alone[name].low, rel=0.2), name
        assert width > 1.5 * (naive[name].high - naive[name].low), name


def test_what_every_resample_repeats_has_an_interval_where_one_is_known() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    wrong = np.eye(2, dtype=np.float32)[1 - labels]
    values = found(labels, wrong, patients=[0, 0, 1, 1, 2, 2, 3, 3])
    ends = binomtest(0, 2).proportion_ci(0.95, method="wilson")  # of two patients, not of four images
    assert values["sensitivity", "B"].high == pytest.approx(ends.high)
    assert values["balanced accuracy", ALL].low == 0 < values["balanced accuracy", ALL].high < 1
    assert math.isnan(values["AUROC", "B"].high)
    assert values["AUROC", "B"].value == 0


def test_a_class_without_images_is_unknown_and_left_out_of_means() -> None:
    labels, scores = drawn(50, 3)
    values = found(np.minimum(labels, 1), scores)
    assert math.isnan(values["sensitivity", "C"].value)
    assert math.isnan(values["AUROC", "C"].value)
    two = [values["sensitivity", name].value for name in "AB"]
    assert values["balanced accuracy", ALL].value == pytest.approx(np.mean(two))


class Loud(nn.Module):
    """Logits so far apart that the second probability rounds to 1 in float32."""

    def forward(self, x: Tensor) -> Tensor:
        z = 100 * x.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(z), z], 1)


def test_scores_are_kept_and_still_rank_where_they_round_to_one() -> None:
    images = torch.linspace(0.2, 0.8, 8)[:, None, None, None].expand(-1, 1, 4, 4).clone()
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    given = evaluate(Loud(), [(images[:3], labels[:3]), (images[3:], labels[3:])], lambda m, x, y: 1 - x)
    assert given.scores_before is not None
    assert given.scores_after is not None
    assert given.scores_before.dtype == np.float32
    assert given.scores_before.shape == (8, 2)
    assert (given.scores_before[4:, 1] == 1).all()
    rows = {row.measure: row for row in diagnostic_accuracy(given, ["healthy", "sick"])}
    assert (rows["AUROC"].before.value, rows["AUROC"].after.value) == (1, 0)
    assert rows["AUROC"].of == "sick"
    assert len(as_rows(list(rows.values()))) == 2 * len(rows)


def test_reliability_by_hand() -> None:
    bins = reliability([0.61, 0.65, 0.95, 1.0], [1, 0, 1, 1], bins=10)
    assert [(b.low, b.high, b.n, b.right) for b in bins] == [(0.6, 0.7, 2, 0.5), (0.9, 1.0, 2, 1.0)]
    assert [b.confidence for b in bins] == pytest.approx([0.63, 0.975])


def test_what_does_not_fit_is_refused() -> None:
    labels, scores = drawn(20, 2)
    whole = outcome(labels, scores, scores)
    with pytest.raises(InputError, match="kept predictions alone"):
        diagnostic_accuracy(Evaluation(labels, labels, labels, 0, 0, 2), ["A", "B"])
    with pytest.raises(InputError, match="3 class names"):
        diagnostic_accuracy(whole, ["A", "B", "C"])
    with pytest.raises(InputError, match="19 for 20 images"):
        diagnostic_accuracy(whole, ["A", "B"], patients=list(range(19)))
