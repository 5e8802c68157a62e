"""Corruptions against the published recipe, written again with scikit-image and Pillow, and its statistics."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from attack_models import cnn, images
from PIL import Image
from torch import Tensor

from meddef.attacks import corruption
from meddef.attacks.corruption import KINDS
from meddef.errors import InputError

SEVERITIES = range(1, 6)
NOISES = [kind for kind in KINDS if kind.endswith("noise")]


def corrupted(x: Tensor, kind: str, severity: int, **more: Any) -> Tensor:
    return corruption(cnn(), x, torch.zeros(len(x), dtype=torch.int64), kind=kind, severity=severity, **more)


def smooth(n: int = 2, size: int = 40, channels: int = 3) -> Tensor:
    coarse = torch.rand(n, channels, 5, 5, generator=torch.Generator().manual_seed(2))
    x = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (255 * x).round() / 255


def picture(x: Tensor) -> np.ndarray:
    """(H, W, C), as the authors' code has it."""
    return x.permute(1, 2, 0).double().numpy()


def jpeg(x: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(np.uint8(np.round(255 * x))).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file)) / 255.0


def pixelate(x: np.ndarray, share: float) -> np.ndarray:
    side = len(x)
    whole = Image.fromarray(np.uint8(np.round(255 * x)))
    small = whole.resize((int(side * share), int(side * share)), Image.Resampling.BOX)
    return np.array(small.resize((side, side), Image.Resampling.BOX)) / 255.0


@pytest.mark.parametrize("severity", SEVERITIES)
def test_what_has_no_chance_in_it_is_the_authors(severity: int) -> None:
    """Pillow's resize of 8-bit pictures rounds, so that pixels may differ by a grey level."""
    filters = pytest.importorskip("skimage.filters")
    from skimage.color import hsv2rgb, rgb2hsv

    x = smooth()
    for one in range(2):
        clean = picture(x[one])
        hsv = rgb2hsv(clean)
        hsv[..., 2] = np.clip(hsv[..., 2] + [0.1, 0.2, 0.3, 0.4, 0.5][severity - 1], 0, 1)
        mean = clean.mean((0, 1), keepdims=True)
        expected = {
            "gaussian_blur": filters.gaussian(clean, sigma=[1, 2, 3, 4, 6][severity - 1], channel_axis=-1),
            "brightness": hsv2rgb(hsv),
            "contrast": (clean - mean) * [0.4, 0.3, 0.2, 0.1, 0.05][severity - 1] + mean,
            "jpeg": jpeg(clean, [25, 18, 15, 10, 7][severity - 1]),
            "pixelate": pixelate(clean, [0.6, 0.5, 0.4, 0.3, 0.25][severity - 1]),
        }
        for kind, wanted in expected.items():
            found = picture(corrupted(x, kind, severity)[one])
            within = 1.01 / 255 if kind == "pixelate" else 1e-6
            assert np.abs(found - np.clip(wanted, 0, 1)).max() <= within, kind


def test_defocus_is_a_disk() -> None:
    """A white pixel becomes a disk of the stated radius, with its light (a disk that fills its array gains 1.3 %)."""
    x = torch.zeros(1, 1, 41, 41)
    x[0, 0, 20, 20] = 1
    for severity, radius in zip(SEVERITIES, (3, 4, 6, 8, 10), strict=True):
        found = corrupted(x, "defocus_blur", severity)[0, 0]
        assert float(found.sum()) == pytest.approx(1, abs=0.02 if radius in (8, 10) else 1e-4)
        down, right = (found > 0.5 * found.max()).nonzero(as_tuple=True)
        assert int((down - 20).abs().max()) == radius == int((right - 20).abs().max())


def test_noise_has_the_stated_size() -> None:
    """On even grey: standard deviations of normal noise, variance of photons, share of dead pixels."""
    x = torch.full((1, 3, 200, 200), 0.5)
    x[:, 1] += 1 / 255  # in colour: each channel has its own noise
    for severity in SEVERITIES:
        normal = (corrupted(x, "gaussian_noise", severity) - x)[:, 0]
        level = [0.08, 0.12, 0.18, 0.26, 0.38][severity - 1]
        inside = normal.abs() < 0.49
        if severity < 3:
            assert float(normal.std()) == pytest.approx(level, rel=0.02)
        assert float(inside.float().mean()) == pytest.approx(
            float(torch.special.erf(torch.tensor(0.49 / level / 2**0.5))), abs=0.01
        )
        photons = [60, 25, 12, 5, 3][severity - 1]
        shot = corrupted(x, "shot_noise", severity)[:, 0] * photons
        assert torch.allclose(shot, shot.round(), atol=1e-3)
        few = shot[shot < photons - 0.5]
        assert float((few < 0.5).float().sum() / shot.numel()) == pytest.approx(
            np.exp(-photons / 2), abs=0.006
        )
        impulse = corrupted(x, "impulse_noise", severity)[:, 0]
        dead = [0.03, 0.06, 0.09, 0.17, 0.27][severity - 1]
        for value in (0.0, 1.0):
            assert float((impulse == value).float().mean()) == pytest.approx(dead / 2, abs=0.004)
        speckle = (corrupted(x, "speckle_noise", severity) - x)[:, 0]
        if severity < 3:
            assert float(speckle.std()) == pytest.approx(0.5 * [0.15, 0.2][severity - 1], rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_image_stays_grey_and_its_batch_does_not_matter(kind: str) -> None:
    x = images(4, channels=1, size=24).expand(-1, 3, -1, -1)
    found = corrupted(x, kind, 3)
    assert (found - found[:, :1]).abs().max() <= 2 / 255
    assert kind == "jpeg" or torch.equal(found, found[:, :1].expand_as(found))
    torch.testing.assert_close(found[1:2], corrupted(x[1:2], kind, 3), rtol=0, atol=1e-7)
    assert not torch.equal(found, x)
    one = corrupted(x[:, :1].contiguous(), kind, 3)
    assert one.shape == (4, 1, 24, 24)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_severity_changes_more(kind: str) -> None:
    x = smooth(4)
    changes = [float((corrupted(x, kind, severity) - x).abs().mean()) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("kind", NOISES)
def test_the_seed_decides(kind: str) -> None:
    x = images(2)
    assert torch.equal(corrupted(x, kind, 2, seed=1), corrupted(x, kind, 2, seed=1))
    assert not torch.equal(corrupted(x, kind, 2, seed=1), corrupted(x, kind, 2, seed=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "snow"}, "kind must be one of gaussian_noise, shot_noise"),
        ({"severity": 6}, "severity must be a whole number from 0 to 5, got 6"),
        ({"severity": 2.5}, "severity must be a whole number"),
        ({"images": torch.rand(2, 8)}, r"a corruption needs images \(N, C, H, W\)"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"images": images(2), **changes}
    with pytest.raises(InputError, match=message):
        corruption(cnn(), given.pop("images"), torch.tensor([0, 1]), **given)
