"""What the front page shows: the paper's claims, and of every real run its headline. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from meddef import claims_measured, controls, figures, findings, tables
from meddef.report import Report

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
    """File name -> content, for ``book/_generated/``: the first report in full, the other real ones in sentences."""
    first, *others = reports
    parts = [
        str(findings.scope(first)),
        f"::::{{div}} meddef-scroll\n:::{{image}} _generated/front.svg\n:alt: {ALT}\n:::\n::::",
        tables.front(first, EPS)._repr_html_(),
        _headline(first),
        str(findings.epsilon(first)),
    ]
    for report in others:
        if report.is_real:
            parts += [str(findings.scope(report)), _headline(report)]
    judged = claims_measured.table([report for report in reports if report.is_real], EPS)
    if not judged.frame.empty:
        parts.append(judged._repr_html_())
    splits = tables.split_policies(reports, EPS)
    if not splits.frame.empty:
        parts.append(splits._repr_html_())
    return {
        "claims.md": f"{findings.quotes(*CLAIMS)}\n",
        "measured.md": "\n\n".join(parts) + "\n",
        "front.svg": figures.models_at(first, EPS).svg(),
    }


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
