"""Other origins of a percentage from n images: a mean over batches, or over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from meddef.printed.grim import SMALLEST, fitting_sizes, hits, scaled, share

SEEDS = (2, 3, 4, 5)


def mean_of_batches(printed: str, n: int, batch_size: int) -> bool:
    """Whether the unweighted mean of the batches' accuracies can print as ``printed``.

    n images make q = n // batch_size full batches and one of r = n % batch_size, which weighs as much as the others:
    the mean is (K / batch_size + k / r) / (q + 1) with K correct in the full batches and k in the last.
    """
    full, rest = divmod(n, batch_size)
    if rest == 0 or full == 0:
        return bool(hits(printed, n))
    value, scale = scaled(printed)
    denominator = batch_size * rest * (full + 1)
    for k in range(rest + 1):
        # value - 1/2 <= scale (K rest + k batch_size) / denominator < value + 1, solved for K
        low = -(((1 - 2 * value) * denominator + 2 * scale * k * batch_size) // (2 * scale * rest))
        high = -(-((value + 1) * denominator - scale * k * batch_size) // (scale * rest)) - 1
        if max(low, 0) <= min(high, full * batch_size):
            return True
    return False


@cache
def share_of_batches(n: int, batch_size: int) -> float:
    """Share of the 10,001 percentages 0.00 to 100.00 that `mean_of_batches` allows."""
    full, rest = divmod(n, batch_size)
    if rest == 0 or full == 0:
        return share(n)
    sums = np.add.outer(np.arange(full * batch_size + 1) * rest, np.arange(rest + 1) * batch_size).ravel()
    denominator = batch_size * rest * (full + 1)
    printed = np.union1d(10000 * sums // denominator, (20000 * sums + denominator) // (2 * denominator))
    return printed.size / 10001


def mean_of_seeds(printed: str, n: int) -> int | None:
    """The smallest number of seeds in `SEEDS` whose mean over n images each can print as ``printed``, or None."""
    return next((seeds for seeds in SEEDS if hits(printed, seeds * n)), None)


def asr_mean_of_seeds(printed: Sequence[str], n: int) -> tuple[int, int] | None:
    """(seeds, D): the fewest of `SEEDS` whose mean ASR, over the same D <= n images each, can print as every value."""
    for seeds in SEEDS:
        for total in fitting_sizes(printed, seeds * SMALLEST, seeds * n + 1):
            if total % seeds == 0:
                return seeds, total // seeds
    return None


def asr_sentence(printed: Sequence[str], n: int) -> str:
    """Explanations of a row of attack success rates without a common denominator up to n."""
    found = asr_mean_of_seeds(printed, n)
    if found is None:
        over_seeds = "Means over 2 to 5 seeds with one denominator up to n do not fit either"
    else:
        seeds, size = found
        expected = sum(share(seeds * d) ** len(printed) for d in range(SMALLEST, n + 1))
        over_seeds = (
            f"Means over {seeds} seeds with one denominator, such as {size}, would fit ({expected:.2g} such "
            "denominators expected by chance)"
        )
    return f"{over_seeds}; means over batches, whose denominators are not printed, cannot be excluded."


def sentence(printed: str, n: int, batch_size: int) -> str:
    """Explanations of ``printed`` if it is not k/n, with their share of all values."""
    parts = []
    if mean_of_batches(printed, n, batch_size):
        parts.append(
            f"a mean over batches of {batch_size} (which allows {share_of_batches(n, batch_size):.0%} of values)"
        )
    if seeds := mean_of_seeds(printed, n):
        parts.append(f"a mean over {seeds} seeds (which allows {share(seeds * n):.0%} of values)")
    if not parts:
        return f"neither a mean over batches of {batch_size} nor one over 2 to 5 seeds gives it either"
    return f"{' or '.join(parts)} would give it"


def group_sentence(printed: list[str], n: int, batch_size: int) -> str:
    """How many of the values each explanation would allow at n."""
    batches = sum(mean_of_batches(value, n, batch_size) for value in printed)
    seeds = ", ".join(str(sum(bool(hits(value, s * n)) for value in printed)) for s in SEEDS)
    return (
        f"{batches} of {len(printed)} fit as means over batches of {batch_size} "
        f"({share_of_batches(n, batch_size):.0%} of all values would), {seeds} as means over {SEEDS[0]} to {SEEDS[-1]} "
        "seeds"
    )
