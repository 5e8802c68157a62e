"""The page of results: the counts of verdicts, every headline measurement, every claim."""

from __future__ import annotations

from collections.abc import Sequence

from meddef.claims import page
from meddef.claims.verdicts import Row, Score
from meddef.figures import curves, published
from meddef.report import controls, findings, tables
from meddef.report.headline import BUDGETS, budgets, strongest
from meddef.report.report import Report
from meddef.report.tables_split import split_policies

EPS = 0.05  # the budget of the paper's evaluation (Section IV-B)
ALT = (
    "Clean and robust accuracy of each model: measured values with their 95 % intervals beside the published ones, "
    "and a line at the constant classifier; below, the same for balanced accuracy. The table has the same numbers."
)


def results_page(reports: Sequence[Report], rows: Sequence[Row], counts: Score) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``."""
    return {
        "claims_in_short.md": f"{page.in_short(counts)}\n",
        "measured.md": measured(reports),
        "claims_judged.md": f"{page.listing(rows)}\n",
        "models_at.svg": curves.models_at(reports[0], EPS).svg(),
    }


def measured(reports: Sequence[Report]) -> str:
    """The first report in full, the other real ones in sentences."""
    first, *others = reports
    figure = curves.models_at(first, EPS)
    parts = [
        str(findings.scope(first)),
        f"::::{{div}} meddef-scroll\n:::{{image}} _generated/models_at.svg\n:alt: {ALT}\n:::\n::::",
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
    """Worst-case accuracy of the models, and the effects of architecture and training where tested."""
    sentences = [strongest(report, dataset, eps) for dataset in report.datasets for eps in BUDGETS]
    lines = [f"- {sentence}" for sentence in sentences if sentence]
    if any(controls.has_all(report, dataset) for dataset in report.datasets):
        lines.append(str(controls.verdict(report, EPS)))
    return "\n".join(lines)
