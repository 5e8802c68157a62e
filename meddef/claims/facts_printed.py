"""Counts and statements of the text against other places in the paper.

Each function is named by a check of kind "fact" or "setting" and takes the paper and what the check gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from meddef.claims.cells import attack_words, dataset_words
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome, told
from meddef.paper import VARIANT_LABELS
from meddef.printed import best_marks, counts
from meddef.printed.finding import CANNOT_BE_CHECKED, Finding
from meddef.printed.published import ATTACKS, DATASETS, EPSILON_TABLE, EPSILONS, RATES, Published

Given = dict[str, Any]


def _of(holds: bool, words: str) -> Outcome:
    return Outcome(HOLDS if holds else FAILS, words)


def _every(comparisons: Iterable[tuple[bool, str]]) -> Outcome:
    """Holds if all do; the sentence names the exceptions."""
    outcomes = [_of(*comparison) for comparison in comparisons]
    return _of(all(o.verdict == HOLDS for o in outcomes), told("every", outcomes).rstrip("."))


def _findings(found: Iterable[Finding]) -> Outcome:
    """Findings of the audit as one."""
    known = [f for f in found if f.verdict != CANNOT_BE_CHECKED]
    return _every((f.verdict == "holds", f.detail.rstrip(".")) for f in known)


def attacks(published: Published, given: Given) -> Outcome:
    """As many attacks as the tables have."""
    found = [name for name in published.epsilon["attack"].unique() if name != "clean"]
    return _of(
        len(found) == given["number"], f"Tables 1 and 2 have {', '.join(attack_words(n) for n in found)}"
    )


def datasets(published: Published, given: Given) -> Outcome:
    """As many datasets as the tables have."""
    found = [dataset_words(name) for name in published.epsilon["dataset"].unique()]
    return _of(len(found) == given["number"], f"the tables have {', '.join(found)}")


def variants(published: Published, given: Given) -> Outcome:
    """As many MedDef variants as the tables have, the full one included."""
    found = [VARIANT_LABELS[name] for name in published.epsilon["variant"].unique() if name != "resnet18"]
    return _of(len(found) == given["number"], f"the tables have {', '.join(found)}")


def eps_grid(published: Published, given: Given) -> Outcome:
    """The ε named are those of the tables."""
    found = sorted(float(eps) for eps in published.epsilon["eps"].unique())
    words = f"Tables 1 and 2 have ε = {', '.join(f'{eps:.2f}' for eps in found)}"
    return _of(given["eps"] == found, words)


def figure_eps(published: Published, given: Given) -> Outcome:
    """The ε for which there are figures of attack success, by their captions."""
    captions = [c["quote"] for c in published.claims if c["id"].endswith(".eps") and "fig" in c["id"]]
    found = sorted({float(caption.strip("(ε=)")) for caption in captions})
    words = f"the {len(captions)} captions of ASR figures name ε = {', '.join(f'{eps:.2f}' for eps in found)}"
    return _of(given["eps"] == found, words)


def total(published: Published, given: Given) -> Outcome:
    """Images and classes of a dataset against its splits and class names."""
    card = published.protocol["datasets"][given["dataset"]]
    summed = sum(card["splits"].values())
    words = (
        f"splits sum to {summed:,}, stated {given['total']:,}; {len(card['classes'])} class names, stated "
        f"{given['classes']}"
    )
    return _of(summed == given["total"] and len(card["classes"]) == given["classes"], words)


def splits(published: Published, given: Given) -> Outcome:
    """Train + validation + test = total, and the test set is equal classes."""
    card = published.protocol["datasets"][given["dataset"]]
    summed = given["train"] + given["val"] + given["test"]
    product = given["each"] * len(card["classes"])
    words = (
        f"{given['train']:,} + {given['val']} + {given['test']} = {summed:,}, stated total {card['total']:,}; "
        f"{len(card['classes'])} × {given['each']} = {product}, stated {given['test']}"
    )
    return _of(summed == card["total"] and product == given["test"], words)


def split(published: Published, given: Given) -> Outcome:
    """The classes of a split sum to it."""
    parts = list(given["classes"].values())
    words = f"{' + '.join(map(str, parts))} = {sum(parts)}, stated {given['total']}"
    return _of(sum(parts) == given["total"], words)


def duplicates(published: Published, given: Given) -> Outcome:
    """The finding of ``meddef.printed.counts.duplicates``: one number, nothing to compare it with."""
    return Outcome(OPEN, next(counts.duplicates(published)).detail.rstrip("."))


def dropout(published: Published, given: Given) -> Outcome:
    """One dropout rate in both places."""
    fusion, training = published.protocol["model"]["dropout"], published.protocol["training"]["dropout"]
    return _of(fusion == training, f"{fusion} in the feature fusion (IV-A), {training} for training (IV-B)")


def parameters(published: Published, given: Given) -> Outcome:
    """The size of a model in text and tables."""
    printed = Decimal(given["millions"])
    found = [(d, published.parameters(d, given["variant"])) for d in DATASETS]
    return _every((millions == printed, f"{dataset_words(d)} {millions} M") for d, millions in found)


def phases(published: Published, given: Given) -> Outcome:
    """As many phases as are described."""
    names = [phase["name"] for phase in published.protocol["epsilon_schedule"]["phases"]]
    return _of(len(names) == given["number"], f"described: {', '.join(names)}")


def phase(published: Published, given: Given) -> Outcome | None:
    """A bound on ε against the ε that the phase before ends with: a drop at the border may be meant."""
    listed = published.protocol["epsilon_schedule"]["phases"]
    place = [p["name"] for p in listed].index(given["name"])
    if "eps_max" not in given or place == 0:
        return None
    before = listed[place - 1]["eps"][1]
    words = f"the phase before ends at ε = {before}; the bound afterwards is {given['eps_max']}"
    if before <= given["eps_max"]:
        return Outcome(HOLDS, words)
    return Outcome(OPEN, f"{words}: a drop at the boundary, or a cap, is not a contradiction")


def confusion(published: Published, given: Given) -> Outcome:
    """Every finding of ``meddef.printed.counts.confusion`` on the dataset, but for the clean accuracy."""
    name = f":{given['dataset']}"
    return _findings(f for f in counts.confusion(published) if name in f.id and "accuracy:" not in f.id)


def error_rates(published: Published, given: Given) -> Outcome:
    """Error rates against the counts of the matrices."""
    return _findings(
        f for f in counts.confusion(published) if f.id.startswith("percentage") and f.id.endswith(":error")
    )


def recall(published: Published, given: Given) -> Outcome:
    """PNEUMONIA against NORMAL, as printed: higher by at most ``at_most`` points, or within ``within``."""
    printed = published.protocol["confusion"]["chest_xray"]["printed_accuracy_percent"]
    gap = Decimal(printed["PNEUMONIA"]) - Decimal(printed["NORMAL"])
    holds = abs(gap) <= given["within"] if "within" in given else 0 < gap <= given["at_most"]
    return _of(holds, f"PNEUMONIA {printed['PNEUMONIA']} %, NORMAL {printed['NORMAL']} %")


def retained(published: Published, given: Given) -> Outcome:
    """A model that keeps MSF alone has the parameters of w/o AFD+MFE, which by its name keeps MSF alone."""
    pairs = [
        (published.parameters(d, "no_afd_mfe_msf"), published.parameters(d, "no_afd_mfe")) for d in DATASETS
    ]
    return _every((a == b, f"w/o AFD+MFE+MSF {a} M, w/o AFD+MFE {b} M") for a, b in pairs)


def bold_marks(published: Published, given: Given) -> Outcome:
    """Every group of a table, by ``meddef.printed.best_marks.of_table``."""
    return _findings(best_marks.of_table(published, given["exhibit"]))


def up_to(published: Published, given: Given) -> Outcome:
    """The full model's highest robust accuracy, and another possible source of the number."""
    stated = Decimal(given["accuracy"])
    cells = {
        (d, a, e): published.accuracy(d, "full", a, e) for d in DATASETS for a in ATTACKS for e in EPSILONS
    }
    best = max(cells, key=lambda cell: cells[cell])
    printed = [metric.partition("%")[0] for metric in published.comparison["performance_metric"]]
    rest = [value for value in printed if value == str(100 - stated)]
    table = EPSILON_TABLE[best[0]].replace("table", "Table ")
    words = (
        f"the highest is {cells[best]} % ({table}, {attack_words(best[1])}, ε = {best[2]:.2f}); {stated} % occurs in "
        f"{list(cells.values()).count(stated)} cells of the full model"
    )
    if rest:
        words += f"; it is 100 - {rest[0]}, the PGD ASR printed in Table 5"
    return _of(cells[best] == stated, words)


