"""The chapter on the laboratory: defects, signatures, their matrix, and the similarity to the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from meddef.figures.pages import PageFigure, Source
from meddef.laboratory.defects import DEFECTS, SOUND
from meddef.laboratory.signatures import FIRST, POINTS, SIGNATURES, EpsilonTable, shares, similarity
from meddef.laboratory.tables import Case, assemble, cases, is_drawn, of_the_paper, read, recorded, subjects
from meddef.printed.published import ATTACKS, Published
from meddef.records import Record
from meddef.report.display import DASH, Table, in_plain_words
from meddef.report.labels import attack_name
from meddef.report.report import PAPER_DATASETS
from meddef.trust.laboratory_figures import MATRIX_ALT, PATTERNS_ALT, matrix, patterns
from meddef.trust.sources import PAPER, of_laboratory

PAGE = "trust_laboratory"
NOTHING = "The laboratory was not run: run `meddef lab`."
CLOSE = 0.05  # cases this close to the most similar one fit about equally well
FLAT = 0.5  # points: a smaller change is none
TITLES = {
    "phantom_oct": "OCT phantoms",
    "phantom_xray": "X-ray phantoms",
    "chest_xray": "real chest X-rays",
    "octdl4": "real OCT scans (OCTDL)",
}
Tables = dict[Case, list[EpsilonTable]]


@dataclass(frozen=True)
class Bench:
    """The laboratory's tables on one kind of images, their records, and the paper's datasets for comparison."""

    images: str
    records: list[Record]
    tables: Tables
    paper: dict[str, list[EpsilonTable]]


def laboratory_page(root: Path) -> dict[str, str]:
    """File name -> content; a sentence where there are no records."""
    text = {
        "lab_defects.md": f"{defects()._repr_html_()}\n",
        "lab_signatures.md": f"{questions()._repr_html_()}\n",
    }
    records = read(root)
    if not records:
        return text | {
            f"lab_{name}.md": f"{NOTHING}\n" for name in ("models", "patterns", "matrix", "results")
        }
    benches = make_benches(records, of_the_paper(Published()))
    shown: list[str] = []
    files: dict[str, str] = {}
    for bench in benches:
        figure = _patterns(root, bench)
        files |= figure.files()
        shown += [figure.shown(), changes(bench)._repr_html_()]
    figure = _matrix(root, benches)
    results = [ranking(benches)._repr_html_(), conclusion(benches), *missing(records)]
    return text | files | figure.files() | {
        "lab_models.md": f"{models(records)._repr_html_()}\n",
        "lab_patterns.md": "\n\n".join(shown) + "\n",
        "lab_matrix.md": f"{figure.shown()}\n",
        "lab_results.md": "\n\n".join(results) + "\n",
    }  # fmt: skip


def _patterns(root: Path, bench: Bench) -> PageFigure:
    drawn = patterns(bench.images, alone(bench.tables), bench.paper)
    name = f"{PAGE}_patterns_{bench.images.lower().replace(' ', '_')}"
    return PageFigure(drawn, name, PAGE, _source(root, bench.records), PATTERNS_ALT)


def _matrix(root: Path, benches: list[Bench]) -> PageFigure:
    order = list(similarities(benches))
    drawn = matrix({bench.images: bench.tables for bench in benches}, of_the_paper(Published()), order)
    records = [record for bench in benches for record in bench.records]
    return PageFigure(drawn, f"{PAGE}_matrix", PAGE, _source(root, records), MATRIX_ALT)


def _source(root: Path, records: list[Record]) -> Source:
    """The paper's tables and those of ``records``."""
    measured = of_laboratory(root, "tables", records)
    return replace(measured, files=PAPER.files | measured.files)


def make_benches(records: list[Record], paper: dict[str, list[EpsilonTable]]) -> list[Bench]:
    """The phantoms together, beside both datasets of the paper; then each real dataset, beside the one it is."""
    found = subjects(records)
    groups = {"phantoms": [subject for subject in found if is_drawn(subject[0])]}
    twins = {"phantoms": paper}
    for dataset in dict.fromkeys(name for name, _ in found if not is_drawn(name)):
        title = TITLES.get(dataset, dataset)
        groups[title] = [subject for subject in found if subject[0] == dataset]
        twins[title] = {dataset: paper[dataset]} if dataset in paper else paper
    rows = {
        images: [record for record in records if (record["dataset"], record["model"]) in own]
        for images, own in groups.items()
    }
    return [
        Bench(images, rows[images], by_case(records, own), twins[images])
        for images, own in groups.items()
        if own
    ]


def by_case(records: list[Record], own: list[tuple[str, str]]) -> Tables:
    """The tables of every case that is recorded, one for each (dataset, model) of ``own``."""
    known = set.intersection(*(recorded(records, dataset) for dataset, _ in own))
    shown = [case for case in cases() if known.issuperset(defect for _, defect in case.defects)]
    return {case: [assemble(records, *subject, case) for subject in own] for case in shown}


def missing(records: list[Record]) -> list[str]:
    """A sentence for each dataset that was run before a defect was added."""
    return [
        f"Not run yet on {TITLES.get(dataset, dataset)}: {', '.join(map(in_plain_words, lacking))}. "
        f"Run `meddef lab --dataset {dataset}`."
        for dataset in dict.fromkeys(name for name, _ in subjects(records))
        if (lacking := [d.name for d in DEFECTS if d.name not in recorded(records, dataset)])
    ]


def alone(tables: Tables) -> dict[str, list[EpsilonTable]]:
    """Sound attacks, and each defect in every column that it changes."""
    found = {
        case.label.partition(":")[0]: own
        for case, own in tables.items()
        if case.label.endswith("all columns")
    }
    return {SOUND.name: tables[Case((), SOUND.name)]} | found


