"""Each probe against a case worked out by hand, a planted model, or a peer."""

import math

import numpy as np
import pytest
import torch
from attack_models import Linear, assert_within, cnn, images
from torch import Tensor, nn

from meddef.data.phantom import draw_phantoms
from meddef.models import DefenseModule, build_model
from meddef.probes import calibration, components, confinement, pixels, shortcuts, visibility
from meddef.probes.attacking import Confined, confined
from meddef.saliency import border_mask
from meddef.settings import BandsProbe, ModelProbe, ShortcutsProbe, VisibilityProbe
from meddef.statistics import calibration_error, psnr

RULE = ModelProbe(eps=0.1, steps=5)
BLIND = pytest.mark.filterwarnings("ignore:the input gradient is exactly zero")


def lesions(size: int = 8) -> Tensor:
    """Two lesions, bool (2, size, size)."""
    mask = torch.zeros(2, size, size, dtype=torch.bool)
    mask[0, 2:4, 2:6] = mask[1, 5:, :3] = True
    return mask


class Watcher(nn.Module):
    """Class 1 where the mean over some pixels (H, W) is above a level."""

    def __init__(self, where: np.ndarray, level: float) -> None:
        super().__init__()
        self.where, self.level = torch.from_numpy(where), level

    def forward(self, x: Tensor) -> Tensor:
        mean = (x[:, 0] * self.where).sum((1, 2)) / self.where.sum() - self.level
        return torch.stack([-mean, mean], 1)


def test_where_nothing_is_moved_the_image_is_the_image() -> None:
    x = images(4, size=10)
    inner = Confined(cnn(), x, 0.1, factor=4)
    assert inner.start.shape == (4, 3, 3, 3)
    assert torch.equal(inner.at(inner.start), x)


@pytest.mark.parametrize("factor", [1, 3, 4, 16])
def test_a_scale_is_constant_over_its_squares_and_keeps_the_budget(factor: int) -> None:
    x = images(4, size=10).clamp(0.2, 0.8)
    moved = confined(cnn(), x, torch.zeros(4, dtype=torch.long), RULE, factor=factor)
    assert_within(moved, x, 0.1)
    change = moved - x
    assert change.abs().max() > 0.09
    for top in range(0, 10, factor):
        for left in range(0, 10, factor):
            square = change[..., top : top + factor, left : left + factor].flatten(2)
            assert (square - square[..., :1]).abs().max() < 1e-6


def test_nothing_is_moved_outside_the_mask() -> None:
    x, mask = images(2).clamp(0.2, 0.8), lesions()[:, None]
    moved = confined(cnn(), x, torch.zeros(2, dtype=torch.long), RULE, mask=mask)
    assert_within(moved, x, 0.1)
    assert torch.equal(moved[~mask.expand_as(x)], x[~mask.expand_as(x)])
    assert (moved != x)[mask.expand_as(x)].float().mean() > 0.9


@BLIND
def test_a_model_that_sees_a_checkerboard_falls_to_the_finest_scale_alone() -> None:
    """Its logits are ±0.5 of the sum over pixels of ±x: .64 apart on this image, of which ε = .1 takes 6.4 at the
    finest scale and nothing from squares of two pixels on."""
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    model = Linear(torch.stack([board.flatten(), -board.flatten()], 1) / 2)
    x = (0.5 + 0.01 * board).expand(3, 1, 8, 8).contiguous()
    rule = BandsProbe(eps=0.1, steps=5, factors=[1, 2, 4])
    found = confinement.bands(model, x, torch.zeros(3, dtype=torch.long), rule, {})
    assert {name: values.tolist() for name, values in found.items()} == {
        "clean": [1, 1, 1], "1": [0, 0, 0], "2": [1, 1, 1], "4": [1, 1, 1],
    }  # fmt: skip


@BLIND
@pytest.mark.parametrize("looks_inside", [True, False])
def test_a_model_falls_where_it_looks(looks_inside: bool) -> None:
    """Its mean of .5 is .45 at the least that lets it answer 1, and .1 less is in reach where it looks."""
    mask = lesions()[:1].repeat(3, 1, 1)
    model = Watcher((mask[0] if looks_inside else ~mask[0]).numpy(), 0.45)
    x, labels = torch.full((3, 3, 8, 8), 0.5), torch.ones(3, dtype=torch.long)
    found = confinement.regions(model, x, labels, RULE, {"mask": mask})
    assert {name: values.tolist() for name, values in found.items()} == {
        "clean": [1] * 3, "everywhere": [0] * 3, "lesion": [0.125] * 3,
        "inside": [0 if looks_inside else 1] * 3, "outside": [1 if looks_inside else 0] * 3,
    }  # fmt: skip


