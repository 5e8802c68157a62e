"""What the front page shows: the paper's claims, one picture, one table, and what follows. No torch here."""

from __future__ import annotations

from meddef import figures, findings, tables
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


def front_page(report: Report) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``."""
    sentences = [findings.strongest(report, dataset, EPS) for dataset in report.datasets]
    measured = "\n\n".join(
        [
            str(findings.scope(report)),
            f"::::{{div}} meddef-scroll\n:::{{image}} _generated/front.svg\n:alt: {ALT}\n:::\n::::",
            tables.front(report, EPS)._repr_html_(),
            "\n".join(f"- {sentence}" for sentence in sentences if sentence),
            str(findings.epsilon(report)),
        ]
    )
    return {
        "claims.md": f"{findings.quotes(*CLAIMS)}\n",
        "measured.md": f"{measured}\n",
        "front.svg": figures.models_at(report, EPS).svg(),
    }


ALT = (
    "Accuracy of each model without attack and under each attack: measured values with their 95 % intervals beside "
    "the published ones. The table below holds the same numbers."
)
