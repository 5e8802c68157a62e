"""The ensemble beside the public AutoAttack: budgets and verdicts, from ``results/bench``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.data import CARDS
from meddef.report.display import DASH, NO_BREAK, Table
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import model_label
from meddef.report.tables_setup import circumstances

PLACE = Path("results") / "bench" / "autoattack.json"
MISSED = PLACE.with_name("autoattack_missed.json")
NOTHING = "No comparison is stored: run `python -m tests.bench.autoattack`.\n"
PUBLIC = "autoattack"
WHO = {
    PUBLIC: "AutoAttack, standard",
    "same_budget": "ensemble with AutoAttack's budget",
    "default": "ensemble by default",
    "first_edition": "ensemble as in the first edition's runs",
}
KINDS = {  # an attack of either side -> its row
    "pgd": "PGD from the image",
    "apgd-ce": "APGD", "apgd_ce": "APGD", "apgd_margin": "APGD",
    "apgd-t": "APGD, targeted", "apgd_dlr_targeted": "APGD, targeted",
    "fab-t": "FAB", "fab": "FAB",
    "square": "Square",
}  # fmt: skip
ALL_OTHERS = f"(K{NO_BREAK}−{NO_BREAK}1)"
LOSSES = {
    "apgd-ce": "cross-entropy",
    "apgd-t": "DLR",
    "ce": "cross-entropy",
    "margin": "margin",
    "dlr": "DLR",
}
IMPOSSIBLE = {2: ("apgd-t",)}  # classes -> attacks of AutoAttack whose loss they cannot have
Row = dict[str, Any]


def autoattack_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; a note if nothing was measured."""
    path = root / PLACE
    if not path.is_file():
        return {"autoattack_budgets.md": NOTHING, "autoattack.md": NOTHING}
    bench = json.loads(path.read_text(encoding="utf-8"))
    parts = [summary(bench["rows"]), comparison(bench["rows"])._repr_html_(), origin(bench["provenance"])]
    missed = root / MISSED
    if missed.is_file():
        parts.insert(1, why_missed(json.loads(missed.read_text(encoding="utf-8"))["rows"]))
    return {
        "autoattack_budgets.md": f"{budgets(bench['budgets'])._repr_html_()}\n",
        "autoattack.md": "\n\n".join(parts) + "\n",
    }


def budgets(rows: list[Row]) -> Table:
    """The budget of either side per image: one row per attack, for two classes and for more."""
    shown = [who for who in WHO if who != "same_budget"]
    found = []
    for classes, group in ((2, "two classes"), (4, "four classes or more")):
        cells: dict[str, dict[str, str]] = {}
        for row in rows:
            if row["classes"] in (None, classes) and row["member"] not in IMPOSSIBLE.get(classes, ()):
                cells.setdefault(KINDS[row["member"]], {})[row["who"]] = _spent(row, classes)
        for kind in dict.fromkeys(KINDS.values()):
            if kind in cells:
                line = {WHO[who]: cells[kind].get(who, DASH) for who in shown}
                found.append({"classes": group, "attack": kind, **line})
    most = max(row.get("restarts", 1) for row in rows)
    caption = (
        "Budget of each side for an image that resists, attacks in the ensemble's order. "
        + ("No restarts. " if most == 1 else f"Attacks start up to {most} times. ")
        + "K is the number of classes; where AutoAttack would have fewer targets than the ensemble, it gets K − 1."
    )
    return Table(pd.DataFrame(found), caption, header=2, left=tuple(WHO[who] for who in shown))


def _spent(row: Row, classes: int) -> str:
    """ "100 steps × 9 targets (DLR)"; "5,000 queries"."""
    if "queries" in row:
        return f"{row['queries']:,} queries"
    loss = LOSSES.get(str(row.get("loss", row["member"])), "")
    return f"{row['steps']} steps{_times(row.get('targets', 0), classes)}{f' ({loss})' if loss else ''}"


def _times(targets: int | None, classes: int) -> str:
    """For each of how many other classes: None is all, 0 none in particular; with two there is but one."""
    if targets == 0 or classes == 2:
        return ""
    return f" × {ALL_OTHERS if targets in (None, classes - 1) else targets} targets"


def disagreements(theirs: Row, ours: Row) -> tuple[int, int]:
    """Images on which only AutoAttack succeeds, and on which only the ensemble does."""
    pairs = [(a == "-", b == "-") for a, b in zip(theirs["by"], ours["by"], strict=True)]
    return pairs.count((False, True)), pairs.count((True, False))


