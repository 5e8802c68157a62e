"""What each component adds: two models on the same images, compared image by image. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import bdtr

from meddef.display import Table
from meddef.paper import VARIANT_LABELS, compression_table, epsilon_table
from meddef.records import Record
from meddef.report import Dataset, Report, attack_name, ordered_attacks

# Each step of the paper's ablation: the component, and the models without and with it.
STEPS = {
    "MSF": ("no_afd_mfe_msf", "no_afd_mfe"),
    "MFE": ("no_afd_mfe", "no_afd"),
    "AFD": ("no_afd", "full"),
    "all of DAAM": ("no_afd_mfe_msf", "full"),
}


@dataclass(frozen=True)
class Paired:
    """Two models on the same n images: how many only the one, only the other got right."""

    n: int
    only_without: int
    only_with: int

    @property
    def difference(self) -> float:
        """Accuracy with the component minus accuracy without, in percentage points."""
        return 100 * (self.only_with - self.only_without) / self.n

    @property
    def p_value(self) -> float:
        """Exact McNemar test (McNemar 1947): under no difference, each disagreement is a fair coin."""
        fewer = min(self.only_with, self.only_without)
        return min(1.0, 2 * float(bdtr(fewer, self.only_with + self.only_without, 0.5)))


def right(record: Record) -> np.ndarray:
    """Which images are right after the attack, bool (n,)."""
    return np.array([a == b for a, b in zip(record["labels"], record["after"], strict=True)])


def paired(without: Record, having: Record) -> Paired:
    """Raises ValueError when the two records do not hold the same images (their labels differ)."""
    if without["labels"] != having["labels"] or without["data_fingerprint"] != having["data_fingerprint"]:
        raise ValueError("the two records hold different images and cannot be paired")
    a, b = right(without), right(having)
    return Paired(len(a), int((a & ~b).sum()), int((b & ~a).sum()))


def comparisons(report: Report, dataset: Dataset, step: str, eps: float) -> dict[str, Paired]:
    """Attack -> the paired comparison of one step, clean and at ``eps``, added up over seeds.

    Only adversarially trained models are compared; a step whose models were not both run gives nothing.
    """
    found: dict[tuple[str, str, int], Record] = {}
    for record in report.grid("epsilon", dataset.name):
        at_eps = record["eps"] in (eps, None) or record["attack"] == "clean"
        if record["training"] == "adversarial" and at_eps:
            found[record["variant"], record["attack"], record["seed"]] = record
    without, having = STEPS[step]
    result = {}
    for attack in ordered_attacks(attack for _, attack, _ in found):
        seeds = sorted({seed for _, _, seed in found})
        keys = [((without, attack, seed), (having, attack, seed)) for seed in seeds]
        pairs = [paired(found[a], found[b]) for a, b in keys if a in found and b in found]
        if pairs:
            result[attack] = Paired(
                sum(p.n for p in pairs), sum(p.only_without for p in pairs), sum(p.only_with for p in pairs)
            )
    return result


def paired_differences(report: Report, eps: float) -> Table:
    """Every step of the ablation, clean and under each attack at ``eps``, one row a dataset, step and condition."""
    rows = [
        {
            "dataset": dataset.label,
            "component": step,
            "condition": attack_name(attack),
            "n": str(total.n),
            "only right with": str(total.only_with),
            "only right without": str(total.only_without),
            "difference (points)": f"{total.difference:+.1f}",
            "p (McNemar)": f"{total.p_value:.3f}" if total.p_value >= 0.001 else "< 0.001",
        }
        for dataset in report.datasets
        for step in STEPS
        for attack, total in comparisons(report, dataset, step, eps).items()
    ]
    caption = (
        f"The same images before two models that differ in one component, at ε = {eps:g}. "
        "p is not corrected for the number of comparisons."
    )
    return Table(pd.DataFrame(rows), caption, header=3)


def published_steps() -> Table:
    """The pairs of published numbers that the paper's text rests its ablation on, looked up in its tables."""
    clean = (
        epsilon_table()
        .query("attack == 'clean' and eps == 0.05")
        .set_index(["dataset", "variant"])["printed"]
    )
    pruned = compression_table().query("prune_rate == 0.3 and dataset == 'roct'")
    asr = pruned.set_index(["variant", "attack"])["printed"]
    steps = [
        ("AFD", "ROCT, clean accuracy", "no_afd", "full", lambda v: clean["roct", v]),
        ("AFD", "ROCT, 30 % pruned, PGD ASR", "no_afd", "full", lambda v: asr[v, "pgd"]),
        ("MFE", "ROCT, 30 % pruned, JSMA ASR", "no_afd", "full", lambda v: asr[v, "jsma"]),
        ("MFE", "ROCT, 30 % pruned, JSMA ASR", "no_afd_mfe", "no_afd", lambda v: asr[v, "jsma"]),
        (
            "MSF",
            "Chest X-Ray, clean accuracy",
            "no_afd_mfe_msf",
            "no_afd_mfe",
            lambda v: clean["chest_xray", v],
        ),
    ]
    rows = [
        {
            "component": component,
            "number": number,
            "without": f"{look_up(without)}\n{VARIANT_LABELS[without]}",
            "with": f"{look_up(having)}\n{VARIANT_LABELS[having]}",
        }
        for component, number, without, having, look_up in steps
    ]
    return Table(
        pd.DataFrame(rows),
        "What the paper's tables print for the models that its ablation compares, in percent.",
        left=("number",),
    )
