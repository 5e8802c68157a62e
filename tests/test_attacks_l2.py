"""APGD and Carlini-Wagner in L2, against the public AutoAttack, foolbox and ART, and by hand."""

import warnings
from typing import Any

import pytest
import torch
from attack_models import Linear, answers, cnn, images, labels_of, stripes, trained
from torch import Tensor, nn

from meddef.attacks import apgd, cw, pgd
from meddef.attacks.apgd import _run
from meddef.attacks.balls import L2Ball
from meddef.attacks.peers import art_attack, foolbox_attack
from meddef.errors import InputError
from tests.bench import peers


def data(n: int = 16) -> tuple[nn.Module, Tensor, Tensor]:
    model, (x, labels) = trained(4, eps=0.04), stripes(n, 4, 28, seed=999)
    right = answers(model, x) == labels
    return model, x[right], labels[right]


def lengths(found: Tensor, x: Tensor) -> Tensor:
    return (found.double() - x.double()).flatten(1).norm(dim=1)


def robust(model: nn.Module, found: Tensor, labels: Tensor) -> int:
    return int((answers(model, found) == labels).sum())


# APGD


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_a_run_of_apgd_is_that_of_the_public_autoattack(loss: str) -> None:
    """From one start: the same verdicts, and the same highest loss of those that resist.

    The normalised dlr loss is left flat by some images, on which rounding decides.
    """
    package = peers.load("pyautoattack.autopgd_base")
    if package is None:
        pytest.skip("pyautoattack is not installed: make .bench/.ready, then PYTHONPATH=.bench")
    model, x, labels = data()
    eps, steps = 0.8, 20
    ball = L2Ball(x, torch.full((len(x), 1, 1, 1), eps, dtype=torch.float64))
    start = ball.project(x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    peer = package.APGDAttack(model, n_iter=steps, norm="L2", eps=eps, loss=loss, device="cpu")
    peer.init_hyperparam(x)
    best, right, _, _ = peer.attack_single_run(x.clone(), labels, x_init=start.clone())
    found, fooled = _run(model, ball, labels, None, loss, steps, start)
    assert 0 < fooled.sum() < len(x)
    assert (fooled == ~right.bool()).float().mean() >= 0.9
    if loss == "ce":
        both = right.bool() & ~fooled
        values = [
            nn.functional.cross_entropy(model(z)[both], labels[both], reduction="none").detach()
            for z in (found, best)
        ]
        torch.testing.assert_close(values[0], values[1], rtol=0.05, atol=0.02)


def test_apgd_in_l2_is_no_weaker_than_pgd_and_art() -> None:
    pytest.importorskip("art", reason="the peers extra is not installed")
    model, x, labels = data(32)
    eps = 0.8
    ours = apgd(model, x, labels, eps=eps, norm="l2", steps=40)
    assert lengths(ours, x).max() <= eps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = art_attack(
            model, x, labels, attack="AutoProjectedGradientDescent", eps=eps, norm=2, eps_step=0.2, max_iter=40,
            nb_random_init=1, loss_type=None, verbose=False,
        )  # fmt: skip
    simple = pgd(model, x, labels, eps=eps, norm="l2", step_size=0.2, steps=40)
    counts = [robust(model, found, labels) for found in (ours, theirs, simple)]
    assert 0 < counts[0] <= min(counts[1:])


def test_targets_and_large_eps_in_l2() -> None:
    model, x, labels = data()
    targeted = apgd(model, x, labels, eps=0.8, norm="l2", steps=20, loss="dlr", targets=3)
    assert lengths(targeted, x).max() <= 0.8
    assert robust(model, targeted, labels) <= robust(
        model, apgd(model, x, labels, eps=0.8, norm="l2", steps=20, loss="dlr"), labels
    )
    assert robust(model, apgd(model, x, labels, eps=9.0, norm="l2", steps=20), labels) == 0
    with pytest.raises(InputError, match="norm must be one of linf, l2; got 'l1'"):
        apgd(model, x, labels, eps=0.1, norm="l1")


# Carlini and Wagner


def test_the_nearest_image_of_a_plane() -> None:
    """A linear model: the nearest adversarial image lies |margin| / |normal| away, along the normal."""
    weight = torch.tensor([[3.0, -3.0], [4.0, -4.0]])
    model, x = Linear(weight), torch.tensor([[[[0.55, 0.52]]], [[[0.5, 0.6]]]])
    labels = torch.tensor([0, 0])
    margin = (x.flatten(1) @ torch.tensor([6.0, 8.0])).double()  # z_0 - z_1; it is 0 at the origin
    found = cw(model, x, labels, eps=5.0, steps=200, searches=7)
    assert (answers(model, found) == 0).all()  # z_0 = z_1 needs both pixels at 0, and argmax says 0
    shifted = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        shifted[1].weight.copy_(weight.T)
        shifted[1].bias.copy_(torch.tensor([-3.0, 3.0]))
    found = cw(shifted, x, labels, eps=5.0, steps=200, searches=7)
    nearest = (margin - 6) / 10
    assert (answers(shifted, found) == 1).all()
    torch.testing.assert_close(lengths(found, x), nearest, rtol=0.02, atol=1e-4)
    assert (lengths(found, x) >= nearest - 1e-6).all()


def test_the_lengths_are_those_of_foolbox() -> None:
    """The median of the nearest examples within 5 %, with as many steps."""
    pytest.importorskip("foolbox", reason="the peers extra is not installed")
    model, x, labels = data(8)
    theirs = foolbox_attack(
        model, x, labels, attack="L2CarliniWagnerAttack", eps=20.0, norm="l2", steps=100,
        binary_search_steps=6, initial_const=1.0, stepsize=0.01, abort_early=False,
    )  # fmt: skip
    ours = cw(model, x, labels, eps=20.0, steps=100, searches=6)
    assert robust(model, ours, labels) == robust(model, theirs, labels) == 0
    a, b = lengths(ours, x), lengths(theirs, x)
    assert float(a.median()) == pytest.approx(float(b.median()), rel=0.05)
    assert (a <= 1.1 * b).float().mean() >= 0.9


def test_only_what_lies_within_eps_counts() -> None:
    """Those whose nearest example is within eps fall; of the others the projection is returned, which may not fool."""
    model, x, labels = data(8)
    nearest = lengths(cw(model, x, labels, eps=20.0), x)
    eps = float(nearest.median())
    found = cw(model, x, labels, eps=eps)
    assert lengths(found, x).max() <= eps
    fallen = answers(model, found) != labels
    assert fallen[nearest < 0.999 * eps].all()
    assert not fallen[nearest > 1.2 * eps].any()
    assert torch.equal(found[nearest < eps], cw(model, x, labels, eps=20.0)[nearest < eps])


def test_an_image_that_is_wrong_stays_as_it_is() -> None:
    model, x, labels = data()
    wrong = (labels + 1) % 4
    assert torch.equal(cw(model, x, wrong, eps=1.0, steps=3, searches=1), x)


def test_targets_and_confidence() -> None:
    model, x, labels = data(8)
    aims = (labels + 1) % 4
    found = cw(model, x, aims, eps=20.0, targeted=True)
    assert (answers(model, found) == aims).all()
    sure = cw(model, x, labels, eps=20.0, confidence=2.0)
    with torch.no_grad():
        logits = model(sure)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    assert (others - logits.gather(1, labels[:, None])[:, 0]).min() >= 2.0 - 1e-4
    assert (lengths(sure, x) > lengths(cw(model, x, labels, eps=20.0), x)).float().mean() > 0.9


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_scale_of_the_logits_does_not_matter(scale: float) -> None:
    model, x, labels = data(8)

    class Scaled(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return scale * model(z)

    plain = lengths(cw(model, x, labels, eps=20.0), x)
    torch.testing.assert_close(lengths(cw(Scaled(), x, labels, eps=20.0), x), plain, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "linf"}, "norm must be one of l2; got 'linf'"),
        ({"searches": 0}, "searches must be a whole number of at least 1"),
        ({"confidence": -1}, "confidence must be a number of at least 0, got -1"),
        ({"constant": 0.0}, "constant must be a number of at least 1e-12"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"eps": float("inf")}, "eps must be finite"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    model, x = cnn(), images(2)
    with pytest.raises(InputError, match=message):
        cw(model, x, labels_of(model, x), **{"eps": 1.0, **changes})
