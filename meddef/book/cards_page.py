"""Cards of the datasets and of the trained models."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from meddef.data.cards import Card, package_cards
from meddef.records import Record
from meddef.report.balanced import NOTE
from meddef.report.display import DASH, Table, budget, percent
from meddef.report.headline import Left, left
from meddef.report.labels import model_label
from meddef.report.report import PAPER_DATASETS, Report, by_model
from meddef.report.tables_constant import with_balanced

KINDS = {
    "folder": "image files in one folder per class",
    "medmnist": "a MedMNIST file",
    "phantom": "drawn from a seed",
}


def cards_page(reports: Sequence[Report], budgets: Sequence[float]) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: one heading per dataset, and the table of trained models."""
    own = {d.name: d.record["card"] for report in reports for d in report.datasets if d.record.get("card")}
    cards = package_cards() | {name: Card.model_validate(card) for name, card in own.items()}
    datasets = "\n\n".join(
        f"### {name}\n\n{dataset_card(card)._repr_html_()}" for name, card in cards.items()
    )
    return {
        "cards_data.md": f"{datasets}\n",
        "cards_models.md": f"{models(reports, budgets)._repr_html_()}\n",
    }


def dataset_card(card: Card) -> Table:
    """The card of a dataset, one row per field."""
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
        "patients": "read from file names" if card.patient_id else "not given by file names",
        "preparation": _steps(card),
        "mean, std in the paper": DASH if card.mean is None else f"{card.mean}, {card.std}",
    }
    frame = pd.DataFrame({"": list(rows), "value": list(rows.values())})
    return Table(frame, card.title, left=("value",))


def _counts(counts: dict[str, int]) -> str:
    return f"{', '.join(f'{name} {n:,}' for name, n in counts.items())}; {sum(counts.values()):,} in total"


def _steps(card: Card) -> str:
    """The steps that are on, with their settings."""
    steps = []
    for name, setting in card.preprocessing.model_dump().items():
        if isinstance(setting, dict):
            steps.append(f"{name} ({', '.join(f'{key} {value}' for key, value in setting.items())})")
        elif setting not in (None, False):
            steps.append(name if setting is True else f"{name} {setting}")
    return ", ".join(steps) or DASH


def models(reports: Sequence[Report], budgets: Sequence[float]) -> Table:
    """Every trained model of the stored runs: size, training, and worst-case accuracy at each of ``budgets``."""
    rows = []
    for report in reports:
        for dataset in report.datasets:
            clean = report.attacks("test", dataset.name)
            worst = {eps: left(report, dataset.name, eps) for eps in budgets}
            for model, records in by_model(report.of("train", dataset.name)).items():
                rows.append(
                    {
                        "images": report.title_of(dataset),
                        "model": model_label(*model),
                        "parameters": f"{records[0]['parameters']:,}",
                        "training": f"{_training(records)}\n{_seeds(records)}",
                        "clean (%)": _clean(clean, model),
                        **{
                            _heading(eps): _worst(found.get(model), len(records))
                            for eps, found in worst.items()
                        },
                    }
                )
    caption = (
        "The models of the stored runs; in the worst case an image counts as correct if it is correct under all "
        f"named attacks. {NOTE} Weights are not distributed; the command on each page produces them."
    )
    return Table(pd.DataFrame(rows), caption, header=2, left=("training",))


def _heading(eps: float) -> str:
    return f"worst case, ε = {budget(eps)} (%)"


def _training(records: Sequence[Record]) -> str:
    first = records[0]
    return (
        f"{first['training']}, {first['epochs']} epochs, learning rate {first['settings']['learning_rate']:g}"
    )


def _clean(frame: pd.DataFrame, model: tuple[str, str]) -> str:
    rows = frame[
        (frame["variant"] == model[0]) & (frame["training"] == model[1]) & (frame["attack"] == "clean")
    ]
    if rows.empty:
        return DASH
    row = rows.iloc[0]
    return f"{with_balanced(percent(row, 'robust'), row)}\nconstant {row['constant']:.1f}\nn = {row['n']}"


def _worst(found: Left | None, trained: int) -> str:
    """Worst-case accuracy and the constant classifier; then attacks, n and seeds, one per line."""
    if found is None:
        return DASH
    constant = f"constant {100 * found.constant.accuracy.value:.1f}"
    where = found.where(trained).removeprefix("worst case over ").split(", n = ")
    return "\n".join(
        [with_balanced(percent(found.rates, "robust"), found.rates), constant, where[0], f"n = {where[1]}"]
    )


def _seeds(records: Sequence[dict[str, object]]) -> str:
    return f"seed{'s' * (len(records) > 1)} {', '.join(str(record['seed']) for record in records)}"
