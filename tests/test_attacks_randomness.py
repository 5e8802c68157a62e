"""Random numbers belong to the image: the same in any batch, order and process. Whether they look random: see
``test_attacks_random_numbers``."""

import copy
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attack_models import answers, images, stripes, trained
from torch import Tensor, nn

from meddef.attacks import ShortReachWarning, apgd, ensemble, fab, noise, pgd, square
from meddef.attacks.balls import norm_ball
from meddef.attacks.randomness import FromGenerator, PerImage, randomness
from meddef.errors import InputError
from meddef.evaluation import evaluate

EPS = 0.045
ATTACKS: dict[str, Callable[..., Tensor]] = {
    "pgd": partial(pgd, eps=EPS, step_size=EPS / 4, steps=8),
    "pgd, restarts": partial(pgd, eps=EPS, step_size=EPS / 2, steps=4, restarts=3, stop="first"),
    "pgd, l2": partial(pgd, eps=0.8, step_size=0.4, steps=4, norm="l2"),
    "noise": partial(noise, eps=EPS),
    "apgd": partial(apgd, eps=EPS, steps=6, restarts=2),
    "fab": partial(fab, eps=EPS, steps=4, restarts=4, targets=1),
    "square": partial(square, eps=EPS, queries=40),
    "ensemble": partial(ensemble, eps=EPS, steps=6, queries=40),
}
short = pytest.mark.filterwarnings(
    "ignore::meddef.attacks.ShortReachWarning"
)  # no step: the start is returned


@lru_cache
def model(*, double: bool) -> nn.Module:
    """Adversarially trained, so that some images resist and every restart is run."""
    return copy.deepcopy(trained(4, eps=0.04)).to(torch.float64 if double else torch.float32)


def in_batches(attack: Callable[..., Tensor], x: Tensor, labels: Tensor, size: int) -> Tensor:
    judge = model(double=x.dtype == torch.float64)
    return torch.cat([attack(judge, *part) for part in zip(x.split(size), labels.split(size), strict=True)])


def check_batching(attack: Callable[..., Tensor]) -> None:
    """The attack finds the same images in batches of 1, 7, 16 and 64, and whatever their order.

    In float64, as the last bits of a gradient depend on the batch, and in float32 they would turn a sign now and then.
    """
    x, labels = stripes(64, 4, 28, seed=999)
    x, order = x.double(), torch.randperm(64, generator=torch.Generator().manual_seed(3))
    whole = in_batches(attack, x, labels, 64)
    found = {size: in_batches(attack, x, labels, size) for size in (1, 7, 16)}
    shuffled = in_batches(attack, x[order], labels[order], 16)
    found[0] = torch.empty_like(shuffled).index_copy_(0, order, shuffled)
    judge = model(double=True)
    for adv in found.values():
        torch.testing.assert_close(adv, whole, rtol=0, atol=1e-7)  # by which the L2 ball is shrunk where left
        assert torch.equal(answers(judge, adv), answers(judge, whole))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_batch_does_not_matter(name: str) -> None:
    check_batching(ATTACKS[name])


class ByPosition(PerImage):
    """The defect: numbers that belong to the place in the batch."""

    def __init__(self, images: Tensor, seed: int, stream: str) -> None:
        super().__init__(images, seed, stream)
        self.keys = torch.arange(len(images)) * 0x2545F4914F6CDD1D + seed


@pytest.mark.parametrize("name", ATTACKS)
def test_numbers_by_position_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meddef.attacks.randomness.PerImage", ByPosition)
    with pytest.raises(AssertionError):
        check_batching(ATTACKS[name])


@pytest.mark.parametrize("name", ["pgd", "pgd, restarts", "apgd"])
def test_verdicts_do_not_depend_on_the_batch_in_float32(name: str) -> None:
    x, labels = stripes(64, 4, 28, seed=999)
    loaders = [list(zip(x.split(size), labels.split(size), strict=True)) for size in (64, 7, 1)]
    whole, *others = (
        evaluate(model(double=False), loader, ATTACKS[name]).after.tolist() for loader in loaders
    )
    assert whole != labels.tolist()
    assert others == [whole, whole]


