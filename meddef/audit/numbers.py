"""All findings about the published numbers: attainability, consistency, and the claims ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from meddef.claims.ledger import decides, printed_findings
from meddef.printed import asr, attainability, best_marks, bim_vs_pgd, class_prior, counts, sanity_checks
from meddef.printed.finding import Finding
from meddef.printed.measured import largest_gap, published_records
from meddef.printed.published import Published

# By the first part of a finding's id: the function that yields such findings.
CHECKS: dict[str, Callable[..., Any]] = {
    "group": attainability.groups,
    "asr_row": asr.rows,
    "asr_of_table5": asr.comparison,
    "bold": best_marks.groups,
    "bim_and_pgd": bim_vs_pgd.bim_and_pgd,
    "iterative_beats_single_step": sanity_checks.iterative_beats_single_step,
    "above_clean": sanity_checks.above_clean,
    "rises_with_epsilon": sanity_checks.rises_with_epsilon,
    "clean_repeats": sanity_checks.clean_repeats,
    "jsma_ignores_epsilon": sanity_checks.jsma_ignores_epsilon,
    "clean_above_prior": class_prior.clean_above_prior,
    "repeated_value": class_prior.repeated_value,
    "some_attack_succeeds": class_prior.some_attack_succeeds,
    "splits": counts.splits,
    "classes": counts.splits,
    "duplicates": counts.duplicates,
    "confusion": counts.confusion,
    "percentage": counts.confusion,
    "confusion_accuracy": counts.confusion,
    "parameters": counts.parameters,
    "parameters_order": counts.parameters,
    "claim": printed_findings,
    "attainable": attainability.cells,
}

# The question of each check, as in the book.
QUESTIONS = {
    "group": "all accuracies of a model, a table or a dataset are k/n for the stated test set",
    "asr_row": "the success rates of one row share a denominator no larger than the test set",
    "asr_of_table5": "Table 5's success rate is k out of the images that were correct before the attack",
    "bold": "bold marks the values that the caption states",
    "bim_and_pgd": "BIM and PGD, which differ in the random start, are no further apart than two samples of n images",
    "iterative_beats_single_step": "accuracy under BIM and PGD is no higher than under FGSM, which takes one step",
    "above_clean": "accuracy under attack is no higher than clean accuracy",
    "rises_with_epsilon": "accuracy does not rise as ε grows",
    "clean_repeats": "clean accuracy, printed once for each ε, is the same each time",
    "jsma_ignores_epsilon": "JSMA, whose settings have no ε, gives the same accuracy at each",
    "clean_above_prior": "clean accuracy is not that of the constant classifier",
    "repeated_value": "the most frequent accuracy of a table belongs to one model only",
    "some_attack_succeeds": "some attack of the row succeeds; against a constant model none can",
    "splits": "the splits sum to the stated total",
    "classes": "the classes of a split sum to it",
    "duplicates": "the totals before and after the removal of duplicates agree",
    "confusion": "the entries of a confusion matrix sum to their class",
    "percentage": "a percentage agrees with its counts",
    "confusion_accuracy": "the confusion matrix gives the accuracy of the table",
    "parameters": "the models for two and four classes differ only in the outputs of the last layer",
    "parameters_order": "a model with more components has more parameters",
    "claim": "the tables agree with the sentence or caption",
    "attainable": "the percentage is k/n at the tested size",
}


def findings(published: Published | None = None, *, results: Path | None = None) -> list[Finding]:
    """Every finding, in the order consistency, claims, attainability.

    published: the numbers to audit; the paper's if None.
    results: folder of this project's records, whose largest gap between BIM and PGD is reported beside the paper's.
    """
    published = published or Published()
    told = largest_gap(published_records(results), published.protocol["attacks"]["pgd"]) if results else ""
    pair = partial(bim_vs_pgd.bim_and_pgd, measured=told)
    functions = [pair if f is bim_vs_pgd.bim_and_pgd else f for f in dict.fromkeys(CHECKS.values())] + [
        attainability.text
    ]
    found = list(chain.from_iterable(function(published) for function in functions))
    order = ["consistency", "claim", "attainability"]
    return sorted(found, key=lambda finding: order.index(finding.kind))


def decided_by(finding: Finding) -> Callable[..., Any]:
    """The function or class that gave the finding its verdict, for a link to the code."""
    check, _, name = finding.id.partition(":")
    if check == "claim":
        return decides(name)
    return CHECKS[check]
