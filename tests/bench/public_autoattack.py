"""The public AutoAttack as attacks that ``meddef.attacks.ensemble.in_turn`` can run: the package pyautoattack.

That is its authors' own code (github.com/fra31/auto-attack), packed for pip: the files of its attacks differ from
theirs in import lines alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.bench import peers

PARTS = {"apgd-ce": "apgd", "apgd-t": "apgd_targeted", "fab-t": "fab", "square": "square"}
LEAST = {"apgd-t": 4}  # classes that the targeted dlr loss needs


def standard(model: nn.Module, classes: int, eps: float, seed: int = 0) -> dict[str, Callable[..., Tensor]]:
    """The attacks of the standard version for ``model``, in its order; those that ``classes`` cannot have are left out.

    Targets are as many as the standard has, nine, or all other classes where these are fewer. Raises ImportError
    without the package.
    """
    suite = _suite(model, eps, seed)
    for part in (suite.apgd_targeted, suite.fab):
        part.n_target_classes = min(part.n_target_classes, classes - 1)
    suite.apgd.loss, suite.fab.targeted = "ce", True
    names = [name for name in suite.attacks_to_run if classes >= LEAST.get(name, 2)]
    return {name: partial(_perturb, getattr(suite, PARTS[name]), seed) for name in names}


def budget() -> dict[str, dict[str, int]]:
    """Attack -> steps, restarts, targets and queries of the standard version, as its own objects have them."""
    suite = _suite(nn.Flatten(), 0.1, 0)
    names = {
        "n_iter": "steps",
        "n_restarts": "restarts",
        "n_target_classes": "targets",
        "n_queries": "queries",
    }
    parts = {name: vars(getattr(suite, PARTS[name])) for name in suite.attacks_to_run}
    return {
        name: {ours: part[theirs] for theirs, ours in names.items() if theirs in part}
        for name, part in parts.items()
    }


def _suite(model: nn.Module, eps: float, seed: int) -> Any:
    package = peers.load("pyautoattack")
    if package is None:
        raise ImportError("pyautoattack is not installed: make .bench/.ready, then PYTHONPATH=.bench")
    return package.AutoAttack(model, norm="Linf", eps=eps, seed=seed, version="standard", device="cpu")


def _perturb(part: Any, fixed: int, model: nn.Module, images: Tensor, labels: Tensor, **_: object) -> Tensor:
    """Model and ε are those it was made for; its seed sets the global generator, which is put back."""
    part.seed = fixed
    with torch.random.fork_rng():
        found: Tensor = part.perturb(images.clone(), labels.clone())
    return found
