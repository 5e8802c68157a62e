"""MI-FGSM against ART's and torchattacks', and what momentum is by hand."""

import warnings

import pytest
import torch
from attack_models import EPS, Linear, cnn, images, labels_of, stripes, trained
from torch import Tensor, nn

from meddef.attacks import bim, mifgsm
from meddef.attacks.peers import art_attack
from meddef.errors import InputError
from tests.bench import peers


def data() -> tuple[nn.Module, Tensor, Tensor]:
    model, (x, labels) = trained(4), stripes(8, 4, 28, seed=999)
    return model, x, labels


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_the_images_are_those_of_art(decay: float) -> None:
    """ART divides by the L1 norm, here by the mean: the sign is the same; a last bit may flip a tiny gradient's."""
    pytest.importorskip("art", reason="the peers extra is not installed")
    model, x, labels = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = art_attack(
            model, x, labels, attack="MomentumIterativeMethod", eps=EPS, eps_step=EPS / 8, max_iter=8,
            decay=decay, verbose=False,
        )  # fmt: skip
    ours = mifgsm(model, x, labels, eps=EPS, steps=8, decay=decay)
    assert (ours - theirs).abs().gt(1e-6).float().mean() < 0.01
    with torch.no_grad():
        assert torch.equal(model(ours).argmax(1), model(theirs).argmax(1))


@pytest.mark.parametrize("targeted", [False, True])
def test_the_images_are_those_of_torchattacks(targeted: bool) -> None:
    model, x, labels = data()
    aims = (labels + 1) % 4 if targeted else labels
    settings = {"eps": EPS, "alpha": EPS / 8, "steps": 8, "decay": 0.9}
    calls = peers.torchattacks("MIFGSM", model, x, aims, targets=targeted, **settings)
    if not calls:
        pytest.skip("torchattacks is not installed: make .bench/.ready, then PYTHONPATH=.bench")
    ours = mifgsm(model, x, aims, eps=EPS, steps=8, decay=0.9, targeted=targeted)
    assert (ours - calls["torchattacks"]()).abs().gt(1e-6).float().mean() < 0.01


def test_without_decay_it_is_bim() -> None:
    model, x, labels = data()
    found = mifgsm(model, x, labels, eps=EPS, steps=5, decay=0.0)
    torch.testing.assert_close(
        found, bim(model, x, labels, eps=EPS, step_size=EPS / 5, steps=5), rtol=0, atol=1e-6
    )


def test_the_average_remembers() -> None:
    """A gradient that turns after the first step: BIM follows it back, momentum of the same size does not move."""

    class Turning(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rise = torch.where(x > 0.55, 0.6 * (1.1 - x), 0.9 * (x - 0.2)).sum((1, 2, 3))
            return torch.stack([-rise, rise], 1)

    x, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    ends = {decay: mifgsm(Turning(), x, labels, eps=0.2, steps=2, decay=decay).mean() for decay in (0.0, 2.0)}
    assert ends[0.0] == pytest.approx(0.5)  # up a step, back a step
    assert ends[2.0] == pytest.approx(0.7)  # g = 2 * 1 - 1 still points up


def test_l2_goes_the_whole_way_along_the_average() -> None:
    weight = torch.tensor([[3.0, -3.0], [4.0, -4.0]])
    x = torch.full((1, 1, 1, 2), 0.5)
    found = mifgsm(Linear(weight), x, torch.tensor([0]), eps=0.2, steps=4, norm="l2")
    torch.testing.assert_close(found - x, torch.tensor([[[[-0.12, -0.16]]]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": -0.5}, "decay must be a number of at least 0, got -0.5"),
        ({"decay": float("inf")}, "decay must be a number of at least 0, got inf"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"norm": "l1"}, "norm must be one of linf, l2"),
        ({"loss": "mse"}, "loss must be one of"),
    ],
)
def test_what_is_wrong_is_said(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mifgsm(cnn(), images(2), torch.tensor([0, 1]), **{"eps": EPS, **changes})


def test_progress_is_told() -> None:
    model, x, seen = cnn(), images(2), []
    mifgsm(model, x, labels_of(model, x), eps=EPS, steps=3, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
