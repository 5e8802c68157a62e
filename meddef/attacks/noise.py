"""Baseline: random noise of the same size as an attack's perturbation."""

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import LinfBall
from meddef.attacks.randomness import randomness


@for_anyone
def noise(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    generator: torch.Generator | None = None,
    seed: int = 0,
) -> Tensor:
    """Uniformly random signs: x + eps s, clipped to [0, 1]; a baseline of the same size as FGSM.

    Args:
        model, labels: checked as for an attack, and not used.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        eps: pixel units, one number or a tensor (N,).
        generator: generator of the signs for the whole batch; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.

    Raises:
        InputError: invalid input.
    """
    contract.check_batch(model, images, labels)
    images = images.detach()
    ball = LinfBall(images, contract.per_image(eps, images, "eps", most=1.0))
    signs = randomness(images, generator, seed, "noise").signs(*images.shape[1:]).to(images)
    return torch.where(ball.eps == 0, images, ball.exact(ball.step(images, signs, ball.eps)))
