"""The exact search for the pair of features of largest saliency, against a loop over all pairs."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meddef.attacks.jsma_pair_search import best_pair


def slow_best_pair(a: Tensor, b: Tensor, domain: Tensor) -> tuple[int, int] | None:
    """Every pair of one image in turn, in float32; the first of several equal ones."""
    best, chosen = 0.0, None
    a_, b_ = a.numpy(), b.numpy()
    for p, q in itertools.combinations(domain.nonzero()[:, 0].tolist(), 2):
        a_sum, b_sum = a_[p] + a_[q], b_[p] + b_[q]
        if a_sum > 0 and b_sum > 0 and a_sum * b_sum > best:
            best, chosen = a_sum * b_sum, (p, q)
    return chosen


@settings(max_examples=80, deadline=None)
@given(
    n=st.one_of(st.integers(2, 40), st.integers(60, 110)),
    relation=st.sampled_from(
        ["independent", "same", "opposite", "nearly opposite", "ties", "none", "lopsided"]
    ),
    seed=st.integers(0, 10**6),
)
def test_the_best_pair_is_the_one_a_double_loop_finds(n: int, relation: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, noise = torch.randn(3, n, generator=generator), torch.randn(3, n, generator=generator)
    domain = torch.rand(3, n, generator=generator) < 0.9
    b = {
        "independent": noise,
        "same": a + 0.1 * noise,
        "opposite": -a + 0.1 * noise,
        "nearly opposite": -a + 1e-4 * noise,
        "ties": noise.round(),
        "none": -a.abs(),
        "lopsided": 1e-6 * noise,
    }[relation]
    a = a.round() if relation == "ties" else a
    pairs, found = best_pair(a, b, domain)
    for i in range(3):
        expected = slow_best_pair(a[i], b[i], domain[i])
        assert found[i] == (expected is not None)
        if expected is not None:
            assert tuple(pairs[i].tolist()) == expected


def test_the_best_pair_among_many_features() -> None:
    """Past both short cuts (32 and 512 features) to the exhaustive search: a and b almost opposite."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 1500, generator=generator)
    b = -a + 1e-3 * torch.randn(2, 1500, generator=generator)
    pairs, found = best_pair(a, b, torch.ones_like(a, dtype=torch.bool))
    for i in range(2):
        a_sum, b_sum = a[i][:, None] + a[i], b[i][:, None] + b[i]
        product = (a_sum * b_sum).masked_fill(~((a_sum > 0) & (b_sum > 0)).triu(1), 0)
        assert found[i]
        assert divmod(product.argmax().item(), 1500) == tuple(pairs[i].tolist())
