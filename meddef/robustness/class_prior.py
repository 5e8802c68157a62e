"""Is there anything to attack? Clean accuracy against the constant classifier."""

from __future__ import annotations

from meddef.robustness.check_result import Outcome
from meddef.robustness.evidence import Evidence
from meddef.robustness.strength import largest_share
from meddef.statistics import Proportion


def better_than_one_class(evidence: Evidence) -> Outcome:
    """Clean accuracy is above the share of the largest class, by more than chance.

    It cannot be told where it is above by less, or where a loader that is not shuffled gave one class alone.
    """
    right = Proportion(len(evidence.x), len(evidence.labels))
    share = largest_share(evidence.labels)
    answers = int(evidence.logits.argmax(1).unique().numel())
    numbers = {
        "images": right.n,
        "accuracy": right.value,
        "largest_class": share,
        "classes_answered": answers,
    }
    told = "one class for all of them" if answers == 1 else f"{answers} different classes"
    detail = (
        f"Clean accuracy is {right.hits}/{right.n} = {right.value:.0%} (95 % from {right.interval[0]:.0%}); always the "
        f"largest class gives {share:.0%}. The model predicts {told}."
    )
    if share == 1 and evidence.cut:
        return Outcome(None, numbers, f"{detail} All images are of one class: shuffle the loader.")
    if answers == 1 or right.value <= share:
        return Outcome(False, numbers, detail)
    if right.interval[0] <= share:
        return Outcome(None, numbers, f"{detail} So few images do not tell these apart: give more.")
    return Outcome(True, numbers, detail)
