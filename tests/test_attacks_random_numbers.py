"""The numbers behind random starts: against SplitMix64 written in plain integers, and against chance."""

import math
import zlib

import pytest
import torch
from attack_models import images
from scipy.stats import chisquare, kstest
from torch import Tensor

from meddef.attacks.randomness import PerImage, Randomness, _mixed, _shifted, _signed

LIMIT = 1e-3  # p-values of fixed draws: a good generator fails one check in a thousand, and then for ever
MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


# SplitMix64 in Python's integers (Steele, Lea & Flood 2014, figure 17; Vigna's splitmix64.c)


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def as_tensor(values: list[int]) -> Tensor:
    return torch.tensor([value - 2**64 if value >= 2**63 else value for value in values])


def as_ints(values: Tensor) -> list[int]:
    return [value & MASK for value in values.tolist()]


PUBLISHED = {
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B],
    1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821],
}  # fmt: skip
"""First outputs of the reference implementation, by seed."""


@pytest.mark.parametrize("seed", PUBLISHED)
def test_the_mixer_gives_the_published_outputs(seed: int) -> None:
    states = [(seed + k * GOLDEN) & MASK for k in range(1, 6)]
    assert [mix(state) for state in states] == PUBLISHED[seed]
    assert as_ints(_mixed(as_tensor(states))) == PUBLISHED[seed]


def test_the_mixer_is_that_of_plain_integers_at_the_edges() -> None:
    edges = [0, 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, *(1 << k for k in range(64))]
    assert as_ints(_mixed(as_tensor(edges))) == [mix(edge) for edge in edges]
    for by in (1, 31, 40, 63):
        assert as_ints(_shifted(as_tensor(edges), by)) == [edge >> by for edge in edges]
    assert [_signed(edge) & MASK for edge in edges] == edges


@pytest.mark.parametrize(("seed", "stream"), [(0, "pgd"), (3, "square"), (-1, "pgd"), (2**70 + 5, "fab")])
def test_every_number_is_what_the_page_says(seed: int, stream: str) -> None:
    x = images(3, size=4)
    numbers = PerImage(x, seed, stream)
    drawn = [numbers.uniform(4), numbers.uniform(2, 3)]
    for image in range(3):
        levels = [round(value * 65535) for value in x[image].double().flatten().tolist()]
        content = sum(level * (mix((i * GOLDEN) & MASK) | 1) for i, level in enumerate(levels)) & MASK
        start = (seed * GOLDEN + zlib.crc32(stream.encode())) & MASK
        key = mix((mix(content) + mix(start)) & MASK)
        for draw, values in enumerate(drawn):
            for j, value in enumerate(values[image].flatten().tolist()):
                assert value == (mix((key + GOLDEN * ((draw << 32) + j)) & MASK) >> 40) / 2**24


# Against chance: images that differ in as little as can be, one grey level of one pixel


def neighbours(size: int = 16) -> Tensor:
    """(3 size^2, 3, size, size): a grey image, and in each copy another value that is one of 255 levels higher."""
    count = 3 * size * size
    return (100 + torch.eye(count)).view(count, 3, size, size) / 255


def uniform(seed: int = 0, draws: int = 1, many: int = 256) -> Tensor:
    """(draws, 768, many)."""
    numbers = PerImage(neighbours(), seed, "pgd")
    return torch.stack([numbers.uniform(many) for _ in range(draws)])


def p_uniform(values: Tensor) -> float:
    return float(kstest(values.double().flatten().numpy(), "uniform").pvalue)


def largest_correlation(rows: Tensor) -> float:
    """Of any two rows (m, n), in standard deviations of that of independent ones."""
    return float(torch.corrcoef(rows.double()).fill_diagonal_(0).abs().max()) * math.sqrt(rows.shape[1])


def expected_largest(rows: int) -> float:
    """Exceeded once in a thousand by the largest of all pairs of that many independent rows."""
    return float(
        2**0.5 * torch.erfinv(torch.tensor(1 - LIMIT / (rows * (rows - 1) / 2), dtype=torch.float64))
    )


def test_the_images_are_neighbours_and_their_keys_are_not() -> None:
    x = neighbours()
    assert ((x - x[0]).flatten(1) != 0).sum(1)[1:].tolist() == [2] * 767
    keys = PerImage(x, 0, "pgd").keys
    assert len(keys.unique()) == len(x)
    flipped = torch.stack([((keys[1:] ^ keys[:-1]) >> bit) & 1 for bit in range(64)]).double()
    assert flipped.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / flipped.numel() ** 0.5)
    assert flipped.mean(1).min() > 0.4
    assert flipped.mean(1).max() < 0.6


def test_one_level_of_sixteen_bits_is_another_key() -> None:
    x = (torch.arange(65536).view(-1, 1, 1, 1) / 65535).expand(-1, 1, 2, 2)
    assert len(PerImage(x, 0, "pgd").keys.unique()) == 65536


