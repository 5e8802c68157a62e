"""The control: random noise of the same size as an attack's, which says how much of a drop is the attack's doing."""

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.balls import LinfBall


def noise(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Uniformly random signs: x + eps s, clipped to [0, 1]; a control of the same size as FGSM's result.

    Args:
        model, labels: checked as for an attack, and not used.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        eps: pixel units, one number or a tensor (N,).
        generator: source of the signs; None is a fresh one with seed 0.

    Raises:
        InputError: bad input.
    """
    contract.check_batch(model, images, labels)
    generator = generator or torch.Generator().manual_seed(0)
    images = images.detach()
    sphere = LinfBall(images, contract.per_image(eps, images, "eps", most=1.0))
    random = torch.rand(images.shape, generator=generator, device=generator.device).to(images) - 0.5
    return torch.where(sphere.eps == 0, images, sphere.exact(sphere.step(images, random, sphere.eps)))
