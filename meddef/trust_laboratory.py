"""The chapter on the laboratory: defects, signatures, the matrix of both, and what fits the paper. No torch here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from meddef import style
from meddef.audit.lab.defects import DEFECTS
from meddef.audit.lab.signatures import POINTS, SIGNATURES, EpsilonTable, shares, similarity
from meddef.audit.lab.tables import Case, assemble, cases, of_the_paper, read, subjects
from meddef.audit.published import ATTACKS, EPSILONS, Published
from meddef.display import Table
from meddef.drawing import SvgFigure, styled
from meddef.records import Record
from meddef.report import PAPER_DATASETS, attack_name

NOTHING = "The laboratory was not run: `meddef lab` makes its records."
MATRIX_ALT = (
    "Shares of tables that show each signature: the paper's two datasets above, the laboratory's cases below. The "
    "table of similarities sums it up."
)
COLUMNS_ALT = (
    "Mean accuracy under each attack against ε: the paper's tables, sound attacks, and the most similar case."
)
CLOSE = 0.05  # cases within this of the most similar one fit about as well


def laboratory_page(root: Path) -> dict[str, str]:
    """File name -> content; a sentence where there are no records."""
    text = {
        "lab_defects.md": f"{defects()._repr_html_()}\n",
        "lab_signatures.md": f"{questions()._repr_html_()}\n",
    }
    records = read(root)
    if not records:
        return text | {"lab_results.md": f"{NOTHING}\n"}
    tables = by_case(records)
    paper = of_the_paper(Published())
    parts = [
        what_was_run(records),
        _picture("lab_columns.svg", COLUMNS_ALT),
        _picture("lab_matrix.svg", MATRIX_ALT),
        ranking(tables, paper)._repr_html_(),
        conclusion(tables, paper),
    ]
    figures = {"lab_columns.svg": columns(tables, paper).svg(), "lab_matrix.svg": matrix(tables, paper).svg()}
    return text | figures | {"lab_results.md": "\n\n".join(parts) + "\n"}


def by_case(records: list[Record]) -> dict[Case, list[EpsilonTable]]:
    """The tables of every case, one for each dataset and model."""
    found = subjects(records)
    return {case: [assemble(records, *subject, case) for subject in found] for case in cases()}


def what_was_run(records: list[Record]) -> str:
    """Data, models and sizes, in a sentence."""
    clean = [r for r in records if r["attack"] == "clean" and r["defect"] == "sound"]
    parts = [f"{r['dataset']}, {r['model']}: {r['accuracy']} % of n = {r['n']}" for r in clean]
    return f"Accuracy without attack of the models under test: {'; '.join(parts)}."


def defects() -> Table:
    """Every switch: what is done wrong, how it comes about, which columns it changes."""
    rows = [
        {
            "defect": d.name,
            "what is wrong": d.what,
            "how it comes about": d.how,
            "columns": ", ".join(attack_name(column) for column in d.columns),
        }
        for d in DEFECTS
    ]
    return Table(pd.DataFrame(rows), "The defects.", left=("what is wrong", "how it comes about", "columns"))


def questions() -> Table:
    """Every signature with its question."""
    rows = [{"signature": s.__name__, "asked of a table": (s.__doc__ or "").strip()} for s in SIGNATURES]
    return Table(
        pd.DataFrame(rows), f'The signatures; "clearly" is {POINTS:g} points.', left=("asked of a table",)
    )


def similarities(
    tables: dict[Case, list[EpsilonTable]], paper: dict[str, list[EpsilonTable]]
) -> dict[Case, dict[str, float]]:
    """Of every case to each of the paper's datasets, the most similar on average first."""
    found = {case: {d: similarity(own, paper[d]) for d in paper} for case, own in tables.items()}
    return dict(sorted(found.items(), key=lambda pair: -sum(pair[1].values())))


def ranking(tables: dict[Case, list[EpsilonTable]], paper: dict[str, list[EpsilonTable]]) -> Table:
    """Similarity of every case, the most similar on average first."""
    rows = [
        {"case": case.label} | {PAPER_DATASETS[d]: f"{value:.2f}" for d, value in values.items()}
        for case, values in similarities(tables, paper).items()
    ]
    return Table(pd.DataFrame(rows), "Similarity to the paper's tables, from 0 to 1.")


