"""The active test: does the attack find planted adversarial examples? (Zimmermann et al. 2022)

For one image at a time, the model's last linear layer is replaced by a two-class readout of the same features that
predicts 0 at and near the image and 1 at one random corner of the ball. The defence before the features remains: an
attack misled by it misses the planted example, a working one finds it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.robustness.check_result import Outcome
from meddef.robustness.comparison import CLEAR, tail
from meddef.robustness.evidence import Evidence, quietly

INNER = 32  # images near the original that the readout classifies as 0
NEAR = 0.5  # of eps: how near
WANTED = 0.9  # share of the planted examples that are found; clearly fewer fail


class Readout(nn.Module):
    """Logits (N, 2): 0 and weight . features(x) - threshold, positive where the planted class begins."""

    def __init__(self, features: nn.Module, weight: Tensor, threshold: Tensor) -> None:
        super().__init__()
        self.features, self.weight, self.threshold = features, weight, threshold

    def forward(self, x: Tensor) -> Tensor:
        value = self.features(x) @ self.weight - self.threshold
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Features(nn.Module):
    """Input of the model's last linear layer, (N, d), averaged over tokens; the logits where there is no such layer, or
    not one row per image. For a compiled model, of the original."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = getattr(model, "_orig_mod", model)  # inside torch.compile's wrapper, where hooks work

    def forward(self, x: Tensor) -> Tensor:
        linear = [module for module in self.model.modules() if isinstance(module, nn.Linear)]
        caught: list[Tensor] = []
        hook = None
        if linear:
            hook = linear[-1].register_forward_pre_hook(
                lambda _, given, named: caught.append(given[0] if given else named["input"]), with_kwargs=True
            )
        try:
            logits: Tensor = self.model(x)
        finally:
            if hook is not None:
                hook.remove()
        if not caught or caught[-1].shape[:1] != x.shape[:1]:
            return logits
        return caught[-1].flatten(1, -2).mean(1) if caught[-1].ndim > 2 else caught[-1]


def finds_planted(evidence: Evidence) -> Outcome:
    """Share of the planted examples that the attack under test finds."""
    generator = torch.Generator().manual_seed(0)
    features = Features(evidence.model)
    planted = found = by_chance = 0
    for image in evidence.x[: evidence.budget.planted].split(1):
        model = _plant(features, image, evidence.eps, generator)
        if model is None:
            continue
        planted += 1
        label = torch.zeros(1, dtype=torch.int64, device=image.device)
        try:
            with quietly():
                attacked = evidence.attack(model, image.clone(), label.clone(), eps=evidence.eps)
        except contract.NoInputGradient:  # cut within the features
            attacked = image
        corners = _corners(image, evidence.eps, INNER, generator)
        found += int(evidence.answer(model, attacked).argmax(1))
        by_chance += int(evidence.answer(model, corners).argmax(1).sum())
    numbers = {"planted": planted, "found": found, "random_rate": by_chance / max(INNER * planted, 1)}
    detail = (
        f"Adversarial examples were planted around {planted} images; the attack finds {found}, a random corner of the "
        f"ball is one in {numbers['random_rate']:.0%} of cases."
    )
    if not planted:
        return Outcome(
            None,
            numbers,
            "No plane separates a corner of the ball from the surroundings of an image: nothing was planted.",
        )
    return Outcome(tail(planted - found, planted, 1 - WANTED) >= CLEAR, numbers, detail)


def _plant(features: Features, image: Tensor, eps: float, generator: torch.Generator) -> Readout | None:
    """The readout for one image (1, C, H, W); None where no plane separates the corner from the inside."""
    with contract.attacking(features, image.device), torch.no_grad():
        near = NEAR * eps * (2 * _uniform((INNER, *image.shape[1:]), image, generator) - 1)
        inner = features(torch.cat([image, (image + near).clamp(0, 1)])).double()
        outer = features(_corners(image, eps, 1, generator)).double()[0]
    middle = inner.mean(0)
    spread = (inner - middle).T @ (inner - middle) / len(inner)
    ridge = spread.diagonal().mean().clamp(min=1e-12) * torch.eye(len(spread), dtype=spread.dtype).to(spread)
    weight = torch.linalg.solve(spread + ridge, outer - middle)
    inside, outside = (inner @ weight).max(), outer @ weight
    if not bool(outside > inside):
        return None
    scale = 1 / (outside - inside)
    threshold = (inside + outside) / 2
    return Readout(features, (weight * scale).to(image), (threshold * scale).to(image))


def _corners(image: Tensor, eps: float, count: int, generator: torch.Generator) -> Tensor:
    """Random corners of the ball, clipped to [0, 1]: (count, C, H, W)."""
    signs = (_uniform((count, *image.shape[1:]), image, generator) - 0.5).sign()
    return (image + eps * signs).clamp(0, 1)


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator).to(like)
