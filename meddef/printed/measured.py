"""This project's own measurements for a finding about the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddef.records import Record, load_records

FEWEST = 100  # images; with fewer, one image is more than a point
SAME = ("steps", "step_size", "precision")
CELL = (
    "profile", "dataset", "data_fingerprint", "variant", "training", "seed", "prune_rate", "prune_scope", "grid", "eps",
    "n",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """BIM and PGD on the same model and images with the same ε, step and number of steps; ``points`` apart."""

    points: float
    n: int
    eps: float
    steps: int
    step_size: float


def published_records(results: Path) -> list[Record]:
    """Every attack record of every profile under ``results``, which it names as ``profile``; none without a folder."""
    profiles = sorted(path.parent.name for path in results.glob("*/records.jsonl"))
    return [
        {**record, "profile": profile}
        for profile in profiles
        for record in load_records(results, profile, kind="attack")
    ]


def pairs(records: Iterable[Record]) -> list[Pair]:
    """Every pair on at least ``FEWEST`` images."""
    found: dict[tuple[Any, ...], dict[str, Record]] = {}
    for record in records:
        if record["attack"] in ("bim", "pgd") and record["n"] >= FEWEST:
            settings = [record["settings"].get(name) for name in SAME]
            place = tuple(record[name] for name in CELL) + tuple(settings)
            found.setdefault(place, {})[record["attack"]] = record
    return [_pair(both["bim"], both["pgd"]) for both in found.values() if len(both) == 2]


def _pair(bim: Record, pgd: Record) -> Pair:
    points = 100 * abs(bim["correct_after"] - pgd["correct_after"]) / bim["n"]
    settings = bim["settings"]
    return Pair(points, bim["n"], bim["eps"], settings["steps"], settings["step_size"])


def largest_gap(records: Iterable[Record], printed: Mapping[str, Any]) -> str:
    """The largest gap with the steps that the paper prints, and with any, in a sentence; empty without records.

    Args:
        printed: the paper's settings of PGD: steps and step_size.
    """
    every = pairs(records)
    same = [p for p in every if (p.steps, p.step_size) == (printed["steps"], printed["step_size"])]
    sentences = [
        f"{words} the largest gap is {_told(found)}."
        for words, found in (
            ("In this project's runs with the same steps", same),
            ("Over all its runs", every if len(every) > len(same) else []),
        )
        if found
    ]
    return " ".join(sentences)


def _told(found: list[Pair]) -> str:
    largest = max(found, key=lambda pair: pair.points)
    return (
        f"{largest.points:.2f} points in {len(found)} pairs (ε = {largest.eps:g}, {largest.steps} steps of "
        f"{largest.step_size:g}, n = {largest.n})"
    )
