"""The front page: a figure, what it was measured on, the score of the paper's claims, three findings."""

from __future__ import annotations

from collections.abc import Sequence

from meddef.claims.verdicts import REPRODUCED, VERDICTS, Score
from meddef.figures import published
from meddef.figures.front import ALT, front
from meddef.printed import grim
from meddef.printed.attainability import model_values
from meddef.printed.published import DEFENDED, EPSILON_TABLE, Published
from meddef.report import controls
from meddef.report.display import budget, in_words, place
from meddef.report.headline import BUDGETS, budgets, constant, left, like_with_like
from meddef.report.labels import attack_name, model_label
from meddef.report.report import PAPER_DATASETS, Dataset, Report
from meddef.report.scope import measured_on
from meddef.report.tables_setup import short_reach

EPS = 0.05  # the budget of the paper's evaluation (Section IV-B)
OTHER_SIZES = {"chest_xray": 1114}  # a test set of which accuracies in the table are whole numbers of images
MEANINGS = {
    "mixed": "holds on some runs or readings, but not all",
    "shown absent": "smaller than the margin (equivalence test)",
    "open": "neither shown",
}


def front_page(reports: Sequence[Report], counts: Score) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``."""
    first = reports[0]
    figure = front(first)
    below = published.below(figure, stem="05_epsilon", section="epsilon", alt=ALT)
    picture = f"::::{{div}} meddef-scroll\n:::{{image}} _generated/front.svg\n:alt: {ALT}\n:::\n::::"
    return {
        "front.md": f"{picture}\n\n*{measured_on(first)}*\n\n{below}\n",
        "score.md": f"{score(counts)}\n",
        "front_findings.md": f"{three(reports)}\n",
        "front.svg": figure.svg(),
    }


def score(counts: Score) -> str:
    """The verdicts on the testable claims as cards, and what the printed numbers alone decide."""
    shown = [name for name in VERDICTS if counts.testable[name] or name == REPRODUCED]
    cards = "\n\n".join(
        f":::{{grid-item-card}} {counts.testable[name]}\n:class-card: meddef-score\n\n{name}\n:::"
        for name in shown
    )
    explained = "; ".join(
        f"*{name}*: {meaning}" for name, meaning in MEANINGS.items() if counts.testable[name]
    )
    return (
        f"Of **{counts.total} testable claims** of the paper, from our runs on the paper's own images:\n\n"
        f"::::{{grid}} 3 3 {len(shown)} {len(shown)}\n:gutter: 2\n\n{cards}\n\n::::\n\n"
        f"{explained[:1].upper()}{explained[1:]}. "
        "[Every claim with both verdicts, and the rule](results.md). Checked against the paper's own printed "
        f"numbers, {counts.printed['holds']} distinct claims hold and {counts.printed['does_not_hold']} do not "
        "([arithmetic](trust_arithmetic.md))."
    )


def three(reports: Sequence[Report]) -> str:
    """Attention against adversarial training, what the worst case leaves, and what Table 2 counts."""
    first = reports[0]
    sentences = [what_helps(reports), what_is_left(first), other_test_set(Published(), "chest_xray")]
    lines = [f"{n}. {sentence}" for n, sentence in enumerate(filter(None, sentences), start=1)]
    if short := short_reach(first):
        lines.append(f"\n**These runs are a first edition.** {short} ([Reach](definitions.md))")
    return "\n".join(lines)


def what_helps(reports: Sequence[Report]) -> str:
    """Adversarial training against the architecture, at the headline's budgets, and the range of equivalence; for the
    first report, with single trainings at other image sizes."""
    report = reports[0]
    for dataset in report.datasets:
        found = controls.effects(report, dataset, EPS)
        told = [
            f"at ε = {budget(eps)} adversarial training changes the accuracy of the full model by "
            f"{controls.judgement(each[controls.TRAINING['full']])}, replacing an equally trained ResNet18 by the "
            f"full model by {controls.judgement(each[controls.DAAM['adversarial']])}"
            for eps in BUDGETS
            if (each := found.get((controls.ATTACK, eps)))
        ]
        if told:
            return (
                f"**{headline(found)}.** {dataset.words} at {dataset.px}, under {{term}}`PGD`: "
                f"{'; '.join(told)}.{_equivalent(found)}{_other_sizes(dataset, reports[1:])}"
            )
    return ""


def _other_sizes(shown: Dataset, others: Sequence[Report]) -> str:
    """ " At 224 px, one training each, ...: no verdict." of reports on the same images at another size."""
    told = []
    for report in others:
        for dataset in report.datasets:
            if dataset.name != shown.name or dataset.px == shown.px:
                continue
            found = controls.effects(report, dataset, EPS).get((controls.ATTACK, EPS))
            if found and not (effect := found[controls.DAAM["adversarial"]]).decides:
                each = "one training" if effect.trainings == 1 else f"{effect.trainings} trainings"
                told.append(
                    f" At {dataset.px}, {each} each, the difference between the full model and ResNet18 at ε = "
                    f"{budget(EPS)} is "
                    f"{effect.words()}: no verdict."
                )
    return "".join(told)


def _equivalent(found: dict[controls.Condition, dict[str, controls.Effect]]) -> str:
    """ " On clean images and up to ε = 8/255 the two ... are shown to be ...": empty where not shown."""
    effects = {condition: each[controls.DAAM["adversarial"]] for condition, each in found.items()}
    at_eps = {
        eps: each for (attack, eps), each in effects.items() if eps is not None and attack == controls.ATTACK
    }
    shown = [eps for eps, each in at_eps.items() if each.is_equivalent]
    clean = next((each for (attack, _), each in effects.items() if attack == "clean"), None)
    if not shown or clean is None or not clean.is_equivalent:
        return ""
    margins = f"±{clean.margin:g} and ±{at_eps[max(shown)].margin:g} points"
    return (
        f" On clean images and up to ε = {budget(max(shown))} the two architectures are shown to be equally accurate "
        f"([within {margins}](definitions.md); {clean.trainings} trainings each)."
    )


def headline(found: dict[controls.Condition, dict[str, controls.Effect]]) -> str:
    """ "Training, not attention" where the first effect is significant and the second is not; else the question."""
    each = next(found[controls.ATTACK, eps] for eps in BUDGETS if (controls.ATTACK, eps) in found)
    training, attention = each[controls.TRAINING["full"]], each[controls.DAAM["adversarial"]]
    decided = training.is_clear and training.value > 0 and attention.is_equivalent and not attention.is_clear
    return "Training, not attention" if decided else "Training or attention"


def what_is_left(report: Report) -> str:
    """Worst-case accuracy of the full model, and the paper's values for the same attacks."""
    model = ("full", "adversarial")
    for dataset in report.datasets:
        found = {eps: left(report, dataset.name, eps).get(model) for eps in budgets(report, dataset.name)}
        trained = len([r for r in report.of("train", dataset.name) if (r["variant"], r["training"]) == model])
        told = [
            f"{each.what_remains()} at ε = {budget(eps)} ({each.where(trained)}; {constant(each)})"
            for eps, each in found.items()
            if each
        ]
        if told:
            return (
                f"**Robust accuracy.** {dataset.words}: {model_label(*model)} keeps {'; '.join(told)}."
                f"{_attack_by_attack(report, dataset, model)}"
            )
    return ""


