"""Defences: what each does, checked against another source, and the three attackers side by side."""

import io
import math
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from attack_models import IN_EPS_BALL, Linear, assert_within, attack, cnn, labels_of, stripes, trained
from attack_models import images as some_images
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.stats import binomtest, norm
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import ZeroGradientWarning, pgd
from meddef.defenses import ABSTAIN, ATTACKERS, DEFENSES, Defended, Smoothed, build_defense, made_on
from meddef.defenses.pca import PcaFeatures
from meddef.defenses.registry import SOURCES, check_defense, settings_of
from meddef.defenses.smoothing import lower_bound
from meddef.errors import InputError
from meddef.evaluation import evaluate
from meddef.training.augmentation import TECHNIQUES

CLASSES, SIZE, EPS = 4, 28, 0.05
ATTACK = partial(pgd, eps=EPS, step_size=0.01, steps=15)
QUICK = {
    "jpeg": {"quality": 50},
    "bit_depth": {"bits": 3},
    "pca": {"components": 12, "eps": 0.02},
    "smoothing": {"sigma": 0.25, "samples": 32},
}


@lru_cache
def noisy_model() -> nn.Module:
    """``trained``, but with noise of σ = 0.25 on every image, as smoothing asks for."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14**2, CLASSES)
    )
    optimizer, generator = torch.optim.Adam(model.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    for step in range(120):
        x, labels = stripes(64, CLASSES, SIZE, seed=step)
        loss = F.cross_entropy(model(TECHNIQUES["noise_25"](x, generator)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def defended(name: str) -> Defended:
    classifier = noisy_model() if name == "smoothing" else trained(CLASSES)
    return build_defense(name, classifier, QUICK[name], training=stripes(96, CLASSES, SIZE, seed=900))


@lru_cache
def right_under(name: str, attacker: str) -> float:
    """Accuracy of the defended toy under one attacker."""
    model = defended(name)
    made = made_on(model.seen_by(attacker), ATTACK)
    return evaluate(model, [stripes(40, CLASSES, SIZE, seed=500)], made).robust_accuracy.value


def test_every_defence_is_tested_and_has_a_source() -> None:
    assert set(QUICK) == set(DEFENSES) == set(SOURCES)


@pytest.mark.filterwarnings("ignore::meddef.attacks.ZeroGradientWarning")
@pytest.mark.parametrize("name", DEFENSES)
def test_the_adaptive_attack_is_at_least_as_strong_as_the_naive_one(name: str) -> None:
    assert right_under(name, "adaptive") <= right_under(name, "naive")


@pytest.mark.filterwarnings("ignore::meddef.attacks.ZeroGradientWarning")
@pytest.mark.parametrize("name", ["jpeg", "bit_depth", "pca"])
def test_a_defence_that_only_breaks_gradients_is_shown_broken(name: str) -> None:
    """It looks robust to the attacker who has no gradient, and has next to nothing left before the other."""
    model = defended(name)
    clean = evaluate(model, [stripes(40, CLASSES, SIZE, seed=500)], None).clean_accuracy.value
    assert clean > 0.9
    assert right_under(name, "naive") > 0.9
    assert right_under(name, "adaptive") < 0.3
    assert right_under(name, "transfer") < 0.5


@pytest.mark.parametrize("name", ["jpeg", "bit_depth", "pca"])
def test_the_naive_attacker_is_told_that_there_is_no_gradient(name: str) -> None:
    x, labels = stripes(3, CLASSES, SIZE, seed=1)
    model = defended(name)
    with pytest.warns(ZeroGradientWarning, match="for 3 of 3 images"):
        ATTACK(model.seen_by("naive"), x, labels)
    with torch.no_grad():
        assert torch.equal(model.seen_by("naive")(x), model(x))  # its outputs are the system's
    assert model.seen_by("transfer") is model.classifier


@pytest.mark.parametrize(("name", "size"), [("bit_depth", 8), ("jpeg", 16), ("jpeg", 13)])
def test_the_gradient_is_taken_where_the_classifier_is_asked(name: str, size: int) -> None:
    """And handed back as it is or, of JPEG, through the cosine transform (SciPy's), weighted by Pillow's table."""
    x = some_images(3, size=size).requires_grad_()
    model = build_defense(name, cnn().eval())
    (ours,) = torch.autograd.grad(model(x).square().sum(), x)
    changed = model.transform(x.detach()).requires_grad_()
    assert not torch.equal(changed, x)
    (by_hand,) = torch.autograd.grad(model.classifier(changed).square().sum(), changed)
    if name == "bit_depth":
        assert torch.equal(ours, by_hand)
        return
    side = -(-size // 8) * 8
    padded = np.zeros((3, 3, side, side))
    padded[:, :, :size, :size] = by_hand.double().numpy()
    steps = pillows_steps()
    for top in range(0, side, 8):
        for left in range(0, side, 8):
            block = padded[:, :, top : top + 8, left : left + 8]
            block[:] = idctn(
                dctn(block, axes=(2, 3), norm="ortho") * steps.min() / steps, axes=(2, 3), norm="ortho"
            )
    np.testing.assert_allclose(
        ours.numpy(), padded[:, :, :size, :size], atol=1e-6 * np.abs(padded).max() + 1e-9, rtol=1e-4
    )


def pillows_steps() -> np.ndarray:
    """Steps of a grey JPEG of quality 75, by vertical and horizontal frequency, from Pillow's file."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", quality=75)
    data = buffer.getvalue()
    place = data.index(b"\xff\xdb") + 5
    table = np.zeros((8, 8))
    for i, (_, _, row, column) in enumerate(sorted(
        (r + c, r if (r + c) % 2 else c, r, c) for r in range(8) for c in range(8)
    )):  # fmt: skip
        table[row, column] = data[place + i]
    return table


@pytest.mark.parametrize("name", DEFENSES)
def test_every_attack_takes_a_defended_model(name: str) -> None:
    x, network = some_images(4), cnn().eval()
    labels = labels_of(network, x)
    model = build_defense(
        name, network, QUICK[name] | {"seed": 1} if name == "pca" else {}, training=(x, labels)
    )
    for each in IN_EPS_BALL:
        assert_within(attack(each, model.seen_by("adaptive"), x, labels), x, 0.05)
    assert attack("jsma", model.seen_by("adaptive"), x, labels).shape == x.shape
    if name == "smoothing":
        with pytest.raises(InputError, match="does not depend on its input"):
            attack("fgsm", model, x, labels)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bits_against_numpy(bits: int) -> None:
    x = torch.linspace(0, 1, 1001).view(1, 1, 7, 143)
    found = build_defense("bit_depth", nn.Identity(), {"bits": bits}).transform(x).numpy()
    places = np.linspace(0, 1, 2**bits)
    assert np.abs(x.numpy()[..., None] - places).min(-1) == pytest.approx(np.abs(found - x.numpy()), abs=1e-6)
    assert len(np.unique(found)) == 2**bits


@pytest.mark.parametrize(("channels", "quality"), [(1, 75), (3, 75), (3, 10)])
def test_jpeg_against_pillow(channels: int, quality: int) -> None:
    """Smooth images, whose channels differ: two codecs may round a grey value differently, and no more."""
    y, x = np.mgrid[:32, :32] / 31
    planes = [np.sin(3 * x + y), x * y, 1 - x][:channels]
    pixels = np.stack([255 * np.clip(p, 0, 1) for p in planes], -1).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=quality)
    theirs = np.atleast_3d(np.asarray(Image.open(buffer)).astype(int))
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    ours = build_defense("jpeg", nn.Identity(), {"quality": quality}).transform(given)
    difference = np.abs((255 * ours[0]).round().permute(1, 2, 0).numpy() - theirs)
    assert difference.max() <= 3
    assert difference.mean() < 0.2
    assert ours.dtype == given.dtype


