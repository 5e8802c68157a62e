"""``robustness_report``: is a model's robustness real, or did the attack fail?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.targets import check_untargeted
from meddef.errors import InputError
from meddef.evaluation.coupling import warn_if_coupled
from meddef.module_state import evaluating
from meddef.robustness.check_result import CheckResult
from meddef.robustness.evidence import BUDGETS, CHUNK, Attack, Evidence
from meddef.robustness.registry import CHECKS, LEAST, run_check


def robustness_report(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    eps: float,
    norm: str = "linf",
    budget: str = "quick",
    attack: Attack | None = None,
    twin: nn.Module | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[CheckResult]:
    """Checks with PASS, FAIL or N-A and the numbers behind each; see ``meddef.robustness.registry`` for their sources.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K); run in evaluation mode and restored afterwards,
            module by module, as is the twin.
        loader: batches of (images float (N, C, H, W) in [0, 1], labels int (N,)) on the model's device; the first 24
            ("brief"), 64 ("quick") or 256 ("standard") images are used, attacks run on those classified correctly. With
            24, only gross faults show.
        eps: radius in pixel units, above 0 and at most 1.
        norm: "linf", the only one common to the attacks.
        budget: "brief", "quick" or "standard", see ``meddef.robustness.evidence.BUDGETS``.
        attack: the attack under test, untargeted, ``attack(model, images, labels, eps=eps) -> images``; None is PGD.
        twin: the same model trained without a defence; None leaves its checks N-A.
        progress: called with (checks done, total checks).

    Warns:
        CoupledBatchWarning: the model's logits for an image depend on the other images of its batch.

    Raises:
        Exception: any error of the model or the attack under test; an error in another check makes it N-A.
        InputError: unknown norm or budget, eps out of range, no image, invalid images or labels, NaN or infinite
            logits, a targeted attack.
    """
    contract.check_choice(norm, ("linf",), "norm")
    contract.check_choice(budget, tuple(BUDGETS), "budget")
    if not 0 < eps <= 1:
        raise InputError(f"eps must be above 0 and at most 1 (pixels are in [0, 1]), got {eps}")
    models = [model] if twin is None else [model, twin]
    for one in models:
        if not isinstance(one, nn.Module):
            raise InputError(f"model and twin must be a torch.nn.Module, got {type(one).__name__}")
    if attack is not None:
        check_untargeted(attack)
    device = next((parameter.device for one in models for parameter in one.parameters()), torch.device("cpu"))
    items = []
    with evaluating(*models), contract.attacking(model, device):
        evidence = Evidence(model, loader, eps=eps, budget=BUDGETS[budget], attack=attack, twin=twin)
        if attack is not None and len(evidence.x) >= LEAST and evidence.gradient is not None:
            evidence.attacked  # noqa: B018 - what it raises is the caller's to know, once
        for check in CHECKS:
            items.append(run_check(check, evidence))
            if progress is not None:
                progress(len(items), len(CHECKS))
        warn_if_coupled(model, evidence.images[:CHUNK], evidence.labels[:CHUNK])
    return items