def test_relative_perturbations_by_hand() -> None:
    clean = torch.zeros(2, 2, 2, 2)
    clean[0, 0] = 2.0  # norm 4
    moved = clean.clone()
    moved[0, 1] = 0.5  # norm 1
    assert components.relative(moved, clean)[0] == 0.25
    assert components.relative(moved, clean)[1].isnan()


def test_high_frequencies_by_hand() -> None:
    """A constant of .3 and a checkerboard of .4: 9 of 25 parts are low; a quarter of a cycle is not above a quarter."""
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    slow = torch.tensor([1.0, 0.0, -1.0, 0.0]).expand(4, 4)
    maps = torch.stack([0.3 + 0.4 * board, slow, slow * slow.T, torch.zeros(4, 4)])[:, None]
    shares = components.high_share(maps)
    assert shares[:3].tolist() == pytest.approx([0.64, 0.0, 1.0], abs=1e-6)
    assert shares[3].isnan()


def test_a_component_that_does_nothing_passes_the_perturbation_on() -> None:
    torch.manual_seed(0)
    model = build_model("full", 2).eval()
    (defense,) = (module for module in model.modules() if isinstance(module, DefenseModule))
    cleaner = defense.get_submodule("components.afd.cleaner")
    for parameter in cleaner.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = components.measure(model, x, torch.zeros(3, dtype=torch.long), ModelProbe(eps=0.03, steps=2), {})
    assert torch.equal(found["afd"], found["in"])
    assert torch.equal(found["afd high"], found["in high"])
    assert not torch.equal(found["mfe"], found["in"])
    assert set(found) == {f"{n}{k}" for n in ("in", "afd", "mfe", "msf", "daam") for k in ("", " high")}
    assert all(bool((values > 0).all()) for values in found.values())
    assert not any(module._forward_hooks for module in model.modules())


def test_calibration_error_by_hand() -> None:
    assert calibration_error([0.9] * 10, [1] * 9 + [0]) == pytest.approx(0)
    assert calibration_error([0.9] * 10, [1] * 5 + [0] * 5) == pytest.approx(0.4)
    assert calibration_error([0.9, 0.6], [0, 1]) == pytest.approx(
        (0.9 + 0.4) / 2
    )  # bins do not make up for each other
    assert calibration_error([0.61, 0.66], [0, 1]) == pytest.approx(abs(1 - 1.27) / 2)  # of one bin they do
    assert calibration_error([0.6, 0.61], [0, 1]) == pytest.approx(
        (0.6 + 0.39) / 2
    )  # (8/15, 9/15] ends at .6
    assert calibration_error([1.0], [1]) == 0
    assert math.isnan(calibration_error([], []))


def test_confidence_and_brier_score_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [-1e4, 0.0]])
    found = calibration.scores(logits, torch.tensor([0, 1, 0]))
    assert found["confidence"].tolist() == pytest.approx([0.5, 0.75, 1.0])
    assert found["right"].tolist() == [1, 0, 0]
    assert found["brier"].tolist() == pytest.approx([0.5, 2 * 0.75**2, 2.0])


def test_an_attack_makes_a_model_less_right_and_its_brier_score_larger() -> None:
    x = images(6)
    model = cnn()
    labels = model.eval()(x).argmax(1)
    found = calibration.measure(model, x, labels, ModelProbe(eps=0.1, steps=10), {})
    assert found["right"].tolist() == [1] * 6
    assert bool((found["brier attacked"] > found["brier"]).all())


def test_structural_similarity_is_that_of_scikit_image() -> None:
    peer = pytest.importorskip("skimage.metrics").structural_similarity
    x = torch.rand(3, 2, 24, 30, generator=torch.Generator().manual_seed(0))
    y = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    wanted = [
        peer(a.numpy(), b.numpy(), channel_axis=0, **settings)
        for a, b in zip(x.double(), y.double(), strict=True)
    ]
    assert visibility.ssim(x, y).tolist() == pytest.approx(wanted, abs=1e-9)
    assert visibility.ssim(x, x).tolist() == [1.0] * 3


def test_a_mean_squared_error_of_a_hundredth_is_twenty_decibels() -> None:
    before = torch.full((1, 3, 16, 16), 0.5)
    after = before + 0.1
    after[..., :8] = 0.5
    found = visibility.seen(before, after)
    assert found["l0"].tolist() == [0.5]
    assert found["l2"].item() == pytest.approx(math.sqrt(3 * 128 * 0.01))
    assert psnr(0.1 * math.sqrt(3 * 256), 3 * 256) == pytest.approx(20.0)
    assert psnr(0.0, 3) == math.inf


