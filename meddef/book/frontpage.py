"""What the first pages show: the score of the paper's claims, three findings, every headline. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from meddef import claims
from meddef.claims import page
from meddef.claims.verdicts import MIXED, NOT_REPRODUCED, REPRODUCED, Score
from meddef.figures import curves as figures
from meddef.figures import published
from meddef.paper import epsilon_table
from meddef.report import controls, findings, tables
from meddef.report.display import in_words
from meddef.report.report import Report, attack_name, model_label
from meddef.report.tables_setup import short_reach
from meddef.report.worst_case import ENSEMBLE

EPS = 0.05  # the budget of the paper's evaluation (Section IV-B)
QUOTED = (
    "abstract.up-to",
    "abstract.together",
    "V-B.highest-clean",
    "V-B.essential",
    "V-C.stable",
    "V-C.moderate",
)


def front_page(reports: Sequence[Report]) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: the front page's parts, and the page of claims and headlines."""
    rows = claims.rows(reports)
    counts = claims.score(rows)
    return {
        "score.md": f"{score(counts)}\n",
        "front_findings.md": f"{three(reports)}\n",
        "claims.md": f"{findings.quotes(*QUOTED)}\n",
        "measured.md": measured(reports),
        "claims_judged.md": f"{page.in_short(counts)}\n\n{page.listing(rows)}\n",
        "front.svg": figures.models_at(reports[0], EPS).svg(),
    }


def score(counts: Score) -> str:
    """The counts as cards, the rule in short, and what the printed numbers alone decide."""
    rest = counts.total - sum(counts.testable[name] for name in (REPRODUCED, MIXED, NOT_REPRODUCED))
    shown = {REPRODUCED: counts.testable[REPRODUCED], NOT_REPRODUCED: counts.testable[NOT_REPRODUCED]}
    cards = "\n\n".join(
        f":::{{grid-item-card}} {count}\n:class-card: meddef-score\n\n{name}\n:::"
        for name, count in (
            shown | {"mixed, absent, open or not tested": rest + counts.testable[MIXED]}
        ).items()
    )
    return (
        f"::::{{grid}} 3\n:gutter: 2\n\n{cards}\n\n::::\n\n{page.in_short(counts)} "
        "([Rule, and every claim](results.md)). Asked of the paper's own printed numbers instead, "
        f"{counts.printed['holds']} claims hold and {counts.printed['does_not_hold']} do not "
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
        found = controls.effects(report, dataset, EPS).get((controls.ATTACK, EPS))
        if found:
            training, daam = found[controls.TRAINING["full"]], found[controls.DAAM["adversarial"]]
            return (
                f"**Training or attention.** Under PGD at ε = {EPS:g} adversarial training moves the "
                f"accuracy of the full model by {training.words()}; adding DAAM to an adversarially trained "
                f"ResNet18 moves it by {daam.words()} ({dataset.label}, n = {daam.n})."
            )
    return ""


def _strongest(report: Report) -> str:
    pairs = tables.epsilon_pairs(report)
    model = (pairs["variant"] == "full") & (pairs["training"] == "adversarial")
    for dataset in report.datasets:
        ours = pairs[model & (pairs["dataset"] == dataset.name) & (pairs["eps"] == EPS)]
        attacked = ours[ours["attack"] != "clean"].to_dict("records")
        if not attacked:
            continue
        worst = min(attacked, key=lambda row: (row["robust"], row["attack"] != ENSEMBLE))
        pgd = next((row["published"] for row in attacked if row["attack"] == "pgd"), float("nan"))
        printed = "" if pd.isna(pgd) else f"; the paper prints {pgd:.2f} % under PGD"
        return (
            f"**Under the strongest attack.** {model_label('full', 'adversarial')} keeps "
            f"{in_words(worst, 'robust')} under {attack_name(worst['attack'])} at "
            f"ε = {EPS:g} ({dataset.label}, n = {worst['n']}){printed}."
        )
    return ""


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
        tables.front(first, EPS)._repr_html_(),
        _headline(first),
        str(findings.epsilon(first)),
    ]
    for report in others:
        if report.is_real:
            parts += [str(findings.scope(report)), _headline(report)]
    splits = tables.split_policies(reports, EPS)
    if not splits.frame.empty:
        parts.append(splits._repr_html_())
    return "\n\n".join(parts) + "\n"


def _headline(report: Report) -> str:
    """What the models keep under the strongest attacks, and what DAAM adds where that was put to the test."""
    sentences = [findings.strongest(report, dataset, EPS) for dataset in report.datasets]
    lines = [f"- {sentence}" for sentence in sentences if sentence]
    if any(controls.has_all(report, dataset) for dataset in report.datasets):
        lines.append(str(controls.verdict(report, EPS)))
    return "\n".join(lines)


ALT = (
    "Accuracy of each model without attack and under each attack: measured values with their 95 % intervals beside "
    "the published ones. The table below holds the same numbers."
)
