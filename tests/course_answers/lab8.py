"""Typical wrong answers to lab 8."""

import math

from meddef.paper import epsilon_table
from meddef.printed import grim
from meddef.statistics import Proportion

TABLE = epsilon_table().query("dataset == 'chest_xray'")


def cells(printed, keep=lambda attack: True):
    rows = TABLE[TABLE["printed"] == printed][["variant", "eps", "attack"]].itertuples(index=False, name=None)
    return [row for row in rows if keep(row[2])]


def wald(hits, n):
    p = hits / n
    half = 1.959963984540054 * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


def wilson(z=1.959963984540054, factor=1.0):
    def interval(hits, n):
        middle = (hits + z**2 / 2) / (n + z**2)
        half = factor * z / (n + z**2) * math.sqrt(hits * (n - hits) / n + z**2 / 4)
        return middle - half, middle + half

    return interval


def near(tolerance):
    return lambda printed, n: any(abs(100 * k / n - float(printed)) <= tolerance for k in range(n + 1))


def rounded(places=None):
    def fits(printed, n):
        decimals = len(printed.partition(".")[2]) if places is None else places
        return any(f"{100 * k / n:.{decimals}f}" == printed for k in range(n + 1))

    return fits


def cut(printed, n):
    return any(
        f"{100 * k / n:.6f}"[: -(6 - len(printed.partition(".")[2]))] in (printed,) for k in range(n + 1)
    )


def either_at_two(printed, n):
    return grim.hits(printed, n) if printed != "33.3" else rounded(2)(printed, n)


WRONG = {
    "lab8.prior": [
        (lambda counts: max(counts.values()) / sum(counts.values()), "in [0, 1]"),
        (lambda counts: 100 * min(counts.values()) / sum(counts.values()), "the smallest class"),
        (lambda counts: 100 / len(counts), "guessing at random"),
        (lambda counts: 100 * sum((k / sum(counts.values())) ** 2 for k in counts.values()), "in proportion"),
        (lambda counts: 100 * min(counts.values()) / max(counts.values()), "ratio of two classes"),
        (lambda counts: f"{100 * max(counts.values()) / sum(counts.values()):.2f}", "return a number"),
        (lambda counts: 100 * 641 / 879, "50 of 120"),
    ],
    "lab8.prior_cells": [
        ([], "Compare text with text"),
        (cells("72.89"), "close to the prior"),
        (cells("72.92", lambda attack: attack != "clean"), "do not leave out 'clean'"),
        ([("chest_xray", "resnet18", 0.01)], "is no cell of Table 2"),
        (cells("72.92")[1:], "is missing"),
    ],
    "lab8.attainable": [
        (lambda printed, n: any(100 * k / n == float(printed) for k in range(n + 1)), "print 100 k / n"),
        (rounded(), "cut decimals off"),
        (near(0.1), "tolerance is too wide"),
        (lambda printed, n: bool(either_at_two(printed, n)), "as many decimals as are printed"),
        (lambda printed, n: grim.hits(printed, n), "True or False is required"),
    ],
    "lab8.wilson": [
        (wald, "textbook (Wald)"),
        (wilson(1.6448536269514722), "a 90 % interval"),
        (lambda hits, n: [100 * end for end in Proportion(hits, n).interval], "in percent"),
        (lambda hits, n: Proportion(hits, n).interval[::-1], "the low end comes first"),
        (wilson(factor=2), "twice as wide"),
        (lambda hits, n: hits / n, "return two numbers"),
        (wilson(3), "Wilson's interval is"),
    ],
    "lab8.smallest_n": [
        (lambda values: 24 if "12.50" in values else 1173, "begin at 100"),
        (lambda values: 100, "*All* values must fit one size"),
        (lambda values: 2400, "not the smallest"),
        (lambda values: None, "one number is required"),
    ],
}