def test_numbers_are_uniform_over_images_pixels_and_draws() -> None:
    values = uniform(draws=4)
    assert values.min() >= 0
    assert values.max() < 1
    assert p_uniform(values) > LIMIT
    for along in (0, 1, 2):  # every draw, every image, every pixel
        slices = values.movedim(along, 0).flatten(1)
        worst = min(p_uniform(row) for row in slices)
        assert worst > LIMIT / len(slices)
        assert kstest([p_uniform(row) for row in slices], "uniform").pvalue > LIMIT  # neither too even


def test_every_bit_is_as_often_set_as_not() -> None:
    values = (uniform(draws=4).double() * 2**24).long().flatten()
    for bit in range(24):
        share = ((values >> bit) & 1).double().mean().item()
        assert abs(share - 0.5) < 4 * 0.5 / len(values) ** 0.5


def test_chi_square_of_single_numbers_and_of_pairs() -> None:
    values = uniform(draws=2)
    assert chisquare((values * 256).long().flatten().bincount(minlength=256)).pvalue > LIMIT
    for first, second in (
        (values[0], values[1]),  # the same pixel of the same image in two draws
        (values[:, :, :-1], values[:, :, 1:]),  # neighbouring pixels
        (values[:, :-1], values[:, 1:]),  # neighbouring images
        (values, uniform(seed=1, draws=2)),  # neighbouring seeds
    ):
        cells = (first * 16).long() * 16 + (second * 16).long()
        assert chisquare(cells.flatten().bincount(minlength=256)).pvalue > LIMIT


def test_nothing_is_correlated() -> None:
    values = uniform(draws=4)
    assert largest_correlation(values[0]) < expected_largest(768)  # images
    assert largest_correlation(values[0].T) < expected_largest(256)  # pixels
    assert largest_correlation(values.flatten(1)) < expected_largest(4)  # draws
    seeds = torch.stack([uniform(seed).flatten() for seed in (*range(16), -1, 2**32, 2**63)])
    assert largest_correlation(seeds) < expected_largest(len(seeds))
    streams = [
        PerImage(neighbours(), 0, name).uniform(64).flatten() for name in ("pgd", "apgd", "fab", "square")
    ]
    assert largest_correlation(torch.stack(streams)) < expected_largest(4)


class Weak(Randomness):
    """The defect: the image's number is added to a shared draw, which is uniform and not independent."""

    def __init__(self, count: int) -> None:
        self.offset = torch.arange(count) / count

    def uniform(self, *shape: int) -> Tensor:
        shared = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        return (self.offset.view(-1, *[1] * len(shape)) + shared) % 1

    def select(self, keep: Tensor) -> "Weak":
        raise NotImplementedError


def test_shared_numbers_would_be_noticed() -> None:
    values = Weak(768).uniform(256)
    assert p_uniform(values) > LIMIT  # what uniformity alone does not see
    assert largest_correlation(values) > expected_largest(768)


# What is made of them


@pytest.mark.parametrize("below", [1, 2, 3, 7, 221, 1000])
def test_integers_are_in_range_and_unbiased(below: int) -> None:
    drawn = PerImage(neighbours(), 0, "square").integers(below, 256)
    assert drawn.dtype == torch.int64
    assert (drawn.min().item(), drawn.max().item()) == (0, below - 1)
    if below > 1:
        assert chisquare(drawn.flatten().bincount(minlength=below)).pvalue > LIMIT


def test_integers_never_reach_the_bound() -> None:
    """Also for the largest number below 1, which in float32 times 2^24 - 1 rounds up."""

    class Largest(Weak):
        def uniform(self, *shape: int) -> Tensor:
            return torch.full((1, *shape), 1 - 2.0**-24)

    for below in (1, 3, 1000, 2**24 - 1):
        assert Largest(1).integers(below, 1).item() == below - 1


def test_normal_numbers_are_normal_out_to_the_tails() -> None:
    drawn = PerImage(neighbours(), 0, "pgd").normal(1, 16, 16)
    assert drawn.dtype == torch.float32
    assert drawn.shape == (768, 1, 16, 16)
    values = drawn.double().flatten()
    assert kstest(values.numpy(), "norm").pvalue > LIMIT
    assert abs(((values.abs() > 3).double().mean().item()) - 0.0026998) < 4 * (0.0027 / len(values)) ** 0.5
    assert largest_correlation(drawn.flatten(1)) < expected_largest(768)
    for end, most in ((0.0, -5.5), (1 - 2.0**-24, 5.5)):

        class End(Weak):
            def uniform(self, *shape: int, end: float = end) -> Tensor:
                return torch.full((1, *shape), end)

        assert abs(End(1).normal(1).item()) == pytest.approx(abs(most), abs=0.2)
        assert End(1).normal(1).item() * most > 0


def test_signs_are_balanced() -> None:
    drawn = PerImage(neighbours(), 0, "noise").signs(256)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert abs(drawn.mean().item()) < 4 / drawn.numel() ** 0.5