def test_every_attack_is_seen_at_its_budget() -> None:
    x = images(2, size=16)
    rule = VisibilityProbe(eps=0.05, steps=5, attacks={"fgsm": {}, "pgd": {}, "jsma": {"max_steps": 3}})
    found = visibility.measure(cnn(), x, torch.zeros(2, dtype=torch.long), rule, {})
    assert {name.split()[0] for name in found} == {"fgsm", "pgd", "jsma"}
    assert float(found["fgsm l2"].max()) <= 0.05 * math.sqrt(3 * 256) + 1e-6
    assert bool((found["jsma l0"] <= 6 / 256).all())


def test_a_model_that_reads_the_letter_is_found_out_and_one_that_reads_the_lesion_is_not() -> None:
    drawn, bare, healthy, moved = (
        draw_phantoms("xray", 30, size=64, **given)
        for given in ({}, {"letter": "removed"}, {"healthy": True}, {"letter": "moved"})
    )
    lettered = (drawn.images != bare.images).any((1, 2))
    assert 5 < lettered.sum() < 25  # half the patients
    assert np.array_equal((drawn.images != moved.images).any((1, 2)), lettered)
    assert np.array_equal((drawn.images != healthy.images).any((1, 2)), drawn.masks.any((1, 2)))
    assert not healthy.masks.any()
    first = int(np.flatnonzero(lettered & drawn.masks.any((1, 2)))[0])
    spot = drawn.images[first].astype(int) - bare.images[first] > 100
    changed = {"letter removed": bare, "letter moved": moved, "lesion removed": healthy}
    known = {name: torch.from_numpy(each.images[[first]]) for name, each in changed.items()}
    x = torch.from_numpy(drawn.images[[first]])[:, None].div(255).repeat(1, 3, 1, 1)
    labels = torch.ones(1, dtype=torch.long)
    reads_letter = shortcuts.measure(Watcher(spot, 0.8), x, labels, ShortcutsProbe(), known)
    assert {name: value.item() for name, value in reads_letter.items()} == {
        "letter removed": 1, "letter moved": 1, "lesion removed": 0, "border": reads_letter["border"].item(),
    }  # fmt: skip
    mask = drawn.masks[first]
    level = (drawn.images[first][mask].mean() + healthy.images[first][mask].mean()) / 2 / 255
    reads_lesion = shortcuts.measure(Watcher(mask, float(level)), x, labels, ShortcutsProbe(), known)
    assert {name: value.item() for name, value in reads_lesion.items()} == {
        "letter removed": 0, "letter moved": 0, "lesion removed": 1, "border": 0,
    }  # fmt: skip


def test_what_was_not_there_has_no_answer() -> None:
    x = torch.full((1, 3, 32, 32), 128 / 255)
    same = {"letter removed": torch.full((1, 32, 32), 128, dtype=torch.uint8)}
    found = shortcuts.measure(cnn(), x, torch.zeros(1, dtype=torch.long), ShortcutsProbe(), same)
    assert found["letter removed"].isnan().all()


def test_the_border_is_blanked_with_its_mean() -> None:
    x = torch.zeros(1, 1, 20, 20)
    x[..., 0, :] = 1.0  # 20 of the 400 - 256 pixels of the border
    blank = shortcuts.without_border(x)
    border = torch.from_numpy(border_mask(20))
    assert blank[0, 0][border].tolist() == pytest.approx([20 / 144] * 144)
    assert bool((blank[0, 0][~border] == 0).all())


def test_noise_is_found_and_a_ramp_is_none() -> None:
    ramp = np.add.outer(np.arange(128.0), np.arange(128.0)) / 2
    noisy = ramp + np.random.default_rng(0).normal(0, 5, ramp.shape)
    assert pixels.noise(ramp) == pytest.approx(0, abs=1e-9)
    assert pixels.noise(noisy) == pytest.approx(5, rel=0.05)


def test_a_lesion_stands_out_by_its_contrast_over_the_noise() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((2, 128, 128), dtype=bool)
    mask[0, 50:80, 50:80] = True
    image = 100 + 40 * mask + rng.normal(0, 8, mask.shape)
    found = pixels.measure(np.rint(image).astype(np.uint8), np.rint(image).astype(np.uint8), mask)
    assert found["lesion before"][0] == pytest.approx(5, rel=0.1)
    assert np.isnan(found["lesion after"][1])
    assert found["brightness after"][1] == pytest.approx(100, abs=0.5)
    assert found["contrast after"][1] == pytest.approx(8, rel=0.05)
