"""Did the attack fail rather than the model resist? Indicators of one run (Pintor et al. 2022)."""

from __future__ import annotations

from meddef.attacks.losses import margin
from meddef.robustness.check_result import Outcome
from meddef.robustness.comparison import few
from meddef.robustness.evidence import Evidence
from meddef.robustness.recorder import ROUNDING

STILL = 0.1  # of eps: smaller changes count as none
MAY_FALL = 0.1  # share of the images: cross-entropy may rise where the margin does not
CROSSED = 0.95  # of the way to the far boundary: nearly all, as no pixel starts exactly at a boundary


def attack_stays_in_bounds(evidence: Evidence) -> Outcome:
    """Returned images lie within eps of theirs and in [0, 1]."""
    found = evidence.result.images
    far = (found - evidence.x).abs().flatten(1).amax(1) > evidence.eps + ROUNDING
    outside = ((found < -ROUNDING) | (found > 1 + ROUNDING)).flatten(1).any(1)
    return few(
        int((far | outside).sum()), len(evidence.x), "were returned outside the ball or [0, 1]", share=0
    )


def attack_moves(evidence: Evidence) -> Outcome:
    """Images that resist were changed at all."""
    change = (evidence.result.images - evidence.x).abs().flatten(1).amax(1)
    still = int(((change < STILL * evidence.eps) & ~evidence.result.fooled).sum())
    return few(still, len(evidence.x), f"resist and were moved by less than {STILL:g} ε")


def attack_reaches(evidence: Evidence) -> Outcome:
    """The steps on images that resist add up to eps from the image, 2 eps from elsewhere in the ball: less cannot reach
    every corner. A jump between restarts counts as a step."""
    result, seen = evidence.attacked
    needed = CROSSED * evidence.eps * (1 + seen.away.to(seen.way))
    short = int(((seen.way < needed) & ~result.fooled).sum())
    words = "resist and were moved by steps that add up to less than ε, or 2 ε from a random start"
    return few(short, len(evidence.x), words)


def loss_rises(evidence: Evidence) -> Outcome:
    """Images that resist have a smaller margin than before."""
    before = margin(evidence.answer(evidence.model, evidence.x), evidence.y)
    fallen = int(((evidence.result.margin <= before) & ~evidence.result.fooled).sum())
    return few(
        fallen, len(evidence.x), "resist and have a margin no larger than before the attack", share=MAY_FALL
    )


def success_is_returned(evidence: Evidence) -> Outcome:
    """Where an iterate within eps fooled the model, the returned image does."""
    result, seen = evidence.attacked
    lost = int((seen.fooled & ~result.fooled).sum())
    return few(lost, len(evidence.x), "had an adversarial example on the way, which was not returned")
