"""The checks of the report in order, with requirements, references and other explanations of a FAIL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meddef.errors import InputError
from meddef.robustness import class_prior, gradients, indicators, planted, strength
from meddef.robustness.check_result import CheckResult, CheckVerdict, Outcome
from meddef.robustness.evidence import Evidence

CARLINI = "Carlini et al. 2019, arXiv 1902.06705"
ATHALYE = "Athalye et al. 2018, arXiv 1802.00420"
MADRY = "Madry et al. 2018, arXiv 1706.06083"
CROCE = "Croce & Hein 2020, arXiv 2003.01690"
PINTOR = "Pintor et al. 2022, arXiv 2106.09947"
ZIMMERMANN = "Zimmermann et al. 2022, arXiv 2206.13991"
LEAST = 8  # correct images; fewer cannot make a paired comparison significant


@dataclass(frozen=True)
class Check:
    """One check, named by its function; ``needs`` lists requirements without which it is N-A."""

    function: Callable[[Evidence], Outcome]
    source: str
    also: str
    needs: tuple[str, ...] = ("images", "gradient")

    @property
    def name(self) -> str:
        return self.function.__name__


CHECKS = (
    Check(class_prior.better_than_one_class, CARLINI, "too few images, or a model that is poor but not collapsed", ()),
    Check(gradients.deterministic, PINTOR, "a defence that is random by design: attack its average", ()),
    Check(gradients.gradient_exists, ATHALYE, "a task that a flat model solves, within eps", ("images",)),
    Check(gradients.gradient_does_not_vanish, CARLINI, "logits of large scale: the margin as loss helps"),
    Check(gradients.gradient_agrees, ATHALYE, "many kinks within a small step, as in a very rough model"),
    Check(gradients.gradient_beats_random_directions, CARLINI, "a loss that curves within eps"),
    Check(indicators.attack_stays_in_bounds, CARLINI, "an attack for another norm or another range of pixels"),
    Check(indicators.attack_moves, PINTOR, "an attack that gives the image back where it does not succeed"),
    Check(indicators.attack_reaches, MADRY, "a gradient that is zero, along which there is no step"),
    Check(indicators.loss_rises, PINTOR, "steps that overshoot: a smaller step helps"),
    Check(indicators.success_is_returned, PINTOR, "an attack that returns its last iterate by design"),
    Check(strength.iterative_beats_single_step, ATHALYE, "too large a step or too few steps"),
    Check(strength.rises_with_epsilon, CARLINI, "a step size that does not suit the larger radius"),
    Check(strength.everything_falls, CARLINI, "too few steps for so large a radius"),
    Check(strength.chance_at_large_epsilon, ATHALYE, "too few steps for so large a radius"),
    Check(strength.converged, CARLINI, "a budget that was too small for this model"),
    Check(strength.noise_does_little, CARLINI, "a model that random noise fools as well: it is not robust at all"),
    Check(strength.gradient_free_does_not_win, ATHALYE, "too few steps of the attack"),
    Check(strength.worst_case_is_near, CROCE, "an attack that is weak without being wrong: report the worst case"),
    Check(planted.finds_planted, ZIMMERMANN, "too few steps, or features that do not separate the planted corner"),
    Check(strength.transfer_does_not_win, ATHALYE, "too few steps", ("images", "gradient", "twin")),
    Check(strength.twin_falls, CARLINI, "an eps that is too small for any model", ("images", "gradient", "twin")),
)  # fmt: skip


def run_check(check: Check, evidence: Evidence) -> CheckResult:
    """The result; N-A where a requirement is missing or the check failed to run."""
    for need in check.needs:
        if reason := _missing(need, evidence):
            return CheckResult(check.name, "N-A", {}, reason, check.also, check.source)
    try:
        found = check.function(evidence)
    except InputError:
        raise
    except Exception as error:  # only this check is lost
        if not check.needs:  # it needs only the model's outputs, as everything else does
            raise
        first = (str(error).strip().splitlines() or ["no message"])[0]
        told = f"The check could not be made ({type(error).__name__}): {first[:200]}"
        return CheckResult(check.name, "N-A", {}, told, check.also, check.source)
    verdict: CheckVerdict = "N-A" if found.passes is None else "PASS" if found.passes else "FAIL"
    return CheckResult(check.name, verdict, found.numbers, found.detail, check.also, check.source)


def _missing(need: str, evidence: Evidence) -> str:
    """Why a check cannot be done, or nothing."""
    if need == "images" and len(evidence.x) < LEAST:
        return f"The model classifies {len(evidence.x)} images correctly; {LEAST} are needed."
    if need == "gradient" and evidence.gradient is None:
        return "The model gives no finite gradient to its input, which gradient attacks need."
    if need == "twin" and evidence.twin is None:
        return "No undefended twin was given."
    return ""
