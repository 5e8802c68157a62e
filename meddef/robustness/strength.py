"""Is the attack strong enough? Against weaker attacks, larger radii, more effort, and other models."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from meddef.robustness.check_result import Outcome
from meddef.robustness.comparison import clearly_more, few, not_beaten
from meddef.robustness.evidence import Evidence
from meddef.statistics import Proportion

RADII = (0.25, 0.5, 1.0, 2.0)  # times eps
WEAKER = 0.15  # tolerated lead of a stronger attack, as a share of the images
GREY = 0.5  # the radius at which every image can become uniform grey


def iterative_beats_single_step(evidence: Evidence) -> Outcome:
    """The attack under test against FGSM at the same eps."""
    return not_beaten(evidence.single_step.fooled, evidence.result.fooled, ("FGSM", "the attack"))


def rises_with_epsilon(evidence: Evidence) -> Outcome:
    """No significant drop in successes from one radius to the next larger one."""
    radii = sorted({min(factor * evidence.eps, 1.0) for factor in RADII})
    broken = [(evidence.result if eps == evidence.eps else evidence.at(eps)).fooled for eps in radii]
    numbers = {f"broken_at_{eps:.4g}": int(fooled.sum()) for eps, fooled in zip(radii, broken, strict=True)}
    steps = [
        not_beaten(smaller, larger, ("the smaller", "the larger")) for smaller, larger in pairwise(broken)
    ]
    series = ", ".join(f"{int(fooled.sum())} at {eps:.4g}" for eps, fooled in zip(radii, broken, strict=True))
    detail = f"Of {len(evidence.x)} images the attack fools the model on {series}."
    return Outcome(all(step.passes for step in steps), {"images": len(evidence.x)} | numbers, detail)


def everything_falls(evidence: Evidence) -> Outcome:
    """With an unlimited budget, the attack succeeds on every image."""
    resisting = int((~(evidence.at(1.0).fooled | evidence.result.fooled)).sum())
    return few(resisting, len(evidence.x), "resist at ε = 1, where every image is allowed")


def chance_at_large_epsilon(evidence: Evidence) -> Outcome:
    """At eps 0.5, where all images can become the same grey one, accuracy is at most the largest class's share."""
    right = Proportion(int((~evidence.at(GREY).fooled).sum()), len(evidence.labels))
    share = largest_share(evidence.labels)
    numbers = {"images": right.n, "right": right.hits, "accuracy": right.value, "largest_class": share}
    detail = (
        f"At ε = {GREY}, {right.hits} of {right.n} images are still correct ({right.value:.0%}); one class "
        f"for all, which grey images get, is correct for at most {share:.0%}."
    )
    return Outcome(right.interval[0] <= share, numbers, detail)


def converged(evidence: Evidence) -> Outcome:
    """More steps, restarts and another loss succeed on few images that resisted the attack under test."""
    fresh = int(evidence.falls_to_more.sum())
    steps, restarts = evidence.budget.strong_steps, evidence.budget.restarts
    spent = f"{steps} steps and {restarts} restart{'s' * (restarts != 1)}"
    words = f"resist the attack, but not PGD on the margin with {spent}"
    return few(fresh, len(evidence.x), words, share=WEAKER)


def noise_does_little(evidence: Evidence) -> Outcome:
    """Random signs of size eps succeed on at most half as many images as the attack, or hardly any; or the attack on
    all."""
    by_noise, by_attack = int(evidence.random.fooled.sum()), int(evidence.result.fooled.sum())
    n = len(evidence.x)
    numbers = {"images": n, "broken_by_noise": by_noise, "broken_by_attack": by_attack}
    detail = f"Random signs of the same size fool the model on {by_noise} of {n} images, the attack on {by_attack}."
    hardly_any = few(by_noise, n, "").passes
    nothing_left = few(n - by_attack, n, "").passes
    return Outcome(hardly_any or nothing_left or 2 * by_noise <= by_attack, numbers, detail)


def gradient_free_does_not_win(evidence: Evidence) -> Outcome:
    """The square attack, which needs no gradient, against the attack under test."""
    return not_beaten(evidence.gradient_free.fooled, evidence.result.fooled, ("Square", "the attack"))


def worst_case_is_near(evidence: Evidence) -> Outcome:
    """Example by example, all attacks together find few more than the attack: the ensemble of PGD, APGD, FAB and
    Square; FGSM; PGD with more effort; transfer where there is a twin."""
    tried = [evidence.result, evidence.single_step, evidence.gradient_free]
    tried += [evidence.transferred] if evidence.twin is not None else []
    fallen = [*(result.fooled for result in tried), evidence.falls_to_more]
    worst = torch.stack(fallen).any(0)
    worst |= evidence.falls(evidence.worst_attack, ~worst)  # last, on what is left: it takes longest
    fresh, n = int((worst & ~evidence.result.fooled).sum()), len(evidence.x)
    numbers = {
        "images": n,
        "broken_by_attack": int(evidence.result.fooled.sum()),
        "broken_by_any": int(worst.sum()),
        "robust_accuracy": (n - int(worst.sum())) / len(evidence.labels),
    }
    detail = (
        f"The attack succeeds on {numbers['broken_by_attack']} of {n} images, any of {len(fallen) + 1} attacks on "
        f"{numbers['broken_by_any']}; robust accuracy in the worst case is {numbers['robust_accuracy']:.0%} of "
        f"{len(evidence.labels)}."
    )
    return Outcome(not clearly_more(fresh, n, WEAKER), numbers, detail)


def transfer_does_not_win(evidence: Evidence) -> Outcome:
    """Images made on the undefended twin against the attack on the model itself."""
    return not_beaten(
        evidence.transferred.fooled, evidence.result.fooled, ("transfer from the twin", "the attack")
    )


def twin_falls(evidence: Evidence) -> Outcome:
    """The same attack works on a model without defence: more effort breaks little more of the twin."""
    twin = evidence.twin
    assert twin is not None
    right = evidence.answer(twin, evidence.x).argmax(1) == evidence.y
    broken = right & evidence.of_twin.fooled
    fresh = evidence.falls(evidence.strong_attack, right & ~broken, model=twin)
    numbers = {
        "images": int(right.sum()),
        "twin_broken": int(broken.sum()),
        "twin_broken_by_more": int((broken | fresh).sum()),
        "model_broken": int(evidence.result.fooled.sum()),
    }
    detail = (
        f"Of {numbers['images']} images that the undefended twin classifies correctly, the attack succeeds on "
        f"{numbers['twin_broken']}, with more effort {numbers['twin_broken_by_more']}; of the model's "
        f"{len(evidence.x)} it succeeds on {numbers['model_broken']}."
    )
    return Outcome(not clearly_more(int(fresh.sum()), int(right.sum()), WEAKER), numbers, detail)


def largest_share(labels: Tensor) -> float:
    """Share of the most frequent class: the accuracy of the constant classifier."""
    return int(labels.bincount().max()) / len(labels)
