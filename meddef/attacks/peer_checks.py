"""Checks before and after a peer's attack, so that its results are valid."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meddef.attacks import contract, reach
from meddef.attacks.balls import NORMS
from meddef.errors import InputError

ART_NORMS = {  # what a class of ART without a parameter `norm` bounds or minimises
    "BasicIterativeMethod": "linf",
    "BoundaryAttack": "l2",
    "CarliniL0Method": "l0",
    "CarliniL2Method": "l2",
    "CarliniLInfMethod": "linf",
    "DeepFool": "l2",
    "ElasticNet": "l1",
    "NewtonFool": "l2",
    "SaliencyMapMethod": "l0",
}
SPELLINGS = {"linf": "linf", "l2": "l2", np.inf: "linf", "inf": "linf", 2: "l2", "2": "l2"}


def checked_norm(norm: object) -> str:
    """ "linf" or "l2", however it was spelled (ART writes inf and 2).

    Raises:
        InputError: any other norm.
    """
    known = SPELLINGS.get(norm) if isinstance(norm, str | int | float) else None
    if known is None:
        raise InputError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")
    return known


def check_norm(name: str, bounded: str | None, norm: str) -> None:
    """Refuse a peer that bounds another norm than the required one, or an unknown one."""
    if bounded is None:
        raise InputError(
            f"the norm that {name} bounds is unknown: leave eps out, the result is clamped to [0, 1]"
        )
    if bounded != norm:
        remedy = f"say norm={bounded!r}" if bounded in NORMS else "leave eps out, or use another attack"
        raise InputError(f"{name} bounds the {bounded} norm, and eps was given for {norm}: {remedy}")


def check_steps(name: str, eps: float, step: float, steps: int, *, random_start: bool) -> None:
    """Refuse an L-infinity step beyond the ball; ``ShortReachWarning`` where the steps do not cross it.

    Raises:
        InputError: the step is larger than ``eps``, as ART's default of 0.1 mostly is.
    """
    if step > eps * (1 + 1e-6):
        raise InputError(
            f"{name} takes steps of {step:.4g} with eps = {eps:.4g}: give a step size of at most eps, "
            f"such as {reach.step_size(eps, steps):.4g}"
        )
    reach.warn_if_short(eps, step, steps, random_start=random_start)


def with_defaults(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a class and what they are: as given, else the default."""
    parameters = inspect.signature(kind).parameters.values()
    return {
        p.name: given.get(p.name, p.default) for p in parameters if p.default is not inspect.Parameter.empty
    }


@contextmanager
def own_errors(name: str) -> Iterator[None]:
    """Report an error inside a peer in one line that names the peer."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise InputError(f"{name} failed ({type(error).__name__}): {first}") from error


def check_found(name: str, found: object, clean: Tensor, right: Tensor) -> Tensor:
    """Refuse an invalid result: another shape, NaN, or unchanged correctly classified images.

    Args:
        found: what the peer returned for ``clean`` (N, C, H, W).
        right: (N,), which images were classified correctly before.

    Raises:
        InputError: one line. A bit-identical image would count as robust without evidence.
    """
    if not isinstance(found, Tensor) or found.shape != clean.shape:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(
            f"{name} returned {got}, not images of shape {tuple(clean.shape)}: it is no attack of this kind"
        )
    if not bool((finite := torch.isfinite(found)).all()):
        raise InputError(f"{name} returned NaN or infinite pixels for image {contract.first_bad(finite)}")
    untouched = int((right & (found == clean).flatten(1).all(1)).sum())
    if untouched:
        raise InputError(
            f"{name} left {untouched} of {int(right.sum())} correctly classified images exactly as they were: it found "
            "no start or no gradient, which is no evidence of robustness; give it more tries, or use another attack"
        )
    return found
