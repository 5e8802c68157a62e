"""Counts and statements of the text against the records of data, trainings, sizes and times.

Each function is named by a check of kind "fact" and takes one profile's records of one dataset and what the check
gives; None where the records do not hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from meddef.claims import facts_probed
from meddef.claims.cells import Cell
from meddef.claims.measured import Measured
from meddef.claims.model import PAPER_SIZE
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome, counted
from meddef.image_size import px
from meddef.records import Record
from meddef.report.rates import mean_interval
from meddef.statistics import FEWEST_TRAININGS

Given = dict[str, Any]
DIGITS = 0.01  # of the range of pixels: within which a mean or standard deviation counts as the printed one
BONFERRONI = 1 - 0.05 / 2  # for two intervals


def _of(holds: bool, words: str) -> Outcome:
    return Outcome(HOLDS if holds else FAILS, words)


def _data(source: Measured, given: Given) -> Record | None:
    """The record of the data, if it is of the dataset that the claim is about, split as in the paper."""
    record = source.dataset.record
    return record if (record["dataset"], record["split_policy"]) == (given["dataset"], "paper") else None


def total(source: Measured, given: Given) -> Outcome | None:
    """Files found and classes of a dataset."""
    if (record := _data(source, given)) is None:
        return None
    files, classes = record["report"].get("files_found"), len(record["classes"])
    if files is None:
        return None
    return _of(
        (files, classes) == (given["total"], given["classes"]), f"{files:,} image files, {classes} classes"
    )


def split(source: Measured, given: Given) -> Outcome | None:
    """Images of each class of a split, before removal of duplicates."""
    if (record := _data(source, given)) is None:
        return None
    found = record["report"].get("counts_before_removal", record["counts"])[given["split"]]
    words = f"{sum(found.values()):,} images: {', '.join(f'{n:,} {name}' for name, n in found.items())}"
    return _of(found == given["classes"], words)


def splits(source: Measured, given: Given) -> Outcome | None:
    """Images of every split."""
    if (record := _data(source, given)) is None:
        return None
    found = {name: sum(each.values()) for name, each in record["counts"].items()}
    return _of(all(found[name] == given[name] for name in found), f"{found}")


def stats(source: Measured, given: Given) -> Outcome | None:
    """Mean and standard deviation of the training pixels: they hold, or depend on preprocessing.

    Size and padding change them, and the available images may be stretched copies, so they never fail.
    """
    if (record := _data(source, given)) is None:
        return None
    parts = [
        (
            abs(record[name] - given[name]) <= DIGITS,
            f"{words} {record[name]:.4f}, printed {given[name]:.4f}",
        )
        for name, words in (("mean", "mean"), ("std", "standard deviation"))
    ]
    words = f"{'; '.join(text for _, text in parts)}, ±{DIGITS:g} allowed"
    if record["image_size"] == PAPER_SIZE and all(holds for holds, _ in parts):
        return Outcome(HOLDS, words)
    return Outcome(
        OPEN,
        f"{words}; depends on preprocessing, here to {px(record['image_size'])}, and on the files: originals or, "
        "as those at hand, stretched copies",
    )


def duplicates(source: Measured, given: Given) -> Outcome | None:
    """Duplicate files."""
    if (record := _data(source, given)) is None:
        return None
    found = record["report"].get("duplicates", {}).get("exact")
    if not found:
        return None
    words = (
        f"{found['surplus_files']} duplicate files, in {found['groups']} groups, printed {given['number']}"
    )
    return _of(found["surplus_files"] == given["number"], words)


def parameters(source: Measured, given: Given) -> Outcome | None:
    """Parameters of a trained model."""
    found = _parameters(source)
    if (count := found.get(given["variant"])) is None:
        return None
    return _of(f"{count / 1e6:.2f}" == given["millions"], f"{count:,} parameters")


def retained(source: Measured, given: Given) -> Outcome | None:
    """A model with MSF alone has the printed size of "w/o AFD+MFE+MSF"; so has one without any component."""
    found = _parameters(source)
    if not {"no_afd_mfe", "no_afd_mfe_msf"} <= set(found):
        return None
    alone, none = found["no_afd_mfe"], found["no_afd_mfe_msf"]
    words = (
        f"with MSF alone {alone / 1e6:.2f} M parameters, with a plain block for all three {none / 1e6:.2f} M, "
        f"printed {given['millions']} M"
    )
    return _of(f"{alone / 1e6:.2f}" == given["millions"], words)


def _parameters(source: Measured) -> dict[str, int]:
    return {r["variant"]: r["parameters"] for r in source.report.of("train", source.dataset.name)}


def recall(source: Measured, given: Given) -> Outcome | None:
    """Accuracy on PNEUMONIA against that on NORMAL, of the full model.

    Higher by less than ``at_most`` points; or within ``within``, which is checked only at the paper's image size.
    """
    normal, ill = (
        mean_interval(
            source.at(Cell(source.dataset.name, "full", "clean", "clean", 0.0, 0.0, name)),
            "clean",
            BONFERRONI,
        )
        for name in ("NORMAL", "PNEUMONIA")
    )
    if normal is None or ill is None:
        return None
    words = f"PNEUMONIA {ill.words()}, NORMAL {normal.words()}"
    least, most = ill.low - normal.high, ill.high - normal.low  # of the difference
    low, high = (-given["within"], given["within"]) if "within" in given else (0.0, given["at_most"])
    words += f", difference within [{least:+.1f}, {most:+.1f}]; tested against {low:g} to {high:g} points"
    size = source.dataset.record["image_size"]
    if "within" in given and size != PAPER_SIZE:
        return Outcome(OPEN, f"{words}; at {px(size)}")
    if not ill.decides:
        return Outcome(OPEN, words)
    outside = least > high or most < low
    return Outcome(HOLDS if low <= least and most <= high else FAILS if outside else OPEN, words)


def stable_training(source: Measured, given: Given) -> Outcome | None:
    """Whether validation ever fell so far that the rule for easing acted; open with few trainings of a variant."""
    trained = [r for r in source.report.of("train", source.dataset.name) if r["training"] == "adversarial"]
    if not trained:
        return None
    fewest = min(Counter(record["variant"] for record in trained).values())
    eased = sum(min(row["ease"] for row in record["history"]) < 1 for record in trained)
    rule = trained[0]["settings"]["adversarial"]
    words = (
        f"validation fell by more than {100 * rule['tolerance']:g} points for {counted(rule['patience'], 'epoch')} in "
        f"{eased} of {counted(len(trained), 'adversarial training')} of {counted(trained[0]['epochs'], 'epoch')}"
    )
    if fewest < FEWEST_TRAININGS:
        return Outcome(OPEN, f"{words}; {counted(fewest, 'training')} of a variant")
    return _of(not eased, words)


FACTS: dict[str, Callable[[Measured, Given], Outcome | None]] = {
    function.__name__: function
    for function in (
        duplicates, parameters, recall, retained, split, splits, stable_training, stats, total,
    )
} | facts_probed.FACTS  # fmt: skip
