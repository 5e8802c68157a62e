"""Small models and images for the attack tests, and the settings that keep each attack quick."""

import warnings
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from meddef.attacks import ATTACKS, NoStartWarning
from meddef.attacks.options import norm_of, options
from meddef.catalogue import WITHOUT_EPS

torch.set_num_threads(1)

EPS = 0.05
QUICK: dict[str, dict[str, Any]] = {
    "fgsm": {"eps": EPS},
    "bim": {"eps": EPS, "step_size": 0.025, "steps": 4},
    "pgd": {"eps": EPS, "step_size": 0.025, "steps": 4},
    "jsma": {"theta": 0.3, "gamma": 0.2, "max_steps": 6},
    "apgd": {"eps": EPS, "steps": 5},
    "fab": {"eps": EPS, "steps": 3},
    "square": {"eps": EPS, "queries": 8},
    "ensemble": {"eps": EPS, "steps": 3, "queries": 4},
    "noise": {"eps": EPS},
    "cw": {"eps": EPS, "steps": 3, "searches": 2},
    "hopskipjump": {"eps": EPS, "queries": 20},
    "patch": {"share": 0.2, "steps": 3},
    "corruption": {"severity": 1},
}
QUICK |= {  # an attack that is not named above
    name: ({} if name in WITHOUT_EPS else {"eps": EPS})
    | {few: 4 for few in ("steps", "queries") if few in options(name)}
    for name in ATTACKS
    if name not in QUICK
}
IN_EPS_BALL = [name for name in QUICK if name not in WITHOUT_EPS]  # a ball in L2 lies in that of L-infinity
EUCLIDEAN = [name for name in IN_EPS_BALL if norm_of(name, {}) == "l2"]
USES_GRADIENTS = [name for name in QUICK if name not in ("square", "hopskipjump", "noise", "corruption")]
QUERIES = [name for name in QUICK if name not in ("noise", "corruption")]
NOTHING: dict[str, dict[str, Any]] = {
    "jsma": {"gamma": 0.0},
    "patch": {"share": 0.0},
    "corruption": {"severity": 0},
}
"""Settings of the attacks without eps that leave the images as they are."""


def cnn(channels: int = 3, classes: int = 4, seed: int = 0) -> nn.Module:
    """Convolutions, BatchNorm with non-trivial statistics, Dropout; any image size. In training mode."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(6, 8, 3, padding=1, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, classes),
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


class Linear(nn.Module):
    """logits = x . weight: every gradient is known by hand."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


def images(n: int = 6, channels: int = 3, size: int = 8, seed: int = 1) -> Tensor:
    """(n, channels, size, size), 8-bit values in [0, 1], zeros and ones among them."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, channels, size, size, generator=generator) * 1.2 - 0.1).clamp(0, 1).mul(
        255
    ).round() / 255


def attack(name: str, model: nn.Module, x: Tensor, labels: Tensor, **changes: Any) -> Tensor:
    """The attack of that name in its quick settings; an untrained network may give no other answer to start from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoStartWarning)
        return ATTACKS[name](model, x, labels, **{**QUICK[name], **changes})


def assert_within(adv: Tensor, x: Tensor, eps: float) -> None:
    """By exact arithmetic (float64 holds the difference of two float32) and by a plain float32 comparison."""
    assert adv.min() >= 0
    assert adv.max() <= 1
    assert (adv.double() - x.double()).abs().max().item() <= eps
    assert (adv - x).abs().max().item() <= eps


def answers(model: nn.Module, x: Tensor) -> Tensor:
    """What the model says in evaluation mode; its mode is restored."""
    mode = model.training
    with torch.no_grad():
        said = model.eval()(x).argmax(1)
    model.train(mode)
    return said


def labels_of(model: nn.Module, x: Tensor) -> Tensor:
    """The model's predictions as labels, so that every image is classified correctly."""
    return answers(model, x)


def stripes(n: int, classes: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """(n, 1, size, size): noise around 0.5 and a faint bright band whose place is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    x = 0.5 + 0.12 * torch.randn(n, 1, size, size, generator=generator)
    width = size // classes
    for i, label in enumerate(labels.tolist()):
        x[i, :, label * width : (label + 1) * width] += 0.1
    return x.clamp(0, 1), labels


@lru_cache
def trained(classes: int, size: int = 28, eps: float = 0.0) -> nn.Module:
    """A CNN trained for a moment on ``stripes``, adversarially (FGSM, eps rising) if eps > 0; evaluation mode."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, padding=2, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(32),
        nn.ReLU(),
        nn.Linear(32, classes),
    )
    model(torch.zeros(1, 1, size, size))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(150 if eps else 60):
        x, labels = stripes(64, classes, size, seed=step)
        if eps:
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), labels), x)
            radius = eps * min(1, step / 100)
            x = (x + radius * gradient.sign()).clamp(0, 1).detach()
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
