"""Effect of each component: two models on the same images, compared image by image."""

from __future__ import annotations

import pandas as pd

from meddef.paper import VARIANT_LABELS, compression_table, epsilon_table
from meddef.records import Record
from meddef.report.display import Table
from meddef.report.labels import attack_name, ordered_attacks
from meddef.report.paired import METHOD, Effect, corrected, effect
from meddef.report.report import Dataset, Report

# Each step of the paper's ablation: the component, and the models without and with it.
STEPS = {
    "MSF": ("no_afd_mfe_msf", "no_afd_mfe"),
    "MFE": ("no_afd_mfe", "no_afd"),
    "AFD": ("no_afd", "full"),
    "all of DAAM": ("no_afd_mfe_msf", "full"),
}


def comparisons(report: Report, dataset: Dataset, eps: float) -> dict[tuple[str, str], Effect]:
    """(step, attack) -> accuracy with the component minus accuracy without it, clean and at ``eps``.

    Only adversarially trained models are compared; a step whose models were not both run gives nothing. Each step is a
    question; p-values are corrected for its conditions (Holm).
    """
    found: dict[tuple[str, str], dict[int, Record]] = {}
    for record in report.alike("epsilon", dataset=dataset.name):
        at_eps = record["attack"] == "clean" or record["eps"] in (eps, None)
        if record["training"] == "adversarial" and at_eps:
            found.setdefault((record["variant"], record["attack"]), {})[record["seed"]] = record
    effects: dict[tuple[str, str], Effect] = {}
    for step, (without, having) in STEPS.items():
        ours = {}
        for attack in ordered_attacks(attack for _, attack in found):
            with_it, without_it = (found.get((variant, attack), {}) for variant in (having, without))
            if difference := effect([(1, with_it), (-1, without_it)]):
                ours[step, attack] = difference
        effects |= corrected(ours)
    return effects


def paired_differences(report: Report, eps: float) -> Table:
    """Every step of the ablation, clean and under each attack at ``eps``, one row per dataset, step and condition."""
    rows = [
        {
            "dataset": dataset.label,
            "component": step,
            "condition": attack_name(attack),
            "n": str(found.n),
            "seeds": str(found.trainings),
            "difference (points)": found.cell(),
            "p, corrected": found.evidence(),
        }
        for dataset in report.datasets
        for (step, attack), found in comparisons(report, dataset, eps).items()
    ]
    caption = (
        f"Two models that differ in one component, on the same images, at ε = {eps:g}: accuracy with the component "
        f"minus accuracy without it. {METHOD}"
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
        "The paper's printed values for the models that its ablation compares, in percent.",
        left=("number",),
    )