def _attack_by_attack(report: Report, dataset: Dataset, model: tuple[str, str]) -> str:
    """Each attack's printed accuracy beside the measured one of the same attack, at the paper's ε."""
    pairs = like_with_like(report, dataset, model, EPS)
    told = [
        f"{{term}}`{attack_name(row['attack'])}` {row['printed']} % printed, {in_words(row, 'robust')} measured"
        for row in pairs
        if row["attack"] in ("pgd", "bim")
    ]
    return f" Attack by attack at ε = {EPS:g}: {'; '.join(told)}." if told else ""


def other_test_set(printed: Published, dataset: str) -> str:
    """How many of the ablated models' distinct accuracies are whole numbers of images of the stated test set, and of
    another; empty where the stated one fits."""
    values = model_values(printed, dataset, DEFENDED[:-1])
    sizes = printed.test_attention_or_size(dataset), OTHER_SIZES[dataset]
    fits = {n: sum(bool(grim.hits(value, n)) for value in values) for n in sizes}
    stated, other = sizes
    if fits[stated] == len(values):
        return ""
    full = model_values(printed, dataset, DEFENDED[-1:])
    of_full = sum(bool(grim.hits(value, other)) for value in full)
    table = place(EPSILON_TABLE[dataset])
    return (
        f"**Test-set size.** The accuracies of the three ablated models in {table} "
        f"({PAPER_DATASETS[dataset]}) are whole numbers of {other:,} images ({fits[other]} of {len(values)} "
        f"distinct values; {_found_by_search(fits[other], len(values), other)}), and {of_full} of {len(full)} of "
        f"the full model's; out of the stated {stated} test images it is {fits[stated]} of {len(values)} "
        "([arithmetic](trust_arithmetic.md))."
    )


def _found_by_search(attained: int, of: int, n: int) -> str:
    """The chance of such a fit; if all values fit, at any size up to ``n``, as the size was found by search."""
    if attained < of:
        return f"chance at this size {grim.chance(attained, of, n):.1e}"
    return f"chance {grim.chance_of_smaller(of, n):.1e} at this size or a smaller one"
