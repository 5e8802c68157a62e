"""JSMA against an obvious reference that tries every pair, against ART, and its options."""

import itertools
import math
import warnings
from typing import Any

import pytest
import torch
from attack_models import Linear, answers, cnn, images, labels_of, stripes, trained
from scipy.stats import binomtest
from torch import Tensor, nn

from meddef.attacks import ATTACKS, jsma
from meddef.errors import InputError


def changed(adv: Tensor, x: Tensor) -> Tensor:
    """Features changed, (N,)."""
    return (adv != x).flatten(1).sum(1)


def slow_jsma(
    model: nn.Module, x: Tensor, label: int, target: int, stop_at_target: bool, theta: float, gamma: float
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Papernot et al. 2016, Algorithms 2 and 3, for one image (C, H, W): a loop over classes, a loop over pairs."""
    n = x.numel()
    flat, bound, taken = x.flatten().clone(), 1 if theta > 0 else 0, []
    domain = {i for i in range(n) if flat[i] != bound}
    for _ in range(math.floor(n * gamma / 2)):
        leaf = flat.clone().requires_grad_()
        logits = model(leaf.view(1, *x.shape))[0]
        answer = logits.argmax().item()
        if answer == target if stop_at_target else answer != label:
            break
        rows = [torch.autograd.grad(logits[j], leaf, retain_graph=True)[0] for j in range(len(logits))]
        alpha = rows[target].numpy()
        beta = sum(row for j, row in enumerate(rows) if j != target).numpy()
        best, pair = 0.0, None
        for p, q in itertools.combinations(sorted(domain), 2):
            a, b = alpha[p] + alpha[q], beta[p] + beta[q]
            right_signs = (a > 0 and b < 0) if theta > 0 else (a < 0 and b > 0)
            if right_signs and -a * b > best:
                best, pair = -a * b, (p, q)
        if pair is None:
            break
        taken.append(pair)
        for feature in pair:
            flat[feature] = (flat[feature] + theta).clamp(0, 1)
            if flat[feature] == bound:
                domain.discard(feature)
    return flat.view_as(x), taken


def second_most_likely(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        logits = model.eval()(x)
    return logits.scatter(1, labels[:, None], -torch.inf).argmax(1)


@pytest.mark.parametrize("theta", [0.4, 1.0, -0.4])
@pytest.mark.parametrize(("classes", "channels", "size"), [(2, 1, 8), (3, 1, 6), (4, 1, 7), (5, 3, 4)])
def test_every_step_takes_the_pair_of_the_reference(
    classes: int, channels: int, size: int, theta: float
) -> None:
    """In float64, so that rounding in a batch cannot swap two pairs of nearly the same saliency."""
    model = cnn(channels, classes).double().eval()
    x = images(3, channels, size).double()
    labels = labels_of(model, x)
    aims = second_most_likely(model, x, labels)
    steps = 0
    for targets in (None, aims):
        adv = jsma(model, x, labels, theta=theta, gamma=0.2, targets=targets)
        for i in range(3):
            expected, taken = slow_jsma(
                model, x[i], int(labels[i]), int(aims[i]), targets is not None, theta, gamma=0.2
            )
            torch.testing.assert_close(adv[i], expected, rtol=0, atol=1e-12)
            steps += len(taken)
    assert steps >= 6


def test_the_moves_come_in_the_order_of_the_reference() -> None:
    """10 x 10, stopped after every move: which pair is next depends on the ones before it."""
    model, x = cnn(1, 4).double().eval(), images(1, 1, 10).double()
    label, aim = int(labels_of(model, x)), int(second_most_likely(model, x, labels_of(model, x)))
    with torch.no_grad():
        model[-1].bias[label] += 5  # far enough from the boundary for the whole budget
    _, pairs = slow_jsma(model, x[0], label, aim, False, theta=0.4, gamma=0.14)
    assert len(pairs) == 7
    flat = x.flatten().clone()
    for moves, pair in enumerate(pairs, start=1):
        for feature in pair:
            flat[feature] = (flat[feature] + 0.4).clamp(0, 1)
        adv = jsma(model, x, torch.tensor([label]), theta=0.4, gamma=0.14, max_steps=moves)
        torch.testing.assert_close(adv.flatten(), flat, rtol=0, atol=1e-12)


def test_one_step_by_hand() -> None:
    """alpha and beta of four features are (3, -1), (1, 2), (2, -2), (-1, -9) for target 1.

    Upwards -(alpha + alpha)(beta + beta) is 15 for features 0 and 2, 20 for 0 and 3, 11 for 2 and 3, and beta is not
    negative for 0 and 1 (+1) or 1 and 2 (0). Downwards alpha must be negative, which no pair's is.
    """
    model = Linear(torch.tensor([[-1.0, 3.0], [2.0, 1.0], [-2.0, 2.0], [-9.0, -1.0]]))
    x, labels, targets = torch.full((1, 4), 0.5), torch.tensor([0]), torch.tensor([1])
    model.forward = lambda z: z.flatten(1) @ model.weight + torch.tensor([50.0, 0.0])  # label 0 for any image
    up = jsma(model, x, labels, theta=0.25, gamma=0.5, targets=targets)
    assert torch.equal(up, torch.tensor([[0.75, 0.5, 0.5, 0.75]]))
    down = jsma(model, x, labels, theta=-0.25, gamma=0.5, targets=targets)
    assert torch.equal(down, x)


@pytest.mark.parametrize("theta", [0.1, -0.3, 1.0])
@pytest.mark.parametrize("gamma", [0.03, 0.05, 0.14, 1.0])
def test_the_budget_is_never_exceeded(theta: float, gamma: float) -> None:
    """The target can never be reached (its logit is beaten by far), so the attack runs to the end of its budget."""
    model = cnn(1, 3)
    with torch.no_grad():
        model[-1].bias += torch.tensor([50.0, 0.0, 0.0])
    x = images(3, 1, 9)
    budget = math.floor(gamma * 81)
    for more in ({}, {"max_steps": 10 * budget}, {"features": 1}, {"pairs_per_step": 3}):
        adv = jsma(model, x, torch.zeros(3, dtype=torch.int64), theta=theta, gamma=gamma, **more)
        assert (changed(adv, x) <= budget).all()
        assert 0 <= adv.min() <= adv.max() <= 1
        if theta == 1 and gamma < 0.2 and budget % 2 == 0 and more == {}:
            assert (changed(adv, x) == budget).any()


def test_whole_pixels_move_together() -> None:
    model, x = cnn(3, 4), images(5)
    labels = labels_of(model, x)
    adv = jsma(model, x, labels, theta=0.2, gamma=0.1, unit="pixel")
    pixels = (adv != x).any(1).flatten(1)
    assert (pixels.sum(1) <= math.floor(0.1 * 64)).all()
    moved = ((adv - x).abs() > 0) | (x == 1)
    assert torch.equal(moved.all(1).flatten(1)[pixels], torch.ones(int(pixels.sum()), dtype=torch.bool))


def test_the_single_feature_variant_takes_the_best_feature() -> None:
    model = Linear(torch.tensor([[2.0, 1.0], [3.0, -1.0], [-1.0, 5.0], [-4.0, 3.0]]))
    x, labels = torch.tensor([[0.9, 0.9, 0.1, 0.1]]), torch.tensor([0])
    adv = jsma(model, x, labels, theta=0.2, gamma=0.25, features=1)
    torch.testing.assert_close(adv, torch.tensor([[0.9, 0.9, 0.1, 0.3]]))


def test_softmax_saliency_is_one_backward_pass_of_the_probability() -> None:
    model = cnn(1, 3).double().eval()
    x = images(3, 1, 6).double()
    labels = labels_of(model, x)
    targets = (labels + 1) % 3
    adv = jsma(model, x, labels, theta=0.5, gamma=0.06, targets=targets, saliency="softmax")
    leaf = x.clone().requires_grad_()
    probability = model(leaf).softmax(1).gather(1, targets[:, None]).sum()
    (gradient,) = torch.autograd.grad(probability, leaf)
    gradient = gradient.masked_fill(x == 1, -torch.inf).flatten(1)
    expected = gradient.topk(2, dim=1).indices.sort(1).values
    for i in range(3):
        assert torch.equal((adv[i] != x[i]).flatten().nonzero()[:, 0], expected[i])


@pytest.mark.parametrize("classes", [2, 3, 4, 8])
def test_two_backward_passes_whatever_the_number_of_classes(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = 0
    grad = torch.autograd.grad

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal passes
        passes += 1
        return grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counting)
    model, x = cnn(1, classes), images(4, 1)
    for saliency, expected in (("logits", 2), ("softmax", 1)):
        passes = 0
        jsma(model, x, labels_of(model, x), theta=0.01, gamma=0.14, max_steps=3, saliency=saliency)
        assert passes == 3 * expected


def test_untargeted_aims_at_the_second_most_likely_and_takes_any_wrong_answer() -> None:
    model, (x, labels) = trained(4), stripes(16, 4, 28, seed=999)
    adv = jsma(model, x, labels, theta=1.0, gamma=0.14)
    assert (answers(model, adv) != labels).float().mean() > 0.5
    already = jsma(model, x, (labels + 1) % 4, theta=1.0, gamma=0.14)
    assert torch.equal(already, x)
    second = jsma(model, x, labels, theta=1.0, gamma=0.14, targets="second")
    assert (changed(second, x) >= changed(adv, x)).all()


def test_all_targets_keeps_the_success_with_the_fewest_changes() -> None:
    model, (x, labels) = trained(4), stripes(8, 4, 28, seed=999)
    settings: dict[str, Any] = {"theta": 1.0, "gamma": 0.14}
    best = jsma(model, x, labels, targets="all", **settings)
    each = [jsma(model, x, labels, targets=(labels + shift) % 4, **settings) for shift in (1, 2, 3)]
    fewest = torch.stack(
        [torch.where(answers(model, adv) != labels, changed(adv, x), 10**6) for adv in each]
    ).amin(0)
    fooled = answers(model, best) != labels
    assert torch.equal(fooled, fewest < 10**6)
    assert torch.equal(changed(best, x)[fooled], fewest[fooled])


def test_least_likely_target() -> None:
    model, x = cnn(1, 5), images(4, 1)
    labels = labels_of(model, x)
    with torch.no_grad():
        least = model.eval()(x).argmin(1)
    settings: dict[str, Any] = {"theta": 0.5, "gamma": 0.1}
    ours = jsma(model, x, labels, targets="least", **settings)
    assert torch.equal(ours, jsma(model, x, labels, targets=least, **settings))


def test_fooled_images_leave_the_batch() -> None:
    seen: list[int] = []

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = trained(4)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return self.inner(x)

    x, labels = stripes(16, 4, 28, seed=999)
    adv = jsma(Counts(), x, labels, theta=1.0, gamma=0.14)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 16
    fooled = (answers(trained(4), adv) != labels).sum()
    assert seen[-1] >= 16 - fooled


def test_the_fast_variant_is_another_attack_of_about_the_same_strength() -> None:
    model, (x, labels) = trained(4), stripes(32, 4, 28, seed=999)
    exact = jsma(model, x, labels, theta=1.0, gamma=0.14)
    several = jsma(model, x, labels, theta=1.0, gamma=0.14, pairs_per_step=4)
    asr = [(answers(model, adv) != labels).float().mean().item() for adv in (exact, several)]
    assert asr[1] > asr[0] - 0.15
    assert changed(several, x).float().mean() >= changed(exact, x).float().mean()


def test_progress_and_the_papers_settings() -> None:
    seen: list[tuple[int, int]] = []
    model, x = cnn(1, 3), images(2, 1)
    labels = labels_of(model, x)
    jsma(model, x, labels, theta=0.01, gamma=0.14, progress=lambda *s: seen.append(s))
    assert seen == [(i, 4) for i in range(1, 5)]  # floor(0.14 * 64 / 2) = 4
    assert ATTACKS["jsma"].keywords == {"theta": 0.1, "gamma": 0.14}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta": 0.0}, r"theta must be in \[-1, 1\] and not 0, got 0.0"),
        ({"theta": float("nan")}, "theta must be"),
        ({"gamma": 14}, r"gamma must be a share of the features, in \[0, 1\], got 14"),
        ({"features": 3}, "features must be 1 or 2"),
        ({"unit": "voxel"}, "unit must be one of feature, pixel"),
        ({"saliency": "loss"}, "saliency must be one of logits, softmax"),
        ({"targets": "best"}, "targets must be one of second, least, all"),
        ({"targets": torch.tensor([1, 9])}, "target 9 is out of range: the model has 4 classes"),
        ({"targets": torch.tensor([1, 1])}, "the target of image 1 is its own label"),
        ({"targets": torch.tensor([1])}, r"targets must have shape \(2,\)"),
        ({"max_steps": -1}, "max_steps must be a whole number of at least 0"),
        ({"pairs_per_step": 0}, "pairs_per_step must be a whole number of at least 1"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"theta": 0.1, "gamma": 0.2, **change}
    with pytest.raises(InputError, match=message):
        jsma(cnn(), images(2), torch.tensor([0, 1]), **settings)


def test_against_art() -> None:
    """ART moves the two features with the largest target gradient and searches no pairs; same budget, 28 x 28."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evasion = pytest.importorskip("art.attacks.evasion", reason="the peers extra is not installed")
        from art.estimators.classification import PyTorchClassifier
    model, (x, labels) = trained(4), stripes(40, 4, 28, seed=999)
    targets = (labels + 1) % 4
    settings: dict[str, Any] = {"theta": 1.0, "gamma": 0.05}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 28, 28), 4, clip_values=(0, 1))
        peer = evasion.SaliencyMapMethod(classifier, batch_size=40, verbose=False, **settings)
        theirs = torch.from_numpy(peer.generate(x.numpy(), targets.numpy()))
    ours = jsma(model, x, labels, targets=targets, **settings)
    assert (changed(ours, x) <= math.floor(0.05 * 784)).all()
    hits, their_hits = (int((answers(model, adv) == targets).sum()) for adv in (ours, theirs))
    interval = binomtest(their_hits, 40).proportion_ci(0.95, method="wilson")
    assert hits / 40 >= interval.low
    assert hits > 0
