"""Paired comparisons: two attacks on the same images, judged by the images on which they differ."""

from __future__ import annotations

from math import comb

from torch import Tensor

from meddef.robustness.check_result import Outcome

CLEAR = 0.01  # two attacks differ clearly if a fair coin would give as lopsided a count in fewer than 1 % of cases
FEW = 0.05  # share of the images that is put down to chance or to a border case


def sign_test(more: int, fewer: int) -> float:
    """One-sided p: a fair coin thrown ``more + fewer`` times shows heads at least ``more`` times."""
    n = more + fewer
    return sum(comb(n, k) for k in range(more, n + 1)) / 2**n


def tail(count: int, of: int, share: float) -> float:
    """The probability of at least ``count`` heads in ``of`` throws of a coin that shows them with ``share``."""
    return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count, of + 1))


def clearly_more(count: int, of: int, share: float) -> bool:
    """Whether ``count`` is more than ``share`` of ``of`` and, of few images, more than what is put down to chance."""
    return count > share * of and tail(count, of, FEW) < CLEAR


def not_beaten(weaker: Tensor, stronger: Tensor, names: tuple[str, str]) -> Outcome:
    """Passes unless the attack that should be weaker breaks clearly more images than the one that should be stronger.

    Args:
        weaker, stronger: (N,) bool, which images each attack broke.
        names: of the two, for the sentence.
    """
    only_weaker, only_stronger = int((weaker & ~stronger).sum()), int((stronger & ~weaker).sum())
    p = sign_test(only_weaker, only_stronger)
    numbers = {
        "images": len(weaker),
        "broken_by_weaker": int(weaker.sum()),
        "broken_by_stronger": int(stronger.sum()),
        "only_by_weaker": only_weaker,
        "only_by_stronger": only_stronger,
        "p": p,
    }
    first = names[1][0].upper() + names[1][1:]
    detail = (
        f"{first} breaks {int(stronger.sum())} of {len(weaker)} images, {names[0]} {int(weaker.sum())}; "
        f"{only_weaker} are broken by {names[0]} alone, {only_stronger} by {names[1]} alone (sign test p = {p:.2g})."
    )
    return Outcome(p >= CLEAR, numbers, detail)


def few(count: int, of: int, words: str, *, share: float = FEW) -> Outcome:
    """Passes if ``count`` is at most ``share`` of ``of`` or, unless none may be, one; above ``FEW``: ``clearly_more``.

    ``words`` say what was counted.
    """
    numbers = {"images": of, "count": count}
    fails = clearly_more(count, of, share) if share > FEW else count > (max(share * of, 1) if share else 0)
    return Outcome(not fails, numbers, f"{count} of {of} images {words}; up to {share:.0%} pass.")