def test_components_span_what_numpy_finds_and_the_head_is_the_minimum() -> None:
    x, labels = stripes(64, CLASSES, SIZE, seed=3)
    network = trained(CLASSES)
    model = PcaFeatures(network, images=x, labels=labels, components=5, eps=0)
    with torch.no_grad():
        features = network[:-1](x).double().numpy()
    centred = features - features.mean(0)
    rows = np.linalg.svd(centred, full_matrices=False)[2][:5]
    basis = model.basis.double().numpy()
    np.testing.assert_allclose(basis @ basis.T, rows.T @ rows, atol=1e-3)
    with (
        torch.no_grad()
    ):  # the mean of the probabilities of each class is its share: the gradient of the biases is zero
        given = model(x).softmax(1).mean(0)
    torch.testing.assert_close(given, labels.bincount(minlength=CLASSES) / len(labels), atol=2e-3, rtol=0)


def test_pca_learns_from_attacked_images_too() -> None:
    x, labels = stripes(64, CLASSES, SIZE, seed=3)
    plain, hardened = (
        PcaFeatures(trained(CLASSES), images=x, labels=labels, components=5, eps=eps) for eps in (0, 0.05)
    )
    attacked = ATTACK(trained(CLASSES), x, labels)
    with torch.no_grad():
        right = [(model(attacked).argmax(1) == labels).float().mean() for model in (plain, hardened)]
    assert right[1] > right[0]
    with pytest.raises(InputError, match="whose last layer is nn"):
        PcaFeatures(nn.Flatten(), images=x, labels=labels)