@short
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_are_the_same_bit_for_bit(norm: str) -> None:
    x, labels = stripes(64, 4, 28, seed=999)
    start = partial(pgd, eps=0.2, step_size=0.0, steps=1, norm=norm)
    whole = in_batches(start, x, labels, 64)
    for size in (1, 7, 16):
        assert torch.equal(in_batches(start, x, labels, size), whole)
    assert torch.equal(in_batches(start, x.flip(0), labels.flip(0), 7).flip(0), whole)
    assert (whole - x).flatten(1).std(1).min() > 0
    assert len(torch.unique(whole - x, dim=0)) == 64
    for seed in (1, -1, 2**63):
        other = in_batches(partial(start, seed=seed), x, labels, 64)
        assert ((other - x) != (whole - x)).flatten(1).double().mean(1).min() > 0.5


@pytest.mark.parametrize("name", ATTACKS)
def test_another_seed_finds_other_images(name: str) -> None:
    x, labels = stripes(64, 4, 28, seed=999)
    first, other = (in_batches(partial(ATTACKS[name], seed=seed), x, labels, 64) for seed in (0, 1))
    assert not torch.equal(first, other)


def starts(x: Tensor, norm: str, **given: Any) -> Tensor:
    return norm_ball(norm, x, torch.full((len(x), 1, 1, 1), 0.2, dtype=torch.float64)).random(
        randomness(x, **{"generator": None, "seed": 0, "stream": "pgd", **given})
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_equal_images_share_their_start_and_streams_do_not(norm: str) -> None:
    x = images(4)
    x[2] = x[0]
    found = starts(x, norm)
    assert torch.equal(found[2], found[0])
    assert not torch.equal(found[1] - x[1], found[0] - x[0])
    assert not torch.equal(starts(x, norm, stream="apgd"), found)


def test_layout_precision_and_the_last_bit_do_not_matter() -> None:
    """8-bit images in float32 or float64, laid out either way, computed on devices that differ in the last bit."""
    x = images(16)
    keys = PerImage(x, 0, "pgd").keys
    for same in (
        x.double(),
        (x.double() * 255).round() / 255,
        x.contiguous(memory_format=torch.channels_last),
        x.nextafter(torch.ones_like(x)),
        x.nextafter(torch.zeros_like(x)),
    ):
        assert torch.equal(PerImage(same, 0, "pgd").keys, keys)
    assert not torch.isin(PerImage(x.flip(-1), 0, "pgd").keys, keys).any()  # the same pixels, elsewhere
    assert not torch.isin(PerImage(x[:, [1, 0, 2]], 0, "pgd").keys, keys).any()


SCRIPT = """
import hashlib, warnings, torch
from attack_models import stripes, trained
from meddef.attacks import pgd
warnings.simplefilter("ignore")
torch.rand({drawn})
x, labels = stripes(12, 4, 28, seed=999)
part = slice({first}, 12)
start = pgd(trained(4), x[part], labels[part], eps=0.2, step_size=0.0, steps=1)
print(hashlib.sha256(start[-6:].numpy().tobytes()).hexdigest())
"""


def test_two_processes_draw_the_same() -> None:
    """New processes, each with hash randomisation and its own state of the global generator."""
    x, labels = stripes(12, 4, 28, seed=999)
    with pytest.warns(ShortReachWarning):
        start = pgd(trained(4), x, labels, eps=0.2, step_size=0.0, steps=1)
    path = os.pathsep.join(p for p in [str(Path(__file__).parent), *sys.path] if p)
    for number in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(drawn=number, first=5 * number)],
            env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": str(number + 1)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == hashlib.sha256(start[-6:].numpy().tobytes()).hexdigest()


