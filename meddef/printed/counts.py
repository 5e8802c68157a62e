"""Counts: parts against totals, percentages against the counts they come from, parameters against the architecture."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from meddef.paper import VARIANT_LABELS
from meddef.printed import grim
from meddef.printed.finding import CANNOT_BE_CHECKED, Finding, Verdict, verdict_of
from meddef.printed.published import DATASETS, DEFENDED, EPSILON_TABLE, Published


def splits(published: Published) -> Iterator[Finding]:
    """Splits sum to the total, and classes to their split."""
    for dataset in DATASETS:
        card = published.protocol["datasets"][dataset]
        parts, total = card["splits"], card["total"]
        text = " + ".join(f"{count:,}" for count in parts.values())
        detail = f"{text} = {sum(parts.values()):,}; the stated total is {total:,}."
        yield _finding(f"splits:{dataset}", card["section"], sum(parts.values()) == total, detail)
        for split, classes in card["class_counts"].items():
            text = " + ".join(f"{count:,}" for count in classes.values())
            detail = f"{split}: {text} = {sum(classes.values()):,}; the stated size is {parts[split]:,}."
            yield _finding(
                f"classes:{dataset}:{split}", card["section"], sum(classes.values()) == parts[split], detail
            )


def duplicates(published: Published) -> Iterator[Finding]:
    """Duplicates said to be removed, against the total."""
    for dataset in DATASETS:
        card = published.protocol["datasets"][dataset]
        removed = card.get("duplicates_removed")
        if removed is None:
            continue
        total = sum(card["splits"].values())
        detail = (
            f"{removed} duplicates are said to be removed; the splits sum to {total:,} and the dataset is given as "
            f"{card['total']:,}. Removal from {card['total']:,} would leave {card['total'] - removed:,}; if "
            f"{card['total']:,} remained after removal, there were {card['total'] + removed:,} before. Only one "
            "number is given."
        )
        yield _finding(f"duplicates:{dataset}", "III-A2", CANNOT_BE_CHECKED, detail)


def confusion(published: Published) -> Iterator[Finding]:
    """The matrices in words: rows against class sizes, percentages against counts, diagonal against accuracy."""
    for dataset in DATASETS:
        words = published.protocol["confusion"][dataset]
        entries = {(e["actual"], e["predicted"]): e["count"] for e in words["named_entries"]}
        sizes = published.protocol["datasets"][dataset]["class_counts"]["test"]
        for label, size in sizes.items():
            row = [count for (actual, _), count in entries.items() if actual == label]
            name = f"confusion:{dataset}:{label}"
            if not row:
                yield _finding(name, "V-H", CANNOT_BE_CHECKED, f"No entry for {label} is named in the text.")
                continue
            detail = f"{label}: {' + '.join(map(str, row))} = {sum(row)} named; the class has {size}."
            yield _finding(name, "V-H", sum(row) == size, detail)
        yield from _confusion_percentages(published, dataset, entries, sizes)
        yield _diagonal(published, dataset, entries, sizes)


def _confusion_percentages(
    published: Published, dataset: str, entries: dict[tuple[str, str], int], sizes: dict[str, int]
) -> Iterator[Finding]:
    words = published.protocol["confusion"][dataset]
    for label, printed in words.get("printed_accuracy_percent", {}).items():
        yield _percentage(f"{dataset}:{label}:accuracy", printed, entries[label, label], sizes[label])
    for label, printed in words.get("printed_error_percent", {}).items():
        wrong = sum(n for (a, p), n in entries.items() if a != p and label in (a, "overall"))
        size = sum(sizes.values()) if label == "overall" else sizes[label]
        yield _percentage(f"{dataset}:{label}:error", printed, wrong, size)


def _percentage(name: str, printed: str, count: int, of: int) -> Finding:
    detail = f"{count}/{of} = {100 * count / of:.3f} %; printed as {printed} %."
    return _finding(f"percentage:{name}", "V-H", count in grim.hits(printed, of), detail)


def _diagonal(
    published: Published, dataset: str, entries: dict[tuple[str, str], int], sizes: dict[str, int]
) -> Finding:
    known = sum(count for (actual, predicted), count in entries.items() if actual == predicted)
    open_classes = [label for label in sizes if (label, label) not in entries]
    spare, n = sum(sizes[label] for label in open_classes), sum(sizes.values())
    clean = str(published.clean(dataset, "full"))
    correct = grim.hits(clean, n)
    fits = [k for k in correct if known <= k <= known + spare]
    named = (
        f"{known}"
        if not open_classes
        else f"{known} to {known + spare} ({', '.join(open_classes)} not named)"
    )
    detail = (
        f"Correct in the matrix: {named} of {n}, that is {100 * known / n:.3f} %"
        f"{' or more' if open_classes else ''}; the clean accuracy in {EPSILON_TABLE[dataset]} is {clean} %, "
        f"{f'{correct[0]}/{n}' if correct else f'no k/{n}'}."
    )
    if open_classes and fits:
        detail += f" That leaves {fits[0] - known} correct for {', '.join(open_classes)}."
    if not fits:
        detail += " A matrix from another checkpoint or another test set would also explain the difference."
    return _finding(f"confusion_accuracy:{dataset}", "V-H", bool(fits), detail)


def parameters(published: Published) -> Iterator[Finding]:
    """Parameter counts of Tables 1 and 2: the head's K outputs are all that may differ; parts may only add."""
    width = published.protocol["model"]["fusion"][-1] + 1
    classes = [len(published.protocol["datasets"][dataset]["classes"]) for dataset in DATASETS]
    outputs = abs(classes[0] - classes[1])
    millions = Decimal(outputs * width) / 10**6
    for variant in VARIANT_LABELS:
        printed = [published.parameters(dataset, variant) for dataset in DATASETS]
        holds = abs(printed[0] - printed[1]) <= millions + Decimal("0.01")
        detail = (
            f"{VARIANT_LABELS[variant]}: {printed[0]} M at K = {classes[0]}, {printed[1]} M at K = {classes[1]}; "
            f"{outputs} outputs of {width} parameters differ, {millions} M, before rounding."
        )
        yield _finding(f"parameters:{variant}", "table2", holds, detail)
    for dataset in DATASETS:
        order = [published.parameters(dataset, variant) for variant in DEFENDED]
        detail = " → ".join(f"{VARIANT_LABELS[v]} {m} M" for v, m in zip(DEFENDED, order, strict=True)) + "."
        if order != sorted(order):
            detail += (
                " Replacing a removed part by a plain block would explain a larger model with fewer parts."
            )
        yield _finding(f"parameters_order:{dataset}", EPSILON_TABLE[dataset], order == sorted(order), detail)


def _finding(id_: str, exhibit: str, verdict: bool | Verdict, detail: str) -> Finding:
    verdict = verdict_of(verdict) if isinstance(verdict, bool) else verdict
    return Finding(id_, "consistency", exhibit, None, None, verdict, detail)
