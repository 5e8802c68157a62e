"""Counts and statements of the text against the records: of data, trainings, sizes and times. No torch here.

Each function is named by a check of kind "fact" and takes one profile's records of one dataset and what the check
gives; None where the records do not hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meddef.claims.cells import Cell
from meddef.claims.measured import Measured
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome
from meddef.records import Record
from meddef.report.rates import mean_interval

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
    """Images of each class of a split, before repeated ones are taken out."""
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
    """Mean and standard deviation of the training pixels."""
    if (record := _data(source, given)) is None:
        return None
    parts = [
        (
            abs(record[name] - given[name]) <= DIGITS,
            f"{words} {record[name]:.4f}, printed {given[name]:.4f}",
        )
        for name, words in (("mean", "mean"), ("std", "standard deviation"))
    ]
    return _of(
        all(holds for holds, _ in parts), f"{'; '.join(text for _, text in parts)}, ±{DIGITS:g} allowed"
    )


def duplicates(source: Measured, given: Given) -> Outcome | None:
    """Files that repeat another one."""
    if (record := _data(source, given)) is None:
        return None
    found = record["report"].get("duplicates", {}).get("exact")
    if not found:
        return None
    words = f"{found['surplus_files']} files repeat another one, in {found['groups']} groups, printed {given['number']}"
    return _of(found["surplus_files"] == given["number"], words)


def leakage(source: Measured, given: Given) -> Outcome | None:
    """Images and patients in more than one split."""
    if (data := _data(source, given)) is None:
        return None
    record = data["report"]
    patients, across = record.get("patients", {}), record.get("duplicates", {}).get("exact", {})
    if "in_several_splits" not in patients or "groups_across" not in across:
        return None
    shared = patients["in_several_splits"]
    words = f"{shared:,} of {patients['patients']:,} patients are in several splits"
    return _of(
        not shared and not across["groups_across"],
        f"{words}; {across['groups_across']} groups of equal images",
    )


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
    """Accuracy on PNEUMONIA against that on NORMAL, of the full model: higher, or within ``within`` points."""
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
    if not ill.decides:
        return Outcome(OPEN, words)
    if "within" in given:
        inside, outside = -given["within"] <= least and most <= given["within"], False
        outside = least > given["within"] or most < -given["within"]
        return Outcome(HOLDS if inside else FAILS if outside else OPEN, words)
    return Outcome(HOLDS if least > 0 else FAILS if most < 0 else OPEN, words)


def overhead(source: Measured, given: Given) -> Outcome | None:
    """Time of inference after pruning against before, dense and sparse (``results/bench/compression.json``)."""
    bench = source.report.bench("compression")
    rows = [row for row in bench.of("compression") if "dense_ms" in row] if bench else []
    times = {row["prune_rate"]: row for row in rows}
    if 0.0 not in times:
        return None
    before = times[0.0]["dense_ms"]
    saved = {
        rate: 100 * (1 - min(times[rate]["dense_ms"], times[rate]["sparse_ms"]) / before)
        for rate in given["rates"]
        if rate in times
    }
    if not saved:
        return None
    words = ", ".join(f"{saving:+.0f} % at {100 * rate:.0f} % pruning" for rate, saving in saved.items())
    holds = all(saving >= given["least"] for saving in saved.values())
    return _of(holds, f"time saved, dense or sparse, whichever is faster: {words} (unpruned {before:g} ms)")


def smaller(source: Measured, given: Given) -> Outcome | None:
    """Bytes of the pruned model, dense or sparse, whichever is smaller, against before."""
    bench = source.report.bench("compression")
    rows = {r["prune_rate"]: r for r in bench.of("compression") if "sparse_bytes" in r} if bench else {}
    if not {0.0, given["rate"]} <= set(rows):
        return None
    before, after = (
        rows[0.0]["dense_bytes"],
        min(rows[given["rate"]][n] for n in ("dense_bytes", "sparse_bytes")),
    )
    words = f"{after / 1e6:.0f} MB at {100 * given['rate']:.0f} % pruning, {before / 1e6:.0f} MB unpruned"
    return _of(after < before, words)


def stable_training(source: Measured, given: Given) -> Outcome | None:
    """Whether validation ever fell so far that the rule for easing acted."""
    trained = [r for r in source.report.of("train", source.dataset.name) if r["training"] == "adversarial"]
    if not trained:
        return None
    eased = sum(min(row["ease"] for row in record["history"]) < 1 for record in trained)
    rule = trained[0]["settings"]["adversarial"]
    words = (
        f"validation fell by more than {100 * rule['tolerance']:g} points for {rule['patience']} epochs in {eased} of "
        f"{len(trained)} adversarial trainings of {trained[0]['epochs']} epochs"
    )
    return _of(not eased, words)


FACTS: dict[str, Callable[[Measured, Given], Outcome | None]] = {
    function.__name__: function
    for function in (
        duplicates, leakage, overhead, parameters, recall, retained, smaller, split, splits, stable_training,
        stats, total,
    )
}  # fmt: skip