def models(records: list[Record]) -> Table:
    """The attacked images and models, with clean accuracy and the constant classifier."""
    clean = [r for r in records if r["attack"] == "clean"]
    prior = {(r["dataset"], r["model"]): r["accuracy"] for r in clean if r["defect"] == "collapse"}
    rows = [
        {
            "images": TITLES.get(r["dataset"], r["dataset"]),
            "model": r["model"],
            "test images": r["n"],
            "accuracy (%)": r["accuracy"],
            "largest class (%)": prior[r["dataset"], r["model"]],
        }
        for r in clean
        if r["defect"] == SOUND.name
    ]
    return Table(pd.DataFrame(rows), "The models under test, on clean images.", header=2)


def defects() -> Table:
    """Every defect: description, cause, and the columns that it changes."""
    rows = [
        {
            "defect": in_plain_words(d.name),
            "description": d.what,
            "cause": d.how,
            "columns": ", ".join(attack_name(column) for column in d.columns),
        }
        for d in DEFECTS
    ]
    return Table(pd.DataFrame(rows), "The defects.", left=("description", "cause", "columns"))


def questions() -> Table:
    """Every signature with its question, and when it was fixed."""
    rows = [
        {
            "signature": in_plain_words(s.__name__),
            "question": " ".join((s.__doc__ or "").split()),
            "fixed": "before the first run" if s in FIRST else "later",
        }
        for s in SIGNATURES
    ]
    return Table(
        pd.DataFrame(rows),
        f'The signatures; "clearly" is {POINTS:g} points.',
        left=("question", "fixed"),
    )


def changes(bench: Bench) -> Table:
    """Which column rises and which falls: change of the mean accuracy from the smallest ε to the largest."""
    own = {f"paper, {PAPER_DATASETS[d]}": tables for d, tables in bench.paper.items()} | alone(bench.tables)
    rows = []
    for name, tables in own.items():
        row = {"table": in_plain_words(name), "no attack": f"{np.mean([float(t.clean) for t in tables]):.1f}"}
        for attack in ATTACKS:
            ends = np.mean([[t.column(attack)[0], t.column(attack)[-1]] for t in tables], axis=0)
            row[attack_name(attack)] = f"{_arrow(ends[1] - ends[0])} {ends[1] - ends[0]:+.1f}".replace(
                "-", "−"
            )
        rows.append(row)
    return Table(
        pd.DataFrame(rows),
        f"On {bench.images}: mean clean accuracy (%), and the change of accuracy under each attack, in points, from ε "
        "= 0.01 to 0.10.",
    )


def _arrow(change: float) -> str:
    return "→" if abs(change) <= FLAT else "↑" if change > 0 else "↓"


def similarities(benches: list[Bench]) -> dict[Case, dict[tuple[str, str], float]]:
    """Case -> (images, the paper's dataset) -> similarity, where it was run; the most similar on average over the first
    bench first."""
    found = {
        case: {
            (bench.images, dataset): similarity(bench.tables[case], tables)
            for bench in benches
            if case in bench.tables
            for dataset, tables in bench.paper.items()
        }
        for case in dict.fromkeys(case for bench in benches for case in bench.tables)
    }
    first = benches[0]
    return dict(
        sorted(found.items(), key=lambda pair: -sum(pair[1].get((first.images, d), 0) for d in first.paper))
    )


def ranking(benches: list[Bench]) -> Table:
    """Similarity of every case, the most similar on average first."""
    columns = [(bench.images, dataset) for bench in benches for dataset in bench.paper]
    rows = [
        {"case": in_plain_words(case.label)}
        | {
            f"{PAPER_DATASETS[d]}, by {images}": f"{values[images, d]:.2f}" if (images, d) in values else DASH
            for images, d in columns
        }
        for case, values in similarities(benches).items()
    ]
    return Table(pd.DataFrame(rows), "Similarity of the laboratory's tables to the paper's, from 0 to 1.")


def conclusion(benches: list[Bench]) -> str:
    """Which defects fit and which do not, with caveats."""
    found = similarities(benches)
    sentences = []
    for bench in benches:
        for dataset, tables in bench.paper.items():
            value = {
                case: values[bench.images, dataset] for case, values in found.items() if case in bench.tables
            }
            sentences.append(_sentence(bench, dataset, tables, value))
    return "\n".join(sentences)


def _sentence(bench: Bench, dataset: str, paper: list[EpsilonTable], value: Mapping[Case, float]) -> str:
    best = max(value, key=lambda case: value[case])
    near = [case for case in value if value[best] - value[case] <= CLOSE]
    nearest = in_plain_words(best.label)
    lie = "lies" if len(near) == 1 else "lie"
    sound = next(found for case, found in value.items() if not case.defects)
    missed = [
        in_plain_words(signature.__name__)
        for signature, own, other in zip(SIGNATURES, shares(bench.tables[best]), shares(paper), strict=True)
        if abs(own - other) > 0.5
    ]
    before = {case: similarity(bench.tables[case], paper, FIRST) for case in value}
    first = max(before, key=lambda case: before[case])
    return (
        f"- {PAPER_DATASETS[dataset]}, by {bench.images}: nearest is *{nearest}* ({value[best]:.2f}); "
        f"{len(near)} of {len(value)} cases {lie} within {CLOSE:g} of it; sound attacks are at {sound:.2f}. "
        f"It does not explain: {', '.join(missed) or 'nothing'}. By the {len(FIRST)} questions fixed before the first "
        f"run alone, nearest is *{in_plain_words(first.label)}* ({before[first]:.2f})."
    )
