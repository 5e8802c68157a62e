"""Rates, identities between them, and the Wilson interval against SciPy's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from meddef.statistics import AttackCounts, Proportion


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_is_scipys_wilson_interval(case: tuple[int, int]) -> None:
    hits, n = case
    ends = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert Proportion(hits, n).interval == pytest.approx((ends.low, ends.high), abs=1e-9)


def test_nothing_counted_has_no_rate() -> None:
    nothing = Proportion(0, 0)
    assert math.isnan(nothing.value)
    assert all(math.isnan(end) for end in nothing.interval)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_asr_identity(rows: list[tuple[int, int, int]]) -> None:
    """robust accuracy = clean accuracy * (1 - ASR) + repaired / n, for any predictions."""
    before = sum(label == b for label, b, _ in rows)
    after = sum(label == a for label, _, a in rows)
    flipped = sum(label == b != a for label, b, a in rows)
    repaired = sum(b != label == a for label, b, a in rows)
    counts = AttackCounts(len(rows), before, after, flipped)
    clean, robust = counts.clean_accuracy.value, counts.robust_accuracy.value
    asr = counts.asr.value if before else 0.0
    assert robust == pytest.approx(clean * (1 - asr) + repaired / len(rows))


@pytest.mark.parametrize("counts", [(10, 11, 5, 5), (10, 5, 5, 6), (10, 8, 1, 2), (10, 8, 9, 2)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="inconsistent counts"):
        AttackCounts(*counts)