def conditions(rows: list[Row]) -> dict[tuple[str, float], dict[str, Row]]:
    """(dataset, ε) -> contestant -> its row."""
    found: dict[tuple[str, float], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row["dataset"], row["eps"]), {})[row["who"]] = row
    return found


def summary(rows: list[Row]) -> str:
    """In sentences: the number of outcomes, and the disagreements of each ensemble with AutoAttack in both
    directions."""
    met = conditions(rows)
    verdicts = sum(by_who[PUBLIC]["n"] for by_who in met.values())
    where = ", ".join(
        f"{who[PUBLIC]['n']} {_in_sentence(dataset)} at ε = {_eps(eps)}"
        for (dataset, eps), who in met.items()
    )
    models = ", ".join(dict.fromkeys(model_label(row["variant"], row["training"]) for row in rows))
    told = []
    for who, name in WHO.items():
        pairs = [disagreements(by_who[PUBLIC], by_who[who]) for by_who in met.values() if who in by_who]
        if who != PUBLIC and pairs:
            missed, extra = (sum(side) for side in zip(*pairs, strict=True))
            told.append(
                f"the {name} misses {missed} that AutoAttack fools and fools {extra} that AutoAttack misses"
            )
    return (
        f"Both were run on the same models ({models}) and images ({where}), {verdicts} verdicts in total: "
        f"{'; '.join(told)}."
    )


def why_missed(rows: list[Row]) -> str:
    """In a sentence: successful starts on the images missed by the first edition, by steps and gradient."""
    images = {(row["dataset"], row["eps"], row["image"]) for row in rows}
    told = []
    for steps in dict.fromkeys(row["steps"] for row in rows):
        counts = {}
        for fast in (True, False):
            some = [row for row in rows if row["steps"] == steps and row["fast"] == fast]
            counts[fast] = f"{sum(row['fallen'] for row in some)} of {sum(row['starts'] for row in some)}"
        told.append(
            f"with {steps} steps the attack succeeds from {counts[True]} random starts with gradients of the faster "
            f"copy and from {counts[False]} with those of the model"
        )
    return (
        f"The images on which only AutoAttack succeeds, not the first edition's settings ({len(images)}) "
        f"were re-attacked by PGD and APGD: {'; '.join(told)}."
    )


def comparison(rows: list[Row]) -> Table:
    """One row per condition and contestant: accuracy, disagreements, and successes of each attack."""
    found = []
    for (dataset, eps), by_who in conditions(rows).items():
        for who, name in WHO.items():
            if who in by_who:
                row = by_who[who]
                missed, extra = disagreements(by_who[PUBLIC], row)
                found.append(
                    {
                        "condition": f"{_title(dataset)}, {row['classes']} classes, ε = {_eps(eps)}, n = {row['n']}",
                        "attacks": name,
                        "correct before": sum(by != "0" for by in row["by"]),
                        "correct after": row["by"].count("-"),
                        "AutoAttack alone fools": DASH if who == PUBLIC else missed,
                        "ensemble alone fools": DASH if who == PUBLIC else extra,
                        "fooled by": fooled_by(row),
                    }
                )
    caption = (
        "The same images of the same models, image by image. Each attack sees the images that survived the previous "
        "ones; one run each, seed 0; with two classes AutoAttack runs without targeted APGD, whose loss needs four "
        "classes."
    )
    return Table(pd.DataFrame(found), caption, header=2, left=("fooled by",))


def fooled_by(row: Row) -> str:
    """ "APGD 20, Square 1": images on which each attack was the first to succeed."""
    counts: Counter[str] = Counter(row["by"])
    named = [(KINDS[name], counts[str(place)]) for place, name in enumerate(row["members"], start=1)]
    return ", ".join(f"{name} {count}" for name, count in named if count) or "none"


def origin(provenance: Row) -> str:
    """Versions, hardware, threads and date, in a sentence."""
    values = circumstances([provenance])
    return (
        f"Measured with {values['versions']} on {in_markdown(values['hardware'])}, one thread each, "
        f"{values['computed']}, commit {values['git commit']}; models of the profile {provenance['profile']}. "
        "pyautoattack is AutoAttack's own code, packaged for pip."
    )


def _title(dataset: str) -> str:
    return CARDS[dataset].title


def _in_sentence(dataset: str) -> str:
    title = _title(dataset)
    return title[0].lower() + title[1:]


def _eps(eps: float) -> str:
    levels = eps * 255
    return f"{levels:.0f}/255" if abs(levels - round(levels)) < 1e-6 else f"{eps:g}"
