"""Reach of iterative attacks, and the single rule for their step size.

An L-infinity attack of ``steps`` steps moves a pixel by steps x step size at most. From the image it needs eps to get
to the boundary of the ball; from a random start, up to 2 eps. An attack that cannot reach it is weaker than its nominal
eps, and robustness measured (or trained) with it is overstated.
"""

from __future__ import annotations

from meddef.attacks import contract
from meddef.caller_warnings import warn
from meddef.errors import InputError

PAPER_STEP = 0.01
"""Step size of the paper's PGD and BIM at test time, pixel units; made for 40 steps at eps of .05 and .10."""
STEP_DIVISOR = 4
"""Largest step, as a share of eps: 2/255 at 8/255 (Madry et al. 2018). Coarser steps cannot settle inside the ball."""
REACH = 2.5
"""Sum of all steps, in eps, where the paper's step does not reach (Madry et al. 2018 take 2.5 eps in 100 steps)."""
_ROUNDING = 1e-6


class ShortReachWarning(UserWarning):
    """The steps of an attack do not add up to the distance needed to reach every point of the ball."""


def needed(eps: float, *, random_start: bool) -> float:
    """Sum of all steps that gets from the start to every point of the ball, pixel units."""
    return (2 if random_start else 1) * eps


def shortfall(eps: float, step_size: float, steps: int, *, random_start: bool) -> str:
    """The shortfall, in words; empty if steps x step_size reaches the edge of the ball.

    Raises:
        InputError: fewer steps than one.
    """
    contract.check_at_least(steps, 1, "steps")
    reach, need = steps * step_size, needed(eps, random_start=random_start)
    if reach >= need * (1 - _ROUNDING):
        return ""
    start = "from a random start " if random_start else ""
    return (
        f"{steps} steps of {step_size:.4g} reach {reach:.4g}, and ε = {eps:.4g} {start}takes {need:.4g}: "
        f"use {steps} steps of at least {need / steps:.4g}"
    )


def step_size(eps: float, steps: int, *, paper_step: float = PAPER_STEP) -> float:
    """The step of a training or test attack of ``steps`` steps at ``eps``, pixel units.

    ``paper_step``, but at most eps / 4, where it reaches from a random start (the sum of all steps is at least 2 eps);
    else 2.5 eps / steps. At eps of .05 and .10, with the paper's 40 steps, this is the paper's own step. At 4/255 that
    step would be two thirds of eps, and finds fewer adversarial examples than one of 1/255.

    >>> step_size(0.05, 40)
    0.01
    >>> step_size(0.02, 40)
    0.005
    >>> step_size(0.05, 5)
    0.025

    Raises:
        InputError: ``eps`` is negative or no number, fewer steps than one.
    """
    if not 0 <= eps < float("inf"):
        raise InputError(f"eps must be finite and at least 0, got {eps}")
    step = min(paper_step, eps / STEP_DIVISOR)
    reaches = not shortfall(eps, step, steps, random_start=True)
    return step if reaches else REACH * eps / steps


def coarseness(eps: float, step_size: float, steps: int) -> str:
    """In words, where several steps of at least 2 eps each follow one another; else empty."""
    if steps < 2 or not step_size >= needed(eps, random_start=True) > 0:
        return ""
    return (
        f"steps of {step_size:.4g} cross the whole ball of ε = {eps:.4g}: every iterate is a corner of it, and the "
        f"attack is weaker than it could be; take steps of about {eps / STEP_DIVISOR:.4g}"
    )


def warn_if_short(eps: float, step_size: float, steps: int, *, random_start: bool) -> None:
    """``ShortReachWarning`` where there is a shortfall."""
    if short := shortfall(eps, step_size, steps, random_start=random_start):
        warn(f"the attack cannot reach its ε: {short}", ShortReachWarning)
