"""Paired comparisons: two attacks on the same images, compared on the images where they differ."""

from __future__ import annotations

from math import comb

from torch import Tensor

from meddef.robustness.check_result import Outcome

CLEAR = 0.01  # significance level of the sign test
FEW = 0.05  # share of images attributed to chance or borderline cases


def sign_test(more: int, fewer: int) -> float:
    """One-sided p of the sign test: at least ``more`` heads in ``more + fewer`` fair coin flips."""
    n = more + fewer
    return sum(comb(n, k) for k in range(more, n + 1)) / 2**n


def tail(count: int, of: int, share: float) -> float:
    """The binomial probability of at least ``count`` successes in ``of`` trials with probability ``share``."""
    return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count, of + 1))


def clearly_more(count: int, of: int, share: float) -> bool:
    """Whether ``count`` exceeds ``share`` of ``of`` and, for few images, chance."""
    return count > share * of and tail(count, of, FEW) < CLEAR


def not_beaten(weaker: Tensor, stronger: Tensor, names: tuple[str, str]) -> Outcome:
    """Passes unless the nominally weaker attack succeeds on significantly more images than the stronger one.

    Args:
        weaker, stronger: (N,) bool, the successes of each attack.
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
        f"{first} succeeds on {int(stronger.sum())} of {len(weaker)} images, {names[0]} on {int(weaker.sum())}; "
        f"on {only_weaker} {names[0]} alone does, on {only_stronger} {names[1]} alone (sign test p = {p:.2g})."
    )
    return Outcome(p >= CLEAR, numbers, detail)


def few(count: int, of: int, words: str, *, share: float = FEW) -> Outcome:
    """Passes if ``count`` is at most ``share`` of ``of`` or, unless none may be, one; above ``FEW``: ``clearly_more``.

    ``words`` say what was counted.
    """
    numbers = {"images": of, "count": count}
    fails = clearly_more(count, of, share) if share > FEW else count > (max(share * of, 1) if share else 0)
    return Outcome(not fails, numbers, f"{count} of {of} images {words}; up to {share:.0%} pass.")
