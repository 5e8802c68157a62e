"""Transfer: examples made on one model, the source, and judged on another (Papernot et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.options import check_options, with_step_size
from meddef.attacks.registry import ATTACKS
from meddef.errors import InputError
from meddef.module_state import evaluating


def transfer(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    source: nn.Module,
    attack: str | Callable[..., Tensor] = "pgd",
    **settings: Any,
) -> Tensor:
    """Examples that ``attack`` makes on ``source``, for an attacker who cannot see ``model``.

    Source: Papernot et al. 2016, https://arxiv.org/abs/1605.07277. An attack that stops as soon as the source is fooled
    (``stop="first"``, apgd, fab, cw, ensemble) ends at the source's boundary and transfers less than one that goes on.
    Survival of a transfer attack is no evidence against an attacker who sees the model.

    Args:
        model: the model that is to be judged, images (N, C, H, W) in [0, 1] to logits (N, K). It is asked once, for
            its number of classes, and left unchanged.
        images: (N, C, H, W), floating point, in [0, 1].
        labels: (N,), the true classes or, with ``targeted=True``, the target classes.
        source: the attacker's model, of the same K classes in the same order; left unchanged.
        attack: a name in ``ATTACKS``, or a function ``(model, images, labels, **settings) -> images``.
        settings: of the attack, ``eps`` among them. Of a named attack those left out are its defaults, and the step
            size reaches ``eps``.

    Returns:
        What the attack returns, images (N, C, H, W) within its bounds.

    Raises:
        InputError: invalid input, an unknown attack or setting, a source of other classes, whatever the attack refuses.

    >>> evaluate(model, loader, partial(transfer, source=other, attack="mifgsm", eps=8 / 255))  # doctest: +SKIP
    """
    labels = contract.check_batch(model, images, labels)
    if not isinstance(source, nn.Module):
        raise InputError(f"source must be a torch.nn.Module, got {type(source).__name__}")
    bound = _named(attack, settings) if isinstance(attack, str) else partial(attack, **settings)
    if len(images):
        _check_classes(model, source, images)
    with evaluating(source):
        return bound(source, images, labels)


def _named(attack: str, settings: dict[str, Any]) -> Callable[..., Tensor]:
    if attack not in ATTACKS:
        raise InputError(f"unknown attack '{attack}': use one of {', '.join(ATTACKS)}, or a function")
    apart = {
        name: settings[name] for name in ("eps", "targeted", "seed", "generator", "loss") if name in settings
    }
    plain = {name: value for name, value in settings.items() if name not in apart}
    check_options(attack, plain)
    eps = apart.get("eps", ATTACKS[attack].keywords.get("eps"))
    reaching = with_step_size(attack, plain, float(eps)) if isinstance(eps, int | float) else plain
    return partial(ATTACKS[attack], **reaching, **apart)


def _check_classes(model: nn.Module, source: nn.Module, images: Tensor) -> None:
    """Refuse a source with another number of classes than the model."""
    counts = []
    for one in (model, source):
        with contract.attacking(one, images.device), torch.no_grad():
            counts.append(contract.check_output(one(images[:1].clone()), 1).shape[1])
    if counts[0] != counts[1]:
        raise InputError(f"the source has {counts[1]} classes, the model {counts[0]}: they must be the same")
