"""Cards of the datasets and of the trained models. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from meddef.data import CARDS
from meddef.data.cards import Card
from meddef.report.display import DASH, Table, percent
from meddef.report.report import PAPER_DATASETS, Report, by_model, model_label
from meddef.report.worst_case import ENSEMBLE

KINDS = {
    "folder": "image files in a folder a class",
    "medmnist": "a MedMNIST file",
    "phantom": "drawn from a seed",
}


def cards_page(reports: Sequence[Report], eps: float) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: a heading a dataset, and the table of trained models."""
    datasets = "\n\n".join(
        f"### {name}\n\n{dataset_card(card)._repr_html_()}" for name, card in CARDS.items()
    )
    return {"cards_data.md": f"{datasets}\n", "cards_models.md": f"{models(reports, eps)._repr_html_()}\n"}


def dataset_card(card: Card) -> Table:
    """What the card of a dataset says, a row a field."""
    rows = {
        "images": card.modality,
        "classes": ", ".join(card.classes),
        **{f"released, {split}": _counts(counts) for split, counts in card.published_counts.items()},
        "kind": KINDS[card.kind],
        "source": card.source,
        "licence": card.licence,
        "citation": card.citation,
        "how to get it": card.how_to_get,
        "stands for": PAPER_DATASETS.get(card.stands_for or "", DASH),
        "patients": "read from file names" if card.patient_id else "not told by file names",
        "preparation": _steps(card),
        "mean, std in the paper": DASH if card.mean is None else f"{card.mean}, {card.std}",
    }
    frame = pd.DataFrame({"": list(rows), "value": list(rows.values())})
    return Table(frame, card.title, left=("value",))


def _counts(counts: dict[str, int]) -> str:
    return f"{', '.join(f'{name} {n:,}' for name, n in counts.items())}; {sum(counts.values()):,} in all"


def _steps(card: Card) -> str:
    """The steps that are on, with their settings."""
    steps = []
    for name, setting in card.preprocessing.model_dump().items():
        if isinstance(setting, dict):
            steps.append(f"{name} ({', '.join(f'{key} {value}' for key, value in setting.items())})")
        elif setting not in (None, False):
            steps.append(name if setting is True else f"{name} {setting}")
    return ", ".join(steps) or DASH


def models(reports: Sequence[Report], eps: float) -> Table:
    """Every trained model of the published runs: size, training, and what it keeps at ``eps``."""
    rows = []
    for report in reports:
        for dataset in report.datasets:
            frame = report.attacks("epsilon", dataset.name)
            for (variant, training), records in by_model(report.of("train", dataset.name)).items():
                ours = frame[(frame["variant"] == variant) & (frame["training"] == training)]
                rows.append(
                    {
                        "images": f"{dataset.label}{dataset.split}, {dataset.record['image_size']} px "
                        f"(profile {report.profile})",
                        "model": model_label(variant, training),
                        "parameters": f"{records[0]['parameters']:,}",
                        "training": f"{training}, {records[0]['epochs']} epochs\nseeds {_seeds(records)}",
                        "no attack (%)": _cell(ours, "clean", None),
                        f"PGD, ε = {eps:g} (%)": _cell(ours, "pgd", eps),
                        f"worst case, ε = {eps:g} (%)": _cell(ours, ENSEMBLE, eps),
                    }
                )
    caption = (
        "The models of the published runs. Weights are not published; the command of each page makes them."
    )
    return Table(pd.DataFrame(rows), caption, header=2, left=("training",))


def _seeds(records: Sequence[dict[str, object]]) -> str:
    return ", ".join(str(record["seed"]) for record in records)


def _cell(frame: pd.DataFrame, attack: str, eps: float | None) -> str:
    rows = frame[frame["attack"] == attack]
    rows = rows if eps is None else rows[rows["eps"] == eps]
    return percent(rows.iloc[0], "clean" if attack == "clean" else "robust") if len(rows) else DASH
