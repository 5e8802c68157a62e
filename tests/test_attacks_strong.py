"""APGD, FAB, Square and the ensemble: against arithmetic by hand, against PGD, and where gradients see nothing."""

import math
import warnings
from typing import Any

import pytest
import torch
from attack_models import EPS, Linear, answers, cnn, images, labels_of, stripes, trained
from torch import Tensor, nn

from meddef.attacks import ZeroGradientWarning, apgd, ensemble, fab, noise, pgd, square
from meddef.attacks.apgd import targeted_loss
from meddef.attacks.ensemble import members
from meddef.attacks.fab import _nearest
from meddef.attacks.randomness import FromGenerator
from meddef.attacks.square import _side, _windows
from meddef.errors import InputError


def robust(model: nn.Module, adv: Tensor, labels: Tensor) -> int:
    return int((answers(model, adv) == labels).sum())


@pytest.fixture(scope="module")
def defended() -> tuple[nn.Module, Tensor, Tensor]:
    """An adversarially trained model and images near its limit."""
    return trained(4, eps=0.04), *stripes(48, 4, 28, seed=999)


DEFENDED_EPS = 0.045


class Masked(nn.Module):
    """Rounds its input to 16 levels, with a straight-through gradient of the wrong sign: gradients mislead."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * 64).round().detach() / 64 - (x - x.detach()))


# By hand


def test_the_nearest_point_of_a_hyperplane_in_a_box() -> None:
    """Full room: t = need / sum |w|. With feature 0 at its bound, the others carry its part. No room: all bounds."""
    normal = torch.tensor([[2.0, -1.0, 0.0, 1.0]])
    middle = torch.full((1, 4), 0.5)
    move = _nearest(middle, normal, torch.tensor([0.8]))
    torch.testing.assert_close(move, torch.tensor([[0.2, -0.2, 0.0, 0.2]]))
    move = _nearest(middle, normal, torch.tensor([-0.8]))
    torch.testing.assert_close(move, torch.tensor([[-0.2, 0.2, 0.0, -0.2]]))
    edge = torch.tensor([[0.95, 0.5, 0.5, 0.5]])
    move = _nearest(edge, normal, torch.tensor([0.8]))
    torch.testing.assert_close(move, torch.tensor([[0.05, -0.35, 0.0, 0.35]]))
    move = _nearest(middle, normal, torch.tensor([9.0]))
    torch.testing.assert_close(move, torch.tensor([[0.5, -0.5, 0.0, 0.5]]))


def test_fab_finds_the_distance_of_a_linear_boundary() -> None:
    """Logits differ by 0.4; the boundary is 0.4 / sum |w| = 0.1 away. FAB overshoots by 5 %, so 0.105."""
    model = Linear(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    x, labels = torch.tensor([[0.7, 0.5, 0.7, 0.5]]), torch.tensor([0])
    assert robust(model, fab(model, x, labels, eps=0.09, steps=5), labels) == 1
    adv = fab(model, x, labels, eps=0.2, steps=1)
    torch.testing.assert_close((adv - x).abs(), torch.full_like(x, 0.105), rtol=0, atol=1e-5)
    assert robust(model, adv, labels) == 0
    near = fab(model, x, labels, eps=0.1, steps=20)
    assert (near - x).abs().max() <= 0.1


def test_the_targeted_losses_by_hand() -> None:
    logits, labels, target = torch.tensor([[3.0, 1.0, 0.0, -2.0]]), torch.tensor([0]), torch.tensor([2])
    assert targeted_loss(logits, labels, target, "margin").item() == -3.0
    assert targeted_loss(logits, labels, target, "dlr").item() == pytest.approx(-3.0 / (3 - (0 - 2) / 2))
    expected = math.log(math.exp(0) / (math.exp(3) + math.exp(1) + 1 + math.exp(-2)))
    assert targeted_loss(logits, labels, target, "ce").item() == pytest.approx(expected, rel=1e-5)


def test_squares_shrink_as_published_and_lie_inside() -> None:
    """Share 0.8 halved at 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10000 queries; 32 x 32 pixels."""
    sides = [_side(done / 10000, 0.8, 32, 32) for done in (1, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    assert sides == [round(math.sqrt(0.8 / 2**k * 1024)) for k in range(10)]
    windows = _windows(3, 7, 5, FromGenerator(torch.zeros(500, 1), torch.Generator().manual_seed(0)))
    assert (windows.flatten(1).sum(1) == 9).all()
    assert windows.any(0).all()  # every pixel is reached


def test_noise_is_fgsm_sized_and_balanced() -> None:
    x = 0.5 + (torch.arange(4) / 65535).view(-1, 1, 1, 1).expand(
        -1, 3, 16, 16
    )  # equal images have equal noise
    adv = noise(cnn(), x, torch.zeros(4, dtype=torch.int64), eps=EPS)
    torch.testing.assert_close((adv - x).abs(), torch.full_like(x, EPS), rtol=0, atol=1e-7)
    assert abs((adv > x).double().mean().item() - 0.5) < 0.05
    other = noise(
        cnn(), x, torch.zeros(4, dtype=torch.int64), eps=EPS, generator=torch.Generator().manual_seed(5)
    )
    assert not torch.equal(adv, other)


# Strength


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_ensemble_is_at_least_as_strong_as_pgd_100_with_5_restarts(defended: Any, seed: int) -> None:
    model, x, labels = defended
    settings: dict[str, Any] = {"eps": DEFENDED_EPS, "generator": torch.Generator().manual_seed(seed)}
    strong = pgd(model, x, labels, step_size=0.005, steps=100, restarts=5, stop="first", **settings)
    settings["generator"] = torch.Generator().manual_seed(seed)
    worst = ensemble(model, x, labels, steps=50, queries=100, **settings)
    clean = robust(model, x, labels)
    assert robust(model, worst, labels) <= robust(model, strong, labels) < clean
    assert robust(model, worst, labels) > 0  # some images resist, so the comparison says something


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"fast": True, "precision": "bf16"}])
def test_the_cheap_modes_of_the_ensemble_are_judged_by_the_model_as_given(
    defended: Any, options: dict[str, Any]
) -> None:
    model, x, labels = defended
    settings: dict[str, Any] = {"eps": DEFENDED_EPS, "steps": 10, "queries": 20}
    reference, cheap = (
        ensemble(model, x, labels, **settings),
        ensemble(model, x, labels, **settings, **options),
    )
    assert abs(robust(model, cheap, labels) - robust(model, reference, labels)) <= 2  # of 48 images
    assert (cheap - x).abs().max() <= DEFENDED_EPS


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        (apgd, {"steps": 40}),
        (apgd, {"steps": 40, "loss": "margin"}),
        (apgd, {"steps": 40, "loss": "dlr"}),
        (apgd, {"steps": 20, "loss": "dlr", "targets": 3}),
        (fab, {"steps": 15}),
    ],
)
def test_each_gradient_member_is_near_long_pgd(defended: Any, attack: Any, settings: dict[str, Any]) -> None:
    model, x, labels = defended
    long = robust(
        model, pgd(model, x, labels, eps=DEFENDED_EPS, step_size=0.005, steps=60, stop="first"), labels
    )
    found = robust(model, attack(model, x, labels, eps=DEFENDED_EPS, **settings), labels)
    assert found <= long + 4
    assert found < robust(model, x, labels) - 10


def test_square_finds_what_gradients_miss() -> None:
    model = Masked(trained(4))
    x, labels = stripes(24, 4, 28, seed=999)
    blind = robust(model, pgd(model, x, labels, eps=0.06, step_size=0.01, steps=20), labels)
    seeing = robust(model, square(model, x, labels, eps=0.06, queries=300), labels)
    assert robust(model, x, labels) == 24
    assert blind > 16
    assert seeing < blind - 8
    assert robust(model, ensemble(model, x, labels, eps=0.06, steps=5, queries=300), labels) <= seeing + 2


def test_square_needs_no_gradient_at_all() -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return trained(4)(x.detach())

    x, labels = stripes(8, 4, 28, seed=999)
    adv = square(Detached(), x, labels, eps=0.08, queries=200)
    assert robust(trained(4), adv, labels) < 8


def test_targeted_square_reaches_its_targets() -> None:
    x, labels = stripes(8, 4, 28, seed=999)
    targets = (labels + 1) % 4
    adv = square(trained(4), x, targets, eps=0.15, queries=300, targeted=True)
    assert (answers(trained(4), adv) == targets).sum() >= 4


# The ensemble


@pytest.mark.parametrize("classes", [2, 3, 4, 8])
def test_members_fit_the_number_of_classes(classes: int) -> None:
    names = list(members(classes))
    assert names[0] == "pgd"
    assert names[-2:] == ["fab", "square"]
    gradient = {
        2: ["apgd_margin"],
        3: ["apgd_ce", "apgd_margin_targeted"],
        4: ["apgd_ce", "apgd_dlr_targeted"],
        8: ["apgd_ce", "apgd_dlr_targeted"],
    }
    assert names[1:-2] == gradient[classes]


class CountsImages(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.inner(x)


@pytest.mark.parametrize("classes", [2, 3, 4, 8])
@pytest.mark.parametrize("eps", [1e-6, 0.03, 0.3])
def test_all_none_or_some_images_resist(classes: int, eps: float) -> None:
    model, x = cnn(3, classes), images(6)
    labels = labels_of(model, x)
    labels[0] = (labels[0] + 1) % classes  # wrong from the start: handed back as it is
    adv = ensemble(model, x, labels, eps=eps, steps=4, queries=6)
    assert torch.equal(adv[0], x[0])
    assert (adv.double() - x.double()).abs().max().item() <= eps
    if eps == 1e-6:
        assert robust(model, adv, labels) == 5


def test_apgd_s_members_start_at_one_point_and_its_targets_at_several() -> None:
    """As ``members`` says."""
    model, x = cnn().eval(), images()
    labels = labels_of(model, x)
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    starts = {}
    for name, attack in members(4, steps=1).items():
        if name.startswith("apgd"):
            seen.clear()
            attack(model, x, labels, eps=1e-4)  # too small for any image to leave
            starts[name] = seen[-6::2]  # of each run: where it starts, and after its one step
    (plain,), targeted = starts["apgd_ce"], starts["apgd_dlr_targeted"]
    assert torch.equal(plain, targeted[0])
    assert len(targeted) == 3
    assert not torch.equal(targeted[0], targeted[1])


def test_only_survivors_are_passed_on() -> None:
    """On an undefended model the ten cheap steps succeed on every image, and nothing else is run."""
    x, labels = stripes(16, 4, 28, seed=999)
    model, done = CountsImages(trained(4)), []
    adv = ensemble(model, x, labels, eps=0.1, progress=lambda *s: done.append(s))
    assert robust(model, adv, labels) == 0
    assert done == [(1, 5)]
    assert model.seen < 16 * 25


def test_the_result_is_the_worst_case_of_each_image(defended: Any) -> None:
    model, x, labels = defended
    x, labels = x[:32], labels[:32]
    worst = ensemble(model, x, labels, eps=DEFENDED_EPS, steps=20, queries=40)
    for name, attack in members(4, steps=20, queries=40).items():
        alone = attack(
            model,
            x,
            labels,
            eps=torch.full((32,), DEFENDED_EPS),
            generator=torch.Generator().manual_seed(0),
        )
        assert robust(model, worst, labels) <= robust(model, alone, labels), name


def test_fast_is_judged_by_the_model_as_given(defended: Any) -> None:
    model, x, labels = defended
    settings: dict[str, Any] = {"eps": DEFENDED_EPS, "steps": 20, "queries": 20}
    exact, near = (ensemble(model, x, labels, fast=fast, **settings) for fast in (False, True))
    assert abs(robust(model, exact, labels) - robust(model, near, labels)) <= 2


# Refusals


def test_losses_that_need_more_classes_say_so() -> None:
    x, labels = images(2), torch.tensor([0, 1])
    with pytest.raises(InputError, match="targeted dlr loss needs at least 4 classes"):
        apgd(cnn(3, 3), x, labels, eps=EPS, loss="dlr", targets=2)
    with pytest.raises(InputError, match="dlr loss needs at least 3 classes"):
        apgd(cnn(3, 2), x, labels, eps=EPS, loss="dlr")


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (square, {"queries": 0}, "queries must be a whole number of at least 1, got 0"),
        (square, {"share": 0.0}, r"share must be in \(0, 1\], got 0.0"),
        (apgd, {"steps": 0}, "steps must be a whole number of at least 1"),
        (apgd, {"targets": -1}, "targets must be a whole number of at least 0"),
        (apgd, {"loss": "mse"}, "loss must be one of ce, margin, dlr"),
        (fab, {"targets": 0}, "targets must be a whole number of at least 1"),
        (fab, {"restarts": 0}, "restarts must be a whole number of at least 1"),
    ],
)
def test_wrong_settings_are_refused(attack: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attack(cnn(), images(2), torch.tensor([0, 1]), eps=EPS, **settings)


def test_the_square_attack_needs_images() -> None:
    with pytest.raises(InputError, match=r"needs images \(N, C, H, W\), got shape \(2, 4\)"):
        square(Linear(torch.ones(4, 2)), torch.rand(2, 4), torch.tensor([0, 1]), eps=EPS)


def test_masked_gradients_are_announced() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.sum((1, 2, 3)) * 0 + 1, x.sum((1, 2, 3)) * 0], 1)

    for attack in (apgd, fab):
        with pytest.warns(ZeroGradientWarning, match="exactly zero for 2 of 2 images"):
            attack(Flat(), images(2), torch.tensor([0, 0]), eps=EPS, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        square(Flat(), images(2), torch.tensor([0, 0]), eps=EPS, queries=2)
