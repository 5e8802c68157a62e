"""Gradients and logits near the limits of a float: the result of float64, and a warning only where there is no
gradient."""

import warnings
from typing import Any

import pytest
import torch
from attack_models import IN_EPS_BALL, answers, attack, images, stripes, trained
from torch import Tensor, nn

from meddef.attacks import ZeroGradientWarning, bim, fab, fgsm, jsma, pgd
from meddef.attacks.half_precision import rounded
from meddef.attacks.losses import cross_entropy
from meddef.errors import InputError

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
HALF = DTYPES[2:]
EACH = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])


class Gap(nn.Module):
    """Two classes and one image, grey: class 1 is ``gap`` logits ahead, and one unit of L2 makes up for 100."""

    def __init__(self, gap: float, dtype: torch.dtype) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(64, 1, generator=generator, dtype=torch.float64).sign() / 8
        self.weight = nn.Parameter((50 * direction * torch.tensor([[1.0, -1.0]])).to(dtype))
        self.bias = nn.Parameter(torch.tensor([0.0, gap]).to(dtype))
        self.x = torch.full((1, 1, 8, 8), 0.5, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight + self.bias


@EACH
@pytest.mark.parametrize("gap", [5, 20, 40, 70])
def test_pgd_in_l2_takes_whole_steps(gap: int, dtype: torch.dtype) -> None:
    """The gradient's norm is about exp(-gap); 0.8 of L2 lies 80 logits towards the other class."""
    model = Gap(gap, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pgd(
            model, model.x, torch.tensor([1]), eps=0.8, step_size=0.1, steps=10, norm="l2", random_start=False
        )
    moved = float((found - model.x).double().norm())
    assert 0.79 < moved <= 0.8
    assert int(model(found).argmax(1)) == 0


@EACH
@pytest.mark.parametrize("gap", [5, 40, 60, 200])
def test_jsma_by_probabilities_takes_the_same_features(gap: int, dtype: torch.dtype) -> None:
    model, settings = Gap(gap, dtype), {"theta": 0.5, "gamma": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = jsma(model, model.x, torch.tensor([1]), saliency="softmax", **settings)
    by_logits = jsma(Gap(gap, torch.float64), model.x.double(), torch.tensor([1]), **settings)
    assert torch.equal(found.double(), by_logits)
    assert int((found != model.x).sum()) >= 2


class Ahead(nn.Module):
    """Three classes whose gradients have nothing to do with each other; on grey, class 2 is ``gap`` ahead of both."""

    def __init__(self, gap: float, dtype: torch.dtype) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(64, 3, generator=generator, dtype=torch.float64).to(dtype))
        self.bias = nn.Parameter(torch.tensor([0.0, 0.5, gap]).to(dtype))
        self.x = torch.full((1, 1, 8, 8), 0.5, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight + self.bias

    def direction(self) -> Tensor:
        """The sign of cross-entropy's gradient on grey, (64,): the likely others' minus one's own, times 1 - p."""
        weight, logits = self.weight.detach().double(), self.bias.detach().double()
        return (weight[:, :2] @ logits[:2].softmax(0) - weight[:, 2]).sign()


FAR = [10, 15, 17, 18, 20, 40, 100, 110, 800, 1e4]


@EACH
@pytest.mark.parametrize("gap", FAR)
def test_cross_entropy_keeps_its_direction(gap: float, dtype: torch.dtype) -> None:
    """Where 1 - p rounds to 0, only the gradient of the other classes used to remain, or none."""
    model, label = Ahead(gap, dtype), torch.tensor([2])
    steps = {"eps": 0.125, "step_size": 0.125, "steps": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [
            fgsm(model, model.x, label, eps=0.125),
            bim(model, model.x, label, **steps),
            pgd(model, model.x, label, random_start=False, norm="l2", **steps),
        ]
    moved = [(one - model.x).flatten().double().sign() for one in found]
    agree = [float((one == model.direction())[one != 0].double().mean()) for one in moved]
    assert min(agree) >= (0.98 if gap == 15 or dtype in HALF else 1.0), (
        agree
    )  # half a unit of 1 - p; of a weight


def test_a_surer_answer_has_the_smaller_cross_entropy() -> None:
    """Across the gap where it rounds to 0, for whoever keeps the best of several points."""
    gaps = torch.linspace(0, 60, 500)
    logits = torch.stack([torch.zeros_like(gaps), gaps], 1)
    values = cross_entropy(logits, torch.ones(500).long())
    assert (values.diff() <= 0).all()
    assert (values.diff()[gaps[:-1] > 17] < 0).all()
    exact = nn.functional.cross_entropy(logits.double(), torch.ones(500).long(), reduction="none")
    torch.testing.assert_close(values.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [20, 100, 1e4])
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "apgd"])
def test_logits_of_large_scale_do_not_hide_a_model(name: str, scale: float) -> None:
    """The louder the logits, the nearer is cross-entropy to the margin, and so is what attacks break with it."""

    class Loud(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scale * trained(4)(x)

    x, labels = stripes(32, 4, 28, seed=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ZeroGradientWarning)
        broken = [
            int((answers(net, attack(name, net, x, labels, eps=0.05, loss=loss)) != labels).sum())
            for net, loss in ((trained(4), "margin"), (Loud(), "ce"))
        ]
    assert broken[0] > 24
    assert abs(broken[1] - broken[0]) <= 2, broken


class Scaled(nn.Module):
    """A linear model whose logits, and with them the gradients, are ``scale`` times as large."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.scale = nn.Linear(64, 4), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)) * self.scale


SCALED: dict[str, tuple[Any, dict[str, Any]]] = {
    "pgd in l2": (pgd, {"eps": 0.5, "step_size": 0.15, "steps": 8, "norm": "l2", "loss": "margin"}),
    "fab": (fab, {"eps": 0.05, "steps": 10}),
    "jsma": (jsma, {"theta": 0.3, "gamma": 0.2}),
    "jsma by pixels": (jsma, {"theta": -0.3, "gamma": 0.2, "unit": "pixel", "features": 1}),
}


@pytest.mark.parametrize("power", [-130, -100, -60, 60, 100, 115])
@pytest.mark.parametrize("name", SCALED)
def test_a_model_s_scale_does_not_matter(name: str, power: int) -> None:
    """Powers of 2 change no digit of float32 before its ends: what is found is what is found at scale 1."""
    run, settings = SCALED[name]
    x = images(8, channels=1)
    labels = Scaled(1.0)(x).argmax(1)
    expected = run(Scaled(1.0), x, labels, **settings)
    found = run(Scaled(2.0**power), x, labels, **settings)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if power > -120 else 1e-3)
    assert not torch.equal(found, x)


def test_the_norm_of_a_gradient_of_float64_does_not_underflow() -> None:
    """1e-200 squared is 0 in float64."""
    x, settings = images(8, channels=1).double(), SCALED["pgd in l2"][1]
    labels = Scaled(1.0).double()(x).argmax(1)
    found, expected = (pgd(Scaled(scale).double(), x, labels, **settings) for scale in (1e-200, 1.0))
    torch.testing.assert_close(found, expected)


def test_a_gradient_that_is_zero_stays_zero_and_is_told() -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = x.flatten(1)[:, :2] * 1e-30
            return torch.where(torch.arange(len(x))[:, None] == 0, logits * 0, logits)

    x = images(2)
    with pytest.warns(ZeroGradientWarning, match="exactly zero for 1 of 2 images"):
        found = pgd(
            Half(), x, torch.tensor([0, 0]), eps=0.5, step_size=0.2, steps=3, norm="l2", random_start=False
        )
    assert torch.equal(found[0], x[0])
    assert float((found[1] - x[1]).norm()) > 0.2


HALVES = pytest.mark.parametrize("dtype", HALF, ids=lambda dtype: str(dtype)[6:])


@HALVES
@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_nan_where_half_precision_has_no_such_number(norm: str, loss: str, dtype: torch.dtype) -> None:
    """Equal logits (dlr divides by 1e-12), a gradient of zero, a radius of zero, a norm above 65504."""

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = x.flatten(1)[:, :4]
            factor = torch.tensor([0, 1, 1, 6e4]).to(x)[:, None]
            return torch.where(torch.arange(4)[:, None] == 1, logits.mean(1, keepdim=True), logits * factor)

    x = images(4).to(dtype)
    eps = torch.tensor([0.1, 0.1, 0, 0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZeroGradientWarning)
        found = pgd(Odd(), x, torch.zeros(4).long(), eps=eps, step_size=0.1, steps=3, norm=norm, loss=loss)
    assert torch.isfinite(found).all()
    assert torch.equal(found[2], x[2])


@HALVES
def test_steps_below_the_spacing_of_half_precision_add_up(dtype: torch.dtype) -> None:
    """From 0.75 a step of 1/2048 leads nowhere in bfloat16, whose next number is 1/256 away, nor do forty."""
    model = Scaled(1.0).to(dtype)
    x = torch.full((1, 1, 8, 8), 0.75, dtype=dtype)
    labels = model(x).argmax(1)
    found = pgd(model, x, labels, eps=1 / 64, step_size=1 / 2048, steps=40, random_start=False)
    assert ((found.double() - 0.75).abs() == 1 / 64).all()


@HALVES
@pytest.mark.parametrize("name", IN_EPS_BALL)
@pytest.mark.parametrize("eps", [0.05, 1 / 255, 0.001, torch.linspace(0, 0.3, 6)])
def test_half_precision_stays_in_the_ball(eps: Any, name: str, dtype: torch.dtype) -> None:
    x = images(6).to(dtype)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).to(dtype)
    settings = {"step_size": 0.3} if name in ("bim", "pgd") else {}
    found = attack(name, model, x, torch.arange(6) % 3, eps=eps, **settings)
    change = (found.double() - x.double()).abs().flatten(1).amax(1)
    assert (change <= torch.as_tensor(eps).double()).all()
    assert 0 <= found.min() <= found.max() <= 1


@HALVES
def test_a_grid_in_half_precision_is_its_parts(dtype: torch.dtype) -> None:
    x, labels = images(6).to(dtype), torch.arange(6) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).to(dtype)
    grid = fgsm(model, x, labels, eps=[0.0, 0.01, 0.2])
    assert grid.dtype == dtype
    for part, eps in zip(grid, [0.0, 0.01, 0.2], strict=True):
        assert torch.equal(part, fgsm(model, x, labels, eps=eps))


@HALVES
@pytest.mark.parametrize("euclidean", [False, True])
def test_rounding_ends_inside_and_next_to_what_was_found(euclidean: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 1, 4, 4, generator=generator).to(dtype)
    eps = torch.rand(50, 1, 1, 1, generator=generator, dtype=torch.float64) * 0.1
    move = torch.randn(50, 1, 4, 4, generator=generator, dtype=torch.float64)
    size = move.flatten(1).norm(dim=1).view_as(eps) if euclidean else move.abs().amax((1, 2, 3), keepdim=True)
    found = (x.double() + 0.999 * eps * move / size).float()
    near = rounded(found, x, eps, euclidean=euclidean)
    change = near.double() - x.double()
    reached = change.flatten(1).norm(dim=1) if euclidean else change.abs().flatten(1).amax(1)
    assert (reached <= eps.flatten()).all()
    spacing = 2 * torch.finfo(dtype).eps * found.abs().clamp(min=2.0**-10)
    assert ((near.float() - found).abs() <= spacing).all()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_formats_that_no_attack_computes_in_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(
        InputError, match=r"images must be float32, float64, float16 or bfloat16, got torch.float8"
    ):
        attack("pgd", Scaled(1.0), images(2).to(dtype), torch.tensor([0, 1]))
