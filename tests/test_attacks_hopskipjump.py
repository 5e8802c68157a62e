"""HopSkipJump against foolbox's, by hand on a plane, and where gradients and confidences say nothing."""

import warnings

import pytest
import torch
from attack_models import Linear, answers, assert_within, cnn, images, labels_of, stripes, trained
from torch import Tensor, nn

from meddef.attacks import NoStartWarning, hopskipjump
from meddef.attacks.peers import foolbox_attack
from meddef.errors import InputError


def data(n: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    model, (x, labels) = trained(4), stripes(n, 4, 28, seed=999)
    right = answers(model, x) == labels
    return model, x[right], labels[right]


class Answers(nn.Module):
    """One-hot: no gradient, and no confidence."""

    def __init__(self, inner: nn.Module, classes: int) -> None:
        super().__init__()
        self.inner, self.classes, self.asked = inner, classes, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return nn.functional.one_hot(self.inner(x).argmax(1), self.classes).float()


def length(found: Tensor, x: Tensor, norm: str) -> Tensor:
    return torch.linalg.vector_norm((found - x).double().flatten(1), 2 if norm == "l2" else torch.inf, dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_plane_it_finds_nearly_the_nearest_point(norm: str) -> None:
    """z_1 > z_0 beyond w . x = b, at distance (b - w . x) / |w| in the dual norm."""
    w = torch.linspace(0.5, 1.5, 16)
    plane = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        plane[1].weight.copy_(torch.stack([-w, w]))
        plane[1].bias.copy_(torch.tensor([10.0, -10.0]))
    x = torch.full((2, 1, 4, 4), 0.5)
    x[1] -= 0.05
    gap = 10.0 - x.flatten(1) @ w
    nearest = gap / (w.abs().sum() if norm == "linf" else w.norm())
    labels = torch.zeros(2, dtype=torch.int64)
    found = hopskipjump(plane, x, labels, eps=1.0 * float(nearest.max()) * 1.15, norm=norm, queries=3000)
    assert (answers(plane, found) == 1).all()
    assert (length(found, x, norm) >= nearest - 1e-5).all()


def test_answers_alone_are_enough_and_are_all_it_uses() -> None:
    model, x, labels = data()
    told = Answers(model, 4).eval()
    found = hopskipjump(told, x, labels, eps=0.2, queries=600)
    assert (answers(model, found) != labels).float().mean() > 0.5
    assert torch.equal(found, hopskipjump(model, x, labels, eps=0.2, queries=600))
    assert_within(found, x, 0.2)


def test_as_near_as_foolbox_for_as_many_queries() -> None:
    """Foolbox's five steps take about 1,100 queries; the median distance, in L2."""
    pytest.importorskip("foolbox", reason="the peers extra is not installed")
    model, x, labels = data(6)
    counted = Answers(model, 4).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = foolbox_attack(counted, x, labels, attack="HopSkipJumpAttack", eps=30.0, norm="l2", steps=5)
    spent = counted.asked
    ours = hopskipjump(
        model, x, labels, eps=1e-3, norm="l2", queries=spent
    )  # it stops at the first within eps
    assert length(ours, x, "l2").max() <= 1e-3
    near = float(length(theirs, x, "l2").median())
    ours = hopskipjump(model, x, labels, eps=1.1 * near, norm="l2", queries=spent)
    assert (answers(model, ours) != labels).float().mean() >= 0.5


def test_it_spends_no_more_than_its_queries_and_the_batch_does_not_matter() -> None:
    model, x, labels = data(4)
    for queries in (20, 40, 150, 330):
        told = Answers(model, 4).eval()
        hopskipjump(told, x[:1], labels[:1], eps=0.002, queries=queries)
        assert told.asked <= queries
    together = hopskipjump(model, x, labels, eps=0.02, queries=400)
    alone = torch.cat(
        [
            hopskipjump(model, one[None], label[None], eps=0.02, queries=400)
            for one, label in zip(x, labels, strict=True)
        ]
    )
    assert (answers(model, together) == answers(model, alone)).all()
    torch.testing.assert_close(together, alone, rtol=0, atol=0.02)


def test_no_start_is_no_robustness() -> None:
    class Constant(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0]) + 0 * z.flatten(1)[:, :1]

    x = images(3)
    with pytest.warns(NoStartWarning, match="for 3 of 3 images: the attack could not begin"):
        found = hopskipjump(Constant(), x, torch.zeros(3, dtype=torch.int64), eps=0.1, queries=100)
    assert torch.equal(found, x)


def test_the_negative_is_a_start_where_noise_is_none() -> None:
    """Noise of mean one half is never darker than 0.2; black is."""
    dark = Linear(torch.tensor([[1.0, 0.0]] * 64))

    class Offset(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return dark(z) - torch.tensor([64 * 0.2, 0.0])

    x = torch.full((1, 1, 8, 8), 0.3)
    found = hopskipjump(Offset(), x, torch.tensor([0]), eps=0.15, queries=400)
    assert answers(Offset(), found).tolist() == [1]
    assert_within(found, x, 0.15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 0}, "queries must be a whole number of at least 1"),
        ({"norm": "l1"}, "norm must be one of"),
    ],
)
def test_what_is_wrong_is_said(changes: dict, message: str) -> None:
    model, x = cnn(), images(2)
    with pytest.raises(InputError, match=message):
        hopskipjump(model, x, labels_of(model, x), **{"eps": 0.1, **changes})
