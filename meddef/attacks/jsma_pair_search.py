"""The exact best pair of a saliency map without the n x n matrix of all pairs.

Papernot et al. 2016 (Algorithm 2) ask for the pair of features p < q that maximises (a_p + a_q)(b_p + b_q) with both
sums positive. For every slope s > 0 the mean inequality bounds the root of that product:

    2 sqrt((a_p + a_q)(b_p + b_q)) <= u_p + u_q,   u_i = s a_i + b_i / s

so a pair that beats the best one found among the features with the largest u must contain two features whose u add
up to more; when what is left cannot, the search is over and its result is exact.
"""

import torch
from torch import Tensor

_FIRST, _SECOND = 32, 512
_BLOCK = 1 << 22
_SAFE = 1 + 1e-6


def best_pair(a: Tensor, b: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    """The pair with the largest (a_p + a_q)(b_p + b_q) among those with both sums positive.

    Args:
        a: (N, n), float32 or float64.
        b: (N, n), likewise.
        domain: (N, n), bool; features that may be chosen.

    Returns:
        (N, 2) int64, p < q, the first in lexicographic order where several are equal; and (N,) bool, whether there
        is such a pair (the indices are meaningless where there is none).
    """
    slope = _finite_slope(b.abs().sum(1), a.abs().sum(1))
    pair, value, certain = _among_largest(a, b, domain, slope, _FIRST)
    for search in (_retry, _exhaust):
        todo = (~certain).nonzero()[:, 0]
        if not len(todo):
            break
        pair[todo], value[todo], certain[todo] = search(a[todo], b[todo], domain[todo], pair[todo])
    return pair, value > 0


def _finite_slope(rise: Tensor, run: Tensor) -> Tensor:
    """sqrt(rise / run), (N,) float64, kept within 1e-6 and 1e6; 1 where it has no meaning."""
    return (rise.double() / run.double()).sqrt().nan_to_num(1.0).clamp(1e-6, 1e6)


def _among_largest(
    a: Tensor, b: Tensor, domain: Tensor, slope: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Best pair among the ``count`` features of largest u, its value (0: none), and whether it is best of all."""
    u = (slope[:, None] * a + b / slope[:, None]).masked_fill(~domain, -torch.inf)
    largest = u.topk(min(count, u.shape[1]), dim=1)
    index = largest.indices.sort(dim=1).values
    pair, value = _best_of(index, a.gather(1, index), b.gather(1, index), domain.gather(1, index))
    if count >= u.shape[1]:
        return pair, value, torch.ones_like(value, dtype=torch.bool)
    outside = (largest.values[:, 0] + largest.values[:, -1]).clamp(min=0)
    return pair, value, (outside == 0) | (outside.square() * _SAFE < 4 * value.double())


def _best_of(index: Tensor, a: Tensor, b: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of the m features ``index`` (N, m), ascending."""
    a_sum, b_sum = a[:, :, None] + a[:, None, :], b[:, :, None] + b[:, None, :]
    allowed = (a_sum > 0) & (b_sum > 0) & (domain[:, :, None] & domain[:, None, :]).triu(1)
    value, where = (a_sum * b_sum).masked_fill_(~allowed, 0).flatten(1).max(1)
    m = index.shape[1]
    return index.gather(1, torch.stack([where // m, where % m], 1)), value


def _retry(a: Tensor, b: Tensor, domain: Tensor, pair: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """More features, and the slope at which the bound is tight for the pair found first."""
    slope = _finite_slope(b.gather(1, pair).sum(1), a.gather(1, pair).sum(1))
    return _among_largest(a, b, domain, slope, _SECOND)


def _exhaust(a: Tensor, b: Tensor, domain: Tensor, pair: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One image after the other, all pairs that no bound rules out; for maps where a and b disagree."""
    value = a.new_zeros(len(a))
    for i in range(len(a)):
        inside = domain[i].nonzero()[:, 0]
        pair[i], value[i] = _exhaust_one(inside, a[i, inside], b[i, inside], pair[i])
    return pair, value, torch.ones_like(value, dtype=torch.bool)


def _exhaust_one(index: Tensor, a: Tensor, b: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
    """``index``, ``a`` and ``b`` are (m,)."""
    best = _some_pair(a, b)
    if not best > 0:
        return pair, best
    keep = torch.ones_like(a, dtype=torch.bool)
    centre = _finite_slope(b.abs().sum(), a.abs().sum())
    for slope in centre * 2.0 ** torch.arange(-4, 5, device=a.device):
        u = slope * a + b / slope
        keep &= (u + u.max()).clamp(min=0).square() * _SAFE >= 4 * best.double()
    index, a, b = index[keep], a[keep], b[keep]
    best, m = torch.zeros_like(best), len(a)
    rows = max(_BLOCK // max(m, 1), 1)
    for start in range(0, m, rows):
        a_sum, b_sum = a[start : start + rows, None] + a, b[start : start + rows, None] + b
        allowed = ((a_sum > 0) & (b_sum > 0)).triu(1 + start)
        value, where = (a_sum * b_sum).masked_fill_(~allowed, 0).flatten().max(0)
        if value > best:
            best, pair = value, index[torch.stack([start + where // m, where % m])]
    return pair, best


def _some_pair(a: Tensor, b: Tensor) -> Tensor:
    """A value that some allowed pair has, 0 exactly if there is none.

    Each feature is tried with one partner: the largest b among those whose a keeps the sum positive.
    """
    falling = a.argsort(descending=True)
    a, b = a[falling], b[falling]
    largest = b.cummax(0)
    reach = torch.searchsorted(-a, a, right=False)  # how many features have a_j > -a_i
    has = reach > 0
    last = (reach - 1).clamp(min=0)
    partner = largest.indices[last]
    a_sum, b_sum = a + a[partner], b + largest.values[last]
    allowed = has & (partner != torch.arange(len(a), device=a.device)) & (b_sum > 0)
    return torch.where(allowed, a_sum * b_sum, 0).amax() if len(a) else a.new_zeros(())