@pytest.mark.parametrize(
    ("hits", "n", "alpha"), [(0, 10, 0.05), (7, 10, 0.05), (990, 1000, 0.001), (50, 50, 0.01)]
)
def test_the_bound_is_clopper_and_pearson_s(hits: int, n: int, alpha: float) -> None:
    theirs = binomtest(hits, n, alternative="greater").proportion_ci(1 - alpha, "exact").low
    assert float(lower_bound(torch.tensor([hits]), n, alpha)) == pytest.approx(theirs, abs=1e-9)


class Edge(nn.Module):
    """Class 1 above a mean pixel of 0.5: under noise all probabilities are known, and the distance to the edge too."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], 1)


def test_certificates_against_the_smoothed_classifier_in_closed_form() -> None:
    """No radius is beyond the edge; with n draws none is shorter than the bound at the expected count allows."""
    sigma, side, n, alpha = 0.12, 6, 2000, 0.001
    shifts = torch.tensor([0.0, 0.004, 0.02, 0.04, -0.03])
    x = (0.5 + shifts).view(-1, 1, 1, 1).expand(-1, 1, side, side)
    found = Smoothed(Edge(), sigma=sigma).certify(x, samples=n, alpha=alpha)
    distance = shifts.abs().double() * side  # L2: the mean moves by distance / side
    share = norm.cdf(distance / sigma)
    reached = sigma * norm.ppf(
        lower_bound(torch.tensor(n * share - 3 * np.sqrt(n * share * (1 - share))), n, alpha)
    )
    assert found.classes.tolist() == [ABSTAIN, 1, 1, 1, 0]
    assert found.radius[0] == 0
    assert bool((found.radius <= distance + 1e-9).all())
    assert bool((found.radius[2:].numpy() >= reached[2:]).all())
    assert found.right(torch.tensor([0, 1, 1, 0, 0]), 0.05).tolist() == [False, False, True, False, True]


def test_prediction_abstains_as_the_binomial_test_says() -> None:
    x = (0.5 + torch.tensor([0.0, 0.008, 0.03])).view(-1, 1, 1, 1).expand(-1, 1, 6, 6)
    smoothed = Smoothed(Edge(), sigma=0.12, samples=200)
    votes = smoothed.votes(x, 200, "predict")
    wanted = [
        int(v.argmax()) if binomtest(int(v.max()), 200, 0.5).pvalue <= 0.001 else ABSTAIN for v in votes
    ]
    assert smoothed.predict(x).tolist() == wanted
    assert {ABSTAIN, 1} == set(wanted)


def test_certified_is_never_above_empirical() -> None:
    """At every radius, on a model trained with the noise: what is certified right withstands an L2 attack (EOT)."""
    x, labels = stripes(30, CLASSES, SIZE, seed=77)
    smoothed = Smoothed(noisy_model(), sigma=0.25, samples=200, draws=4)
    certificates = smoothed.certify(x, samples=400)
    radii, certified, empirical = (0.1, 0.25, 0.4, 0.6), [], []
    for radius in radii:
        l2 = partial(pgd, eps=radius, step_size=radius / 4, steps=10, norm="l2")
        found = evaluate(smoothed, [(x, labels)], made_on(smoothed.seen_by("adaptive"), l2))
        certified.append(certificates.right(labels, radius).double().mean().item())
        empirical.append(found.robust_accuracy.value)
    assert all(low <= high for low, high in zip(certified, empirical, strict=True))
    assert certified[0] > 0.7
    assert certified == sorted(certified, reverse=True)
    assert certified[-1] < certified[0]
    assert empirical[-1] < 1


def test_noise_belongs_to_the_image_and_the_seed() -> None:
    x, labels = stripes(7, CLASSES, SIZE, seed=5)
    model = defended("smoothing")
    with torch.no_grad():
        together = model(x)
        assert torch.equal(together, torch.cat([model(x[:2]), model(x[2:])]))
        assert torch.equal(together.sum(1), torch.full((7,), 1.0 - CLASSES))
        edge = [
            Smoothed(Edge(), sigma=0.25, samples=50, seed=seed)(torch.full((1, 1, 6, 6), 0.5))
            for seed in (0, 1)
        ]
        assert not torch.equal(*edge)
    assert torch.equal(ATTACK(model.adaptive(), x, labels), ATTACK(model.adaptive(), x, labels))


def test_the_mean_over_draws_is_that_of_probabilities() -> None:
    torch.manual_seed(0)
    model = Smoothed(Linear(torch.randn(64, 3)), sigma=0.1, draws=5)
    x = some_images(2, channels=1)
    shown: list[Tensor] = []
    hook = model.classifier.register_forward_hook(lambda module, given, logits: shown.append(logits))
    found = model.adaptive()(x).exp()
    hook.remove()
    torch.testing.assert_close(found, shown[0].softmax(1).view(2, 5, 3).mean(1))


@pytest.mark.parametrize("name", DEFENSES)
def test_the_classifier_is_left_as_it_was(name: str) -> None:
    network, (x, labels) = cnn(channels=1), stripes(8, CLASSES, SIZE, seed=5)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    model = build_defense(name, network, QUICK[name], training=(x, labels))
    found = evaluate(model, [(x, labels_of(network, x))], made_on(model.seen_by("adaptive"), ATTACK))
    assert found.linf <= EPS
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("jpg", {}, "unknown defence 'jpg'"),
        ("jpeg", {"bits": 3}, "takes no setting 'bits': it takes quality"),
        ("jpeg", {"quality": 0}, "from 1 to 100"),
        ("bit_depth", {"bits": 0}, "at least 1"),
        ("pca", {}, "give training="),
        ("smoothing", {"sigma": 0}, "sigma must be positive"),
        ("smoothing", {"samples": 1.5}, "whole number"),
    ],
)
def test_what_is_wrong_is_said(name: str, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_defense(name, nn.Identity(), settings)


def test_other_refusals() -> None:
    with pytest.raises(InputError, match="unknown defence"):
        check_defense("x", {})
    assert set(settings_of("pca")) == {"components", "eps", "seed"}
    with pytest.raises(InputError, match=f"one of {', '.join(ATTACKERS)}"):
        defended("jpeg").seen_by("nobody")
    with pytest.raises(InputError, match="one or three channels"):
        build_defense("jpeg", nn.Identity())(torch.rand(1, 2, 8, 8))
    with pytest.raises(InputError, match=r"alpha must lie in \(0, 1\)"):
        Smoothed(Edge()).certify(torch.rand(1, 1, 6, 6), alpha=1)
    assert not math.isnan(right_under("jpeg", "transfer"))


@pytest.mark.parametrize("name", ["jpeg", "bit_depth", "smoothing"])
def test_pixels_from_0_to_255_and_normalised_ones_are_refused(name: str) -> None:
    """A codec would wrap them around, noise would be clipped: the output would be for another image."""
    model, images = defended(name), torch.rand(2, 1, SIZE, SIZE)
    for wrong, said in (
        (255 * images, "divide 0-255"),
        (4 * images - 2, "normalisation inside"),
        (images * math.nan, "NaN"),
    ):
        with pytest.raises(InputError, match=said):
            model(wrong)


def test_jpeg_does_not_wrap_a_probe_beyond_white() -> None:
    """255 x 1.005 is 256, which as a byte is 0: white would turn black."""
    seen = build_defense("jpeg", nn.Identity(), {})(torch.full((1, 1, 8, 8), 1.005))
    assert seen.min() > 0.98
