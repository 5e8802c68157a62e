"""Comparable ε-tables from the laboratory's records and from the paper."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meddef.laboratory.defects import BY_NAME, DEFECTS, SOUND
from meddef.laboratory.signatures import EpsilonTable
from meddef.paper import VARIANT_LABELS
from meddef.printed.published import ATTACKS, DATASETS, EPSILONS, Published
from meddef.records import Record

PLACE = Path("results") / "lab"
LABORATORY = "laboratory"  # source of the laboratory's own models


@dataclass(frozen=True)
class Case:
    """A row of the matrix: which defect in which columns (the others are sound)."""

    defects: tuple[tuple[str, str], ...]  # (column, defect)
    label: str

    def defect(self, column: str) -> str:
        """The defect of a column; "sound" if none."""
        return dict(self.defects).get(column, SOUND.name)


def cases() -> list[Case]:
    """Sound; each defect in every column it can change, in PGD's alone, and in PGD's beside JSMA by sign steps."""
    found = [Case((), "sound")]
    steps = BY_NAME["sign_steps_as_jsma"]
    for defect in DEFECTS:
        found.append(
            Case(tuple((column, defect.name) for column in defect.columns), f"{defect.name}: all columns")
        )
        if "pgd" in defect.columns and "clean" not in defect.columns:
            alone = ("pgd", defect.name)
            found.append(Case((alone,), f"{defect.name}: PGD alone"))
            found.append(
                Case((alone, ("jsma", steps.name)), f"{defect.name}: PGD alone, with sign steps as JSMA")
            )
    return found


def read(root: Path, kind: str = "tables") -> list[Record]:
    """The laboratory's stored records of a kind, "tables" or "robustness"; empty if it was not run.

    Phantoms come first, then real images, then the models of profiles.
    """
    records = [
        json.loads(line)
        for path in (root / PLACE).glob(f"{kind}_*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[bool, str, bool, str]:
    source, dataset = record.get("source_of_models", LABORATORY), record["dataset"]
    return source != LABORATORY, source, not is_drawn(dataset), dataset


def is_drawn(dataset: str) -> bool:
    """Whether its images are phantoms."""
    return dataset.startswith("phantom")


def recorded(records: Iterable[Record], dataset: str) -> set[str]:
    """The defects in a dataset's records; a new one appears after the next ``meddef lab``."""
    return {record["defect"] for record in records if record["dataset"] == dataset}


def subjects(records: Iterable[Record]) -> list[tuple[str, str]]:
    """(dataset, model) in the order of the records."""
    return list(dict.fromkeys((record["dataset"], record["model"]) for record in records))


def assemble(records: Iterable[Record], dataset: str, model: str, case: Case) -> EpsilonTable:
    """The table of one subject with the case's defects, from columns that were recorded one defect at a time."""
    cells = {
        (record["defect"], record["attack"], record["eps"]): record
        for record in records
        if (record["dataset"], record["model"]) == (dataset, model)
    }
    clean = cells[case.defect("clean"), "clean", 0.0]
    printed = {
        (attack, eps): str(cells[case.defect(attack), attack, eps]["accuracy"])
        for attack in ATTACKS
        for eps in EPSILONS
    }
    prior = float(cells["collapse", "clean", 0.0]["accuracy"])
    return EpsilonTable(clean["accuracy"], printed, clean["n"], prior)


def of_the_paper(published: Published) -> dict[str, list[EpsilonTable]]:
    """Dataset -> the tables of its five models."""
    found: dict[str, list[EpsilonTable]] = {}
    for dataset in DATASETS:
        classes = published.protocol["datasets"][dataset]["class_counts"]["test"].values()
        for variant in VARIANT_LABELS:
            printed = {
                (attack, eps): str(published.accuracy(dataset, variant, attack, eps))
                for attack in ATTACKS
                for eps in EPSILONS
            }
            table = EpsilonTable(
                str(published.clean(dataset, variant)),
                printed,
                published.test_attention_or_size(dataset),
                100 * max(classes) / sum(classes),
            )
            found.setdefault(dataset, []).append(table)
    return found
