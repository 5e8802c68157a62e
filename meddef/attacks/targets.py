"""Whether the labels given to an attack are the true classes (untargeted) or target classes.

An attack that takes the true classes as targets makes correct predictions more confident: all images would count as
robust.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from meddef.errors import InputError

REMEDY = "leave targeted out, or give evaluate targets="
_TRUE: ContextVar[tuple[Tensor, Tensor] | None] = ContextVar("true classes", default=None)


def is_targeted(attack: Callable[..., Any]) -> bool:
    """Whether ``attack`` declares its labels as targets: a setting bound by ``partial``, a default of its function or
    (ART) class, or an attribute ``targeted``. A lambda cannot declare it."""
    bound: dict[str, Any] = {}
    while isinstance(attack, partial):
        bound = {**attack.keywords, **bound}
        attack = attack.func
    if "targeted" in bound:
        return bool(bound["targeted"])
    if getattr(attack, "__name__", "") == "art_attack":
        return _of_art(str(bound.get("attack")))
    sayers = (attack, getattr(attack, "__self__", None))  # of a method: the object it belongs to
    return any(getattr(one, "targeted", False) is True for one in sayers) or _default(attack)


def check_untargeted(attack: Callable[..., Any]) -> None:
    """Refuse an attack that would take the true classes as targets."""
    if is_targeted(attack):
        raise InputError(f"the attack is targeted and would take the true classes as its targets: {REMEDY}")


@contextmanager
def true_classes(images: Tensor, labels: Tensor | None) -> Iterator[None]:
    """Inside, a targeted attack of this package that gets ``labels`` (N,) as targets is refused; None: none.

    Subsets of the ``images`` (N, ...) are recognised too, in any order.
    """
    token = _TRUE.set(None if labels is None else (images, labels))
    try:
        yield
    finally:
        _TRUE.reset(token)


def check_targets(images: Tensor, targets: Tensor) -> None:
    """Refuse targets (N,) that are the true classes of the images (N, ...) under evaluation."""
    true = _TRUE.get()
    if (
        true is None
        or not isinstance(targets, Tensor)
        or not len(images)
        or images.shape[1:] != true[0].shape[1:]
    ):
        return
    clean, labels = true[0].to(images), true[1].to(targets)
    same = labels.shape == targets.shape and torch.equal(labels, targets)
    if same or all(_is_one(clean, labels, x, y) for x, y in zip(images, targets, strict=False)):
        raise InputError(f"the attack was given the true classes as its targets: {REMEDY}")


def _is_one(clean: Tensor, labels: Tensor, image: Tensor, target: Tensor) -> bool:
    """Whether ``image`` is one of ``clean`` (N, ...) bit for bit, and ``target`` its label."""
    own = labels[(clean == image).flatten(1).all(1)]
    return bool(len(own) and (own == target).all())


def _of_art(name: str) -> bool:
    """ART's BoundaryAttack, SignOPTAttack and AdversarialPatch are targeted unless told otherwise."""
    from meddef.attacks.peers import _peer

    kind = getattr(_peer("art.attacks.evasion"), name, None)
    return (
        name != "SaliencyMapMethod" and kind is not None and (_default(kind) or name.startswith("Targeted"))
    )


def _default(function: Callable[..., Any]) -> bool:
    try:
        known = signature(function).parameters.get("targeted")
    except (TypeError, ValueError):  # written in C
        return False
    return known is not None and known.default is not Parameter.empty and known.default is True
