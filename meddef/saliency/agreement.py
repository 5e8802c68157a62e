"""Similarity of two maps, such as of an image before and after an attack."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

TOP = 0.2  # share of the pixels with most saliency


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps (H, W), in [-1, 1]; 0 is expected of unrelated ones. NaN: a flat map."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one.ravel(), other.ravel()).statistic)


def top_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap (intersection over union, in [0, 1]) of the top fifth of two maps (H, W). NaN: a flat map."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    a, b = _top(one), _top(other)
    return float((a & b).sum() / (a | b).sum())


def _top(heat: np.ndarray) -> np.ndarray:
    """Bool (H * W,): the top fifth; ties in reading order."""
    chosen = np.zeros(heat.size, dtype=bool)
    chosen[np.argsort(-heat.ravel(), kind="stable")[: round(TOP * heat.size)]] = True
    return chosen
