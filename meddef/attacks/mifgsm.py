"""Momentum iterative FGSM (Dong et al. 2018, https://arxiv.org/abs/1710.06081): PGD along an average of gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import NORMS, norm_ball
from meddef.attacks.loop import finish, forward
from meddef.attacks.losses import Loss, Objective


@for_anyone
def mifgsm(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    steps: int = 10,
    decay: float = 1.0,
    norm: str = "linf",
    targeted: bool = False,
    loss: Loss = "ce",
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Steps of eps / steps along g = decay * g + gradient / its L1 norm, from the image (their Algorithm 1).

    The average follows the bends of the model's own surface less than PGD does. Its authors found that its examples
    transfer better to other models (see ``meddef.attacks.transfer``); on the model itself PGD is the stronger attack.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes or, with ``targeted``, the target classes.
        eps: radius in pixel units (``norm="l2"``: length of the perturbation), one number or a tensor (N,).
        steps: gradient evaluations; together the steps reach eps exactly.
        decay: weight of the earlier gradients, 0 (BIM) or more; 1 is the authors'.
        norm: "linf" (steps along the sign of g) or "l2" (along g).
        targeted: towards ``labels`` instead of away from them.
        loss: "ce", "margin" or "dlr", or a function (logits (N, K), labels (N,)) -> (N,).
        progress: called with (steps done, total steps).

    Returns:
        The last iterate, within ``eps`` and [0, 1] exactly.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input. Images
            whose gradient is exactly zero are counted in a ``ZeroGradientWarning``.

    >>> attacked = mifgsm(model, images, labels, eps=8 / 255)  # doctest: +SKIP
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_choice(norm, NORMS, "norm")
    contract.check_at_least(steps, 1, "steps")
    contract.check_number(decay, "decay", least=0)
    objective = Objective(labels, loss, targeted)
    radius = contract.per_image(eps, images, "eps", most=1.0 if norm == "linf" else float("inf"))
    if not radius.any():
        return images.detach().clone()
    with contract.attacking(model, images.device):
        ball = norm_ball(norm, images.detach().clone(), radius)
        x, average, size = ball.images, torch.zeros_like(ball.images), radius / steps
        for step in range(steps):
            leaf, logits, value = forward(model, objective, x, first=step == 0)
            contract.check_finite(logits)
            gradient = contract.input_gradient(value.sum(), leaf)
            if step == 0:
                contract.warn_if_zero(gradient)
            average = decay * average + _of_unit_mean(gradient)
            x = ball.step(leaf.detach(), average, size)
            if progress is not None:
                progress(step + 1, steps)
        return torch.empty_like(images).copy_(finish(ball, x))


def _of_unit_mean(gradient: Tensor) -> Tensor:
    """The gradient (N, ...) over the mean of its magnitudes, which is their L1 norm up to a constant.

    Divided by the largest magnitude first, so that no sum leaves the numbers of float32.
    """
    axes = tuple(range(1, gradient.ndim))
    largest = gradient.abs().amax(axes, keepdim=True)
    scaled = gradient / torch.where(largest > 0, largest, 1)
    mean = scaled.abs().mean(axes, keepdim=True)
    return scaled / torch.where(mean > 0, mean, 1)
