"""What the first pages show: the score of the paper's claims, three findings, every headline. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from meddef.figures import curves as figures
from meddef.figures import published
from meddef.paper import epsilon_table
from meddef.report import claims_score, controls, findings, tables
from meddef.report.display import budget, in_words
from meddef.report.headline import BUDGETS, budgets, constant, left, like_with_like, strongest
from meddef.report.paired import Effect
from meddef.report.report import Dataset, Report, attack_name, model_label
from meddef.report.tables_setup import short_reach
from meddef.report.tables_split import split_policies
from meddef.trust.arithmetic import verdicts_on_claims

EPS = 0.05  # the budget of the paper's evaluation (Section IV-B)
CLAIMS = (
    "abstract.up-to",
    "abstract.together",
    "V-B.highest-clean",
    "V-B.essential",
    "V-C.stable",
    "V-C.moderate",
)


def front_page(reports: Sequence[Report]) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: the front page's parts, and the page of claims and headlines."""
    judged = claims_score.judge_all(reports, EPS)
    return {
        "score.md": f"{score(judged)}\n",
        "front_findings.md": f"{three(reports)}\n",
        "claims.md": f"{findings.quotes(*CLAIMS)}\n",
        "measured.md": measured(reports),
        "claims_judged.md": (
            f"{claims_score.listing(judged)._repr_html_()}\n\n{claims_score.unjudged(judged)._repr_html_()}\n"
        ),
        "front.svg": figures.models_at(reports[0], EPS).svg(),
    }


def score(judged: claims_score.Judged) -> str:
    """The three counts as cards, the rule in short, and what the printed numbers alone decide."""
    counts = claims_score.score(judged)
    cards = "\n\n".join(
        f":::{{grid-item-card}} {counts[name]}\n:class-card: meddef-score\n\n{name}\n:::"
        for name in (claims_score.REPRODUCED, claims_score.NOT_REPRODUCED, claims_score.UNJUDGED)
    )
    holds, does_not = verdicts_on_claims()
    return (
        f"::::{{grid}} 3\n:gutter: 2\n\n{cards}\n\n::::\n\n"
        f"Claims of the paper, {sum(counts.values())} in all, by our runs on its own images. A claim is reproduced if "
        "what it says is clear in the measurements, and not reproduced if the contrary is; what was not run, concerns "
        "images or pictures not at hand, or is no measurement cannot be judged ([rule, and every claim](results.md)). "
        f"Asked of the paper's own printed numbers instead, {holds} claims hold and {does_not} do not "
        "([arithmetic](trust_arithmetic.md))."
    )


def three(reports: Sequence[Report]) -> str:
    """What moves robustness, what is left under the strongest attack, and what the printed tables show."""
    first = reports[0]
    sentences = [_what_helps(first), _strongest(first), _pgd_above_clean(reports)]
    lines = [f"{n}. {sentence}" for n, sentence in enumerate(filter(None, sentences), start=1)]
    if short := short_reach(first):
        lines.append(f"\n**These runs are a first edition.** {short} ([Reach](definitions.md))")
    return "\n".join(lines)


def _what_helps(report: Report) -> str:
    for dataset in report.datasets:
        found = controls.effects(report, dataset, EPS)
        told = [
            f"at ε = {budget(eps)} adversarial training moves the accuracy of the full model by "
            f"{each[controls.TRAINING['full']].words()}, the full model in place of ResNet18, both "
            f"trained adversarially, moves it by {each[controls.DAAM['adversarial']].words()}{_n(each)}"
            for eps in BUDGETS
            if (each := found.get((controls.ATTACK, eps)))
        ]
        if told:
            return f"**Training or attention.** {dataset.label}, under PGD: {'; '.join(told)}."
    return ""


def _n(found: Mapping[str, Effect]) -> str:
    return f" (n = {found[controls.INTERACTION].n})"


def _strongest(report: Report) -> str:
    """What the worst case leaves of the full model, and of the paper's printed values those of the same attacks."""
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
                f"**What attacks leave.** {dataset.label}: {model_label(*model)} keeps {'; '.join(told)}."
                f"{_attack_by_attack(report, dataset, model)}"
            )
    return ""


def _attack_by_attack(report: Report, dataset: Dataset, model: tuple[str, str]) -> str:
    """Each attack's printed accuracy beside the measured one of the same attack, at the paper's ε."""
    pairs = like_with_like(report, dataset, model, EPS)
    told = [
        f"{attack_name(row['attack'])} {row['printed']} % printed, {in_words(row, 'robust')} measured"
        for row in pairs
        if row["attack"] in ("pgd", "bim")
    ]
    return f" Attack by attack at ε = {EPS:g}: {'; '.join(told)}." if told else ""


def _pgd_above_clean(reports: Sequence[Report]) -> str:
    printed = epsilon_table().pivot(index=["dataset", "variant", "eps"], columns="attack", values="accuracy")
    rows = pd.concat([_clean_and_pgd(report) for report in reports])
    return (
        "**Attacks that raise accuracy.** Accuracy under PGD lies above accuracy without attack in "
        f"{int((printed['pgd'] > printed['clean']).sum())} of the {len(printed)} rows of Tables 1 and 2, and in "
        f"{int((rows['pgd'] > rows['clean']).sum())} of the {len(rows)} measured rows."
    )


def _clean_and_pgd(report: Report) -> pd.DataFrame:
    """Measured accuracy without attack and under PGD on the same images, a row a model and ε."""
    pairs = tables.epsilon_pairs(report)
    pgd = pairs[pairs["attack"] == "pgd"]
    return pd.DataFrame({"pgd": pgd["robust"], "clean": pgd["clean"]})


def measured(reports: Sequence[Report]) -> str:
    """The first report in full, the other real ones in sentences."""
    first, *others = reports
    figure = figures.models_at(first, EPS)
    parts = [
        str(findings.scope(first)),
        f"::::{{div}} meddef-scroll\n:::{{image}} _generated/front.svg\n:alt: {ALT}\n:::\n::::",
        published.below(figure, stem="04_ablation", section="ablation", alt=ALT),
        tables.front(first, budgets(first) or [EPS])._repr_html_(),
        _headline(first),
        str(findings.epsilon(first)),
    ]
    for report in others:
        if report.is_real:
            parts += [str(findings.scope(report)), _headline(report)]
    splits = split_policies(reports, BUDGETS)
    if not splits.frame.empty:
        parts.append(splits._repr_html_())
    return "\n\n".join(parts) + "\n"


def _headline(report: Report) -> str:
    """What the models keep under the strongest attacks, and what DAAM adds where that was put to the test."""
    sentences = [strongest(report, dataset, eps) for dataset in report.datasets for eps in BUDGETS]
    lines = [f"- {sentence}" for sentence in sentences if sentence]
    if any(controls.has_all(report, dataset) for dataset in report.datasets):
        lines.append(str(controls.verdict(report, EPS)))
    return "\n".join(lines)


ALT = (
    "Accuracy of each model without attack and under each attack: measured values with their 95 % intervals beside "
    "the published ones, and a line at what one answer for all images gets; below it the same for balanced accuracy. "
    "The table below holds the same numbers."
)
