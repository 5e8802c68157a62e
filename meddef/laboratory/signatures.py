"""Signatures of an ε-table.

``FIRST`` was fixed before the laboratory was first run. ``LATER`` was not: its two questions were added in November
2026, when a review found that this project's own training attack was too short, to see its pattern; the paper's tables
and the laboratory's were known by then.

Each signature is one yes-or-no question about the table of one model: accuracy in percent on clean images and under
FGSM, PGD, BIM and JSMA at ε = 0.01, 0.05 and 0.10. ``POINTS`` is the margin for "clearly". The similarity of two sets
of tables is 1 - the mean over signatures of |share of yes in one - share of yes in the other|: 1 if all questions are
answered alike. All questions have equal weight; by how much a number differs is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from meddef.printed import grim
from meddef.printed.published import ATTACKS, EPSILONS

POINTS = 5.0
SMALL, MIDDLE, LARGE = EPSILONS


@dataclass(frozen=True)
class EpsilonTable:
    """One model's accuracies in percent as printed; n is the stated size of its test set, ``prior`` the share (percent)
    of that set's largest class."""

    clean: str
    printed: Mapping[tuple[str, float], str]
    n: int
    prior: float
    values: dict[tuple[str, float], float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", {key: float(text) for key, text in self.printed.items()})

    def column(self, attack: str) -> list[float]:
        """From the smallest ε to the largest."""
        return [self.values[attack, eps] for eps in EPSILONS]


Signature = Callable[[EpsilonTable], bool]


def pgd_above_clean(table: EpsilonTable) -> bool:
    """Under PGD, accuracy exceeds clean accuracy at some ε."""
    return max(table.column("pgd")) > float(table.clean)


def pgd_rises(table: EpsilonTable) -> bool:
    """Accuracy under PGD is higher at the largest ε than at the smallest."""
    return table.values["pgd", LARGE] > table.values["pgd", SMALL]


def pgd_above_fgsm(table: EpsilonTable) -> bool:
    """At the largest ε, accuracy under PGD is clearly above that under FGSM."""
    return table.values["pgd", LARGE] > table.values["fgsm", LARGE] + POINTS


def bim_falls(table: EpsilonTable) -> bool:
    """Accuracy under BIM is clearly lower at the largest ε than at the smallest."""
    return table.values["bim", LARGE] < table.values["bim", SMALL] - POINTS


def bim_below_fgsm(table: EpsilonTable) -> bool:
    """At some ε, accuracy under BIM is clearly below that under FGSM."""
    pairs = zip(table.column("bim"), table.column("fgsm"), strict=True)
    return any(bim < fgsm - POINTS for bim, fgsm in pairs)


def bim_and_pgd_apart(table: EpsilonTable) -> bool:
    """At some ε, BIM and PGD are clearly apart."""
    pairs = zip(table.column("bim"), table.column("pgd"), strict=True)
    return any(abs(bim - pgd) > POINTS for bim, pgd in pairs)


def jsma_depends_on_epsilon(table: EpsilonTable) -> bool:
    """JSMA's accuracy is not the same in every row."""
    return len(set(table.column("jsma"))) > 1


def jsma_follows_fgsm(table: EpsilonTable) -> bool:
    """JSMA stays within the margin of FGSM at every ε."""
    pairs = zip(table.column("jsma"), table.column("fgsm"), strict=True)
    return all(abs(jsma - fgsm) <= POINTS for jsma, fgsm in pairs)


def nothing_happens(table: EpsilonTable) -> bool:
    """Some attack leaves accuracy unchanged at every ε."""
    return any(set(table.column(attack)) == {float(table.clean)} for attack in ATTACKS)


def stops_at_the_prior(table: EpsilonTable) -> bool:
    """Two or more attacks end, at the largest ε, within 0.1 of the largest class's share."""
    return sum(abs(table.values[attack, LARGE] - table.prior) <= 0.1 for attack in ATTACKS) >= 2


def not_attainable(table: EpsilonTable) -> bool:
    """Some accuracy is no k/n for the stated n."""
    return any(not grim.hits(text, table.n) for text in [table.clean, *table.printed.values()])


def stops_falling(table: EpsilonTable) -> bool:
    """From the middle ε to the largest, accuracy under BIM or PGD does not clearly fall, and it ends clearly above that
    under FGSM."""
    return any(
        table.values[attack, LARGE] >= table.values[attack, MIDDLE] - POINTS
        and table.values[attack, LARGE] > table.values["fgsm", LARGE] + POINTS
        for attack in ("bim", "pgd")
    )


def bim_above_fgsm(table: EpsilonTable) -> bool:
    """At the largest ε, accuracy under BIM is clearly above that under FGSM."""
    return table.values["bim", LARGE] > table.values["fgsm", LARGE] + POINTS


FIRST: tuple[Signature, ...] = (
    pgd_above_clean,
    pgd_rises,
    pgd_above_fgsm,
    bim_falls,
    bim_below_fgsm,
    bim_and_pgd_apart,
    jsma_depends_on_epsilon,
    jsma_follows_fgsm,
    nothing_happens,
    stops_at_the_prior,
    not_attainable,
)
LATER: tuple[Signature, ...] = (stops_falling, bim_above_fgsm)
SIGNATURES = FIRST + LATER


def shares(tables: Sequence[EpsilonTable], signatures: Sequence[Signature] = SIGNATURES) -> np.ndarray:
    """Share of the tables that show each signature, in the order of ``signatures``, in [0, 1]."""
    return np.mean([[signature(table) for signature in signatures] for table in tables], axis=0)


def similarity(
    first: Sequence[EpsilonTable],
    second: Sequence[EpsilonTable],
    signatures: Sequence[Signature] = SIGNATURES,
) -> float:
    """In [0, 1]; see the top of this file."""
    return float(1 - np.abs(shares(first, signatures) - shares(second, signatures)).mean())