def lowest_asr(published: Published, given: Given) -> Outcome:
    """The two PGD ASR of Table 5 in Tables 3 and 4, and against the other methods' of Table 5."""
    metrics = zip(published.comparison["method"], published.comparison["performance_metric"], strict=True)
    others = [metric for name, metric in metrics if "ASR (PGD)" in metric and not name.startswith("MedDef")]
    lowest = min(Decimal(metric.partition("-")[0]) for metric in others)
    comparisons = []
    for dataset, stated in given["asr"].items():
        cells = [published.asr(dataset, "full", "pgd", rate) for rate in RATES]
        listed = ", ".join(f"{asr} % at {100 * rate:.0f} %" for asr, rate in zip(cells, RATES, strict=True))
        comparisons += [
            (Decimal(stated) < lowest, f"{stated} % against {lowest} % of other data and models"),
            (
                Decimal(stated) in cells,
                f"{stated} % on {dataset_words(dataset)} is in no row of the full model's PGD ASR ({listed})",
            ),
        ]
    return _every(comparisons)


def chen(published: Published, given: Given) -> Outcome:
    """The range quoted from Chen et al. in the text and in Table 5."""
    metric = str(published.comparison.set_index("method").loc["Chen et al.", "performance_metric"])
    return _of(metric.startswith(f"{given['low']}-{given['high']}%"), f"Table 5 has {metric}")


FACTS: dict[str, Callable[[Published, Given], Outcome | None]] = {
    function.__name__: function
    for function in (
        attacks, bold_marks, chen, confusion, datasets, dropout, duplicates, eps_grid, error_rates, figure_eps,
        lowest_asr, parameters, phase, phases, recall, retained, split, splits, total, up_to, variants,
    )
}  # fmt: skip
