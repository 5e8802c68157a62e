"""Defences around a trained model, each under a naive, an adaptive and a transfer attack, and certificates.

from meddef.report import defenses
defenses.table(report)  # three attackers side by side, one row per model and defence
defenses.verdict(report)  # which defence holds, which only breaks gradients
defenses.certified(report)  # accuracy that is proven at a radius beside what an attack leaves
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from meddef.records import Record
from meddef.report.display import DASH, Table, Text, budget, bullets
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import attack_name, short_label
from meddef.report.rates import MeanRate, mean_interval
from meddef.report.report import Report
from meddef.report.worst_case import joint
from meddef.statistics import Proportion

ATTACKERS = ("naive", "adaptive", "transfer")
NO_CERTIFICATE = "-"  # as records write it
BROKEN = 20.0  # points between the naive attacker and the strongest, from which a defence is said to break gradients
BySeed = dict[int, Record]


class Place(NamedTuple):
    """One defence around one model under attacks of one kind and size."""

    dataset: str
    variant: str
    training: str
    defense: str
    attack: str
    eps: float


def by_attacker(report: Report) -> dict[Place, dict[str, BySeed]]:
    """L∞ attacks: place -> attacker -> seed -> record; beside the three attackers "strongest", the worst case of them
    for each image."""
    found: dict[Place, dict[str, BySeed]] = {}
    for record in report.of("defense"):
        if record["attacker"] in ATTACKERS and record["settings"].get("norm", "linf") == "linf":
            place = Place(*(record[name] for name in Place._fields))
            found.setdefault(place, {}).setdefault(record["attacker"], {})[record["seed"]] = record
    for attackers in found.values():
        seeds = set.intersection(*(set(records) for records in attackers.values()))
        attackers["strongest"] = {
            seed: joint([a[seed] for a in attackers.values()]) for seed in sorted(seeds)
        }
    return found


def table(report: Report) -> Table:
    """Accuracy of each defended model, in percent: clean, and under each attacker and the worst of them."""
    rows = []
    for place, attackers in by_attacker(report).items():
        first = next(iter(attackers.values()))
        cells = {
            "clean": _cell(first, "clean"),
            **{name: _cell(attackers.get(name, {}), "robust") for name in (*ATTACKERS, "strongest")},
        }
        rows.append({**_named(report, place), **cells, "n": str(next(iter(first.values()))["n"])})
    caption = (
        "Accuracy in percent with its 95 % interval. The naive attacker uses the defence's own gradients (none "
        "through a codec, a rounding or a classifier without gradients; one draw of the noise), the adaptive one "
        "bypasses the defence (straight-through, or the mean over draws), the transfer attacker attacks the bare "
        "model. Strongest is the worst of the three for each image, by which a defence is rated."
    )
    return Table(pd.DataFrame(rows), caption, header=2, left=("defence",))


def verdict(report: Report) -> Text:
    """One sentence per defence and ε: whether it holds, and how much of it the naive attack made up."""
    sentences = []
    for place, attackers in by_attacker(report).items():
        rates = {name: mean_interval(records, "robust") for name, records in attackers.items()}
        naive, strongest = rates.get("naive"), rates.get("strongest")
        if naive is None or strongest is None:
            continue
        named = _named(report, place)
        gap = naive.value - strongest.value
        said = "broken gradients account for the difference" if gap >= BROKEN else "gradients hide little"
        sentences.append(
            f"{in_markdown(named['dataset'])}, {named['model']}, {place.defense}, {attack_name(place.attack)} at ε = "
            f"{budget(place.eps)}: {naive.words()} correct under the naive attacker, {strongest.words()} under the "
            f"strongest of three: {said}."
        )
    return bullets(sentences)


def certified(report: Report) -> Table:
    """Smoothed models: certified accuracy at each L2 radius, and accuracy under the adaptive L2 attack, where
    available. The former never exceeds the latter."""
    rows = []
    for record, attacks in certificates(report):
        place = Place(**{name: record[name] for name in Place._fields} | {"eps": 0.0})
        for radius in sorted({0.0, *attacks}):
            under = attacks.get(radius)
            cells = {
                "L2 radius": f"{radius:g}",
                "certified correct": _share(certified_right(record, radius), record["n"]),
                "correct under attack": _share(under["correct_after"], under["n"]) if under else DASH,
                "abstains": f"{100 * record['certified'].count(NO_CERTIFICATE) / record['n']:.1f}",
                "n": str(record["n"]),
                "seed": str(record["seed"]),
            }
            rows.append(_named(report, place) | cells)
    caption = (
        "Randomized smoothing: share of test images, in percent, with a correct prediction that is certified within "
        "the L2 radius (Clopper-Pearson bound), and accuracy under PGD of that radius through the mean over draws of "
        "noise. Radius 0 is a correct prediction without abstention."
    )
    return Table(pd.DataFrame(rows), caption, header=2, left=("defence",))


def certificates(report: Report) -> list[tuple[Record, dict[float, Record]]]:
    """Each record of certificates, and the adaptive L2 attacks on the same smoothed model by their radius."""
    same = ("dataset", "variant", "training", "defense", "seed")
    l2: dict[tuple[Any, ...], dict[float, Record]] = {}
    for record in report.of("defense"):
        if record["settings"].get("norm") == "l2":
            l2.setdefault(tuple(record[name] for name in same), {})[record["eps"]] = record
    return [
        (record, l2.get(tuple(record[name] for name in same), {}))
        for record in report.of("defense")
        if record["attacker"] == "certificate"
    ]


def certified_right(record: Record, radius: float) -> int:
    """Images of a certificate's record that are certified correct at ``radius`` (L2, pixel units)."""
    triples = zip(record["labels"], record["certified"], record["radius"], strict=True)
    return sum(label == answer and found >= radius for label, answer, found in triples)


def _named(report: Report, place: Place) -> dict[str, str]:
    labels = {dataset.name: dataset.label for dataset in report.datasets}
    named = {
        "dataset": labels[place.dataset],
        "model": short_label(place.variant, place.training),
        "defence": place.defense,
    }
    return named | ({"attack": f"{attack_name(place.attack)}, ε = {budget(place.eps)}"} if place.eps else {})


def _cell(records: BySeed, metric: str) -> str:
    return rate_cell(mean_interval(records, metric))


def rate_cell(rate: MeanRate | None) -> str:
    """ "93.5" and below it "[90.1, 95.9]"; a dash where there is no rate."""
    return DASH if rate is None else f"{rate.value:.1f}\n[{rate.low:z.1f}, {rate.high:z.1f}]"


def _share(hits: int, n: int) -> str:
    low, high = Proportion(hits, n).interval
    return f"{100 * hits / n:.1f}\n[{100 * low:z.1f}, {100 * high:z.1f}]"