# Parts of a batch


@pytest.mark.parametrize(
    "keep", [torch.tensor([True, False, True, True, False, False]), torch.tensor([4, 0, 3])]
)
def test_an_image_keeps_its_numbers_when_others_leave(keep: Tensor) -> None:
    numbers = PerImage(images(6), 0, "pgd")
    numbers.uniform(5)
    part = numbers.select(keep)
    for _ in range(3):
        assert torch.equal(part.uniform(2, 3), numbers.uniform(2, 3)[keep])
    assert torch.equal(part.select(torch.tensor([1])).normal(4), numbers.normal(4)[keep][[1]])


# A caller's generator: whole batches, in order


@short
def test_a_caller_s_generator_serves_whole_batches_in_order() -> None:
    x, labels = stripes(12, 4, 28, seed=999)
    mine, theirs = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    for part in (slice(0, 8), slice(8, 12)):
        found = pgd(trained(4), x[part], labels[part], eps=0.2, step_size=0.0, steps=1, generator=mine)
        drawn = torch.rand(x[part].shape, generator=theirs)
        torch.testing.assert_close(found, (x[part] + 0.2 * (2 * drawn - 1)).clamp(0, 1), rtol=0, atol=1e-6)
    twins = x[:1].expand(2, -1, -1, -1)
    apart = starts(twins, "linf", generator=mine)
    assert not torch.equal(apart[0], apart[1])


def test_a_caller_s_generator_draws_for_those_that_stay() -> None:
    mine, theirs = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    numbers = FromGenerator(images(6), mine)
    assert torch.equal(numbers.uniform(3), torch.rand(6, 3, generator=theirs))
    part = numbers.select(torch.tensor([True, False, True, False, False, False]))
    assert torch.equal(part.uniform(3), torch.rand(2, 3, generator=theirs))
    assert torch.equal(part.signs(9), torch.where(torch.rand(2, 9, generator=theirs) < 0.5, -1.0, 1.0))


def test_verdicts_that_hang_on_the_batch_are_as_many_as_the_page_says() -> None:
    """Before: starts of a batch drawn from one generator, one restart after the other. Now: from the image."""
    x, labels = stripes(512, 4, 28, seed=999)

    def differ(starts: int, **drawn: Any) -> int:
        kinds = {"random_start": starts > 0, "restarts": max(1, starts)}
        attack = partial(pgd, eps=EPS, step_size=EPS / 4, steps=8, **kinds)
        resist = []
        for size in (16, 64):
            settings = {name: make() for name, make in drawn.items()}
            found = in_batches(partial(attack, **settings), x.double(), labels, size)
            with torch.no_grad():
                resist.append(model(double=True)(found).argmax(1) == labels)
        return int((resist[0] != resist[1]).sum())

    before = [differ(starts, generator=lambda: torch.Generator().manual_seed(0)) for starts in (0, 1, 5)]
    now = [differ(starts, seed=lambda: 0) for starts in (0, 1, 5)]
    assert now == [0, 0, 0]
    page = (Path(__file__).parents[1] / "book" / "surprises.md").read_text(encoding="utf-8")
    assert before[:2] == [0, 0]
    assert f"`{before[2]}` of `{len(x)}` verdicts" in page


@pytest.mark.parametrize("seed", [1.0, 1.5, None, "1"])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    with pytest.raises(InputError, match="seed must be a whole number"):
        noise(nn.Flatten(), images(), torch.zeros(6, dtype=torch.int64), eps=EPS, seed=seed)


def test_whole_numbers_of_other_libraries_are_the_same_seed() -> None:
    x, labels = images(), torch.zeros(6, dtype=torch.int64)
    found = [noise(nn.Flatten(), x, labels, eps=EPS, seed=seed) for seed in (3, np.int64(3), torch.tensor(3))]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