def conclusion(tables: dict[Case, list[EpsilonTable]], paper: dict[str, list[EpsilonTable]]) -> str:
    """What fits, what does not, and how little that shows."""
    found = similarities(tables, paper)
    sentences = []
    for dataset in paper:
        best = max(found, key=lambda case: found[case][dataset])
        near = [c for c in found if found[best][dataset] - found[c][dataset] <= CLOSE]
        sound = next(values[dataset] for case, values in found.items() if not case.defects)
        missed = [
            signature.__name__
            for signature, own, other in zip(
                SIGNATURES, shares(tables[best]), shares(paper[dataset]), strict=True
            )
            if abs(own - other) > 0.5
        ]
        sentences.append(
            f"- {PAPER_DATASETS[dataset]}: nearest is {best.label} ({found[best][dataset]:.2f}); "
            f"{len(near)} of {len(found)} cases lie within {CLOSE:g} of it; sound attacks are at {sound:.2f}. "
            f"It does not explain: {', '.join(missed) or 'nothing that was asked'}."
        )
    return "\n".join(sentences)


@styled
def matrix(tables: dict[Case, list[EpsilonTable]], paper: dict[str, list[EpsilonTable]]) -> SvgFigure:
    """Rows: the paper, then the cases in the order of the ranking; columns: signatures; grey: share of tables."""
    ranked = similarities(tables, paper)
    labels = [f"paper, {PAPER_DATASETS[d]}" for d in paper] + [case.label for case in ranked]
    values = [shares(own) for own in paper.values()] + [shares(tables[case]) for case in ranked]
    figure, axes = style.grid(1, 1, width=7.4, height=0.2 * len(labels) + 1.6)
    panel = axes[0][0]
    panel.imshow(np.array(values), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for row, shown in enumerate(values):
        for column, share in enumerate(shown):
            ink = "white" if share > 0.5 else "black"
            panel.text(column, row, f"{share:.1f}", ha="center", va="center", color=ink, fontsize=6.5)
    names = [signature.__name__.replace("_", " ") for signature in SIGNATURES]
    panel.set_xticks(range(len(names)), names, rotation=40, ha="right")
    panel.set_yticks(range(len(labels)), labels)
    panel.axhline(len(paper) - 0.5, color=style.OTHER)
    panel.grid(visible=False)
    return figure


@styled
def columns(tables: dict[Case, list[EpsilonTable]], paper: dict[str, list[EpsilonTable]]) -> SvgFigure:
    """Mean accuracy under each attack against ε: the paper, sound attacks, the most similar case."""
    ranked = list(similarities(tables, paper))
    sound = next(case for case in ranked if not case.defects)
    shown = {f"paper, {PAPER_DATASETS[d]}": own for d, own in paper.items()}
    shown |= {"sound attacks": tables[sound], ranked[0].label: tables[ranked[0]]}
    figure, axes = style.grid(1, len(shown), width=1.95, height=2.1, sharey=True)
    for panel, (label, own) in zip(axes[0], shown.items(), strict=True):
        for attack in ATTACKS:
            means = np.mean([table.column(attack) for table in own], axis=0)
            panel.plot(
                EPSILONS, means, color="#333333", marker=style.marker(attack), linestyle=style.line(attack)
            )
        panel.axhline(np.mean([float(table.clean) for table in own]), color=style.OTHER)
        panel.set_title(style.wrapped(label), fontsize=7.5)
        panel.set_xticks(EPSILONS, [f"{eps:g}" for eps in EPSILONS])
        panel.set_xlabel("ε")
        style.percent_axis(panel)
    axes[0][0].set_ylabel("accuracy (%)")
    looks = {attack_name(a): {"marker": style.marker(a), "linestyle": style.line(a)} for a in ATTACKS}
    handles = [Line2D([], [], color="#333333", label=name, **look) for name, look in looks.items()]
    style.legend_below(figure, [*handles, Line2D([], [], color=style.OTHER, label=attack_name("clean"))])
    return figure


def _picture(name: str, alt: str) -> str:
    return f"::::{{div}} meddef-scroll\n:::{{image}} _generated/{name}\n:alt: {alt}\n:::\n::::"
