"""GRIM: can a percentage printed to a few decimals be k out of n? (Brown and Heathers 2017, for proportions.)

A percentage p printed to d decimals is *attainable* at n if some whole k gives 100 k / n = p after rounding (ties
either way) or truncating to d decimals. All arithmetic is exact: percentages are text or whole numbers of 10^-d.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from math import comb
from typing import Any

import numpy as np

SMALLEST = 100


def _bounds(value: Any, scale: int, n: Any) -> tuple[Any, Any]:
    """First and last k for which scale k / n prints as ``value``: whole numbers, or arrays of them.

    Rounding asks for value - 1/2 <= x <= value + 1/2 and truncation for value <= x < value + 1, where x = scale k / n;
    the two together are value - 1/2 <= x < value + 1.
    """
    return -((1 - 2 * value) * n // (2 * scale)), -(-(value + 1) * n // scale) - 1


def scaled(printed: str) -> tuple[int, int]:
    """``"72.89"`` -> (7289, 10000): the percentage and 100 % in units of its last decimal."""
    places = len(printed.partition(".")[2])
    return int(Decimal(printed).scaleb(places)), 100 * 10**places


def hits(printed: str, n: int) -> range:
    """Every k in 0..n for which 100 k / n prints as ``printed``; empty if there is none."""
    first, last = _bounds(*scaled(printed), n)
    return range(max(first, 0), min(last, n) + 1)


def nearest(printed: str, n: int) -> tuple[str, str]:
    """The attainable percentages next to ``printed`` below and above, as "k/n = p"."""
    value, scale = scaled(printed)
    places = len(printed.partition(".")[2])
    below = value * n // scale
    low, high = (f"{k}/{n} = {100 * k / n:.{places}f}" for k in (below, min(below + 1, n)))
    return low, high


@cache
def share(n: int) -> float:
    """Share of the 10,001 percentages 0.00 to 100.00 that are attainable at n: the chance of a hit at random."""
    value = np.arange(10001)
    first, last = _bounds(value, 10000, n)
    return float(np.mean(np.maximum(first, 0) <= np.minimum(last, n)))


def chance(attained: int, of: int, n: int) -> float:
    """Probability of at least ``attained`` of ``of`` distinct values attainable at n, if each were drawn at random.

    Model: values independent and uniform over 0.00, 0.01, ..., 100.00.
    """
    p = share(n)
    return sum(comb(of, hit) * p**hit * (1 - p) ** (of - hit) for hit in range(attained, of + 1))


def fitting_sizes(printed: Iterable[str], start: int = SMALLEST, stop: int = 10_000) -> list[int]:
    """Every n in [start, stop) at which all the values are attainable."""
    n = np.arange(start, stop)
    fits = np.ones(n.size, dtype=bool)
    for value in set(printed):
        first, last = _bounds(*scaled(value), n)
        fits &= np.maximum(first, 0) <= np.minimum(last, n)
    return [int(size) for size in n[fits]]


def smallest_n(printed: Iterable[str]) -> int | None:
    """The smallest n from 100 to 9,999 at which every value is attainable, or None."""
    return next(iter(fitting_sizes(printed)), None)


def chance_of_smaller(of: int, n: int, start: int = SMALLEST) -> float:
    """Expected number of sizes in [start, n] at which ``of`` random values are all attainable (model of `chance`)."""
    return sum(share(size) ** of for size in range(start, n + 1))
