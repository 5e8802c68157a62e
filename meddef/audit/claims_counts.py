"""Claims of the ledger that count something or state a setting twice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from meddef.audit import counts
from meddef.audit.finding import CANNOT_BE_CHECKED, verdict_of
from meddef.audit.published import DATASETS, Published
from meddef.audit.shape import jsma_ignores_epsilon
from meddef.audit.verdicts import Result, every
from meddef.paper import VARIANT_LABELS

Claim = dict[str, Any]


def attacks(claim: Claim, published: Published) -> Result:
    """As many attacks as the tables have."""
    found = [name for name in published.epsilon["attack"].unique() if name != "clean"]
    return verdict_of(
        len(found) == int(claim["values"]["attacks"])
    ), f"Tables 1 and 2 have {', '.join(name.upper() for name in found)}."


def datasets(claim: Claim, published: Published) -> Result:
    """As many datasets as the tables have."""
    found = list(published.epsilon["dataset"].unique())
    return verdict_of(len(found) == int(claim["values"]["datasets"])), f"The tables have {', '.join(found)}."


def variants(claim: Claim, published: Published) -> Result:
    """As many MedDef variants as the tables have, the full one included."""
    found = [VARIANT_LABELS[name] for name in published.epsilon["variant"].unique() if name != "resnet18"]
    return verdict_of(len(found) == int(claim["values"]["variants"])), f"The tables have {', '.join(found)}."


def total(claim: Claim, published: Published) -> Result:
    """Images and classes of a dataset against its splits and class names."""
    dataset = "roct" if ".roct" in claim["id"] else "chest_xray"
    card = published.protocol["datasets"][dataset]
    size, classes = int(claim["values"]["total"]), int(claim["values"]["classes"])
    summed = sum(card["splits"].values())
    detail = (
        f"Splits sum to {summed:,}, stated {size:,}; {len(card['classes'])} class names, stated {classes}."
    )
    return verdict_of(summed == size and len(card["classes"]) == classes), detail


def roct_splits(claim: Claim, published: Published) -> Result:
    """Train + validation + test = total, and the test set is four equal classes."""
    values = {name: int(value) for name, value in claim["values"].items()}
    card = published.protocol["datasets"]["roct"]
    summed = values["train"] + values["val"] + values["test"]
    product = values["class"] * len(card["classes"])
    detail = (
        f"{values['train']:,} + {values['val']} + {values['test']} = {summed:,}, stated total {card['total']:,}; "
        f"{len(card['classes'])} × {values['class']} = {product}, stated {values['test']}."
    )
    return verdict_of(summed == card["total"] and product == values["test"]), detail


def class_parts(claim: Claim, published: Published) -> Result:
    """The classes of a split sum to it."""
    values = {name: int(value) for name, value in claim["values"].items()}
    if "class" in values:
        parts = [values["class"]] * len(published.protocol["datasets"]["roct"]["classes"])
    else:
        parts = [values["NORMAL"], values["PNEUMONIA"]]
    detail = f"{' + '.join(map(str, parts))} = {sum(parts)}, stated {values['total']}."
    return verdict_of(sum(parts) == values["total"]), detail


def duplicates(claim: Claim, published: Published) -> Result:
    """What `meddef.audit.counts.duplicates` says."""
    found = next(counts.duplicates(published))
    return found.verdict, found.detail


def dropout(claim: Claim, published: Published) -> Result:
    """One dropout rate in both places."""
    fusion, training = published.protocol["model"]["dropout"], published.protocol["training"]["dropout"]
    detail = (
        f"{fusion} in the feature fusion (IV-A), {training} for training (IV-B)."
        " Two dropout layers with different rates would explain both; one is described."
    )
    return verdict_of(fusion == training), detail


def parameters(claim: Claim, published: Published) -> Result:
    """The full model's size in text and tables."""
    printed = Decimal(claim["values"]["millions"])
    return every(
        [
            (published.parameters(d, "full") == printed, f"{d} {published.parameters(d, 'full')} M")
            for d in DATASETS
        ]
    )


def phases(claim: Claim, published: Published) -> Result:
    """As many phases as are described."""
    names = [phase["name"] for phase in published.protocol["epsilon_schedule"]["phases"]]
    return verdict_of(len(names) == int(claim["values"]["phases"])), f"Described: {', '.join(names)}."


def stabilization(claim: Claim, published: Published) -> Result:
    """ "Maintaining ε" against the ε that the phase before ends with."""
    before = published.protocol["epsilon_schedule"]["phases"][1]["eps"][1]
    bound = float(claim["values"]["eps_max"])
    detail = (
        f"The phase before ends at ε = {before}; the bound afterwards is {bound}. A drop at the border, or a cap that "
        "cuts the growth short, would explain both."
    )
    return verdict_of(before <= bound), detail


def jsma(claim: Claim, published: Published) -> Result:
    """Settings without ε, results that change with it."""
    return every([(f.verdict == "holds", f.detail.rstrip(".")) for f in jsma_ignores_epsilon(published)])


def epsilons(claim: Claim, published: Published) -> Result:
    """The ε named are those of the tables."""
    named = sorted(float(value) for value in claim["values"].values())
    found = sorted(float(eps) for eps in published.epsilon["eps"].unique())
    return verdict_of(named == found), f"Tables 1 and 2 have ε = {', '.join(f'{eps:.2f}' for eps in found)}."


def figure_epsilons(claim: Claim, published: Published) -> Result:
    """The ε for which there are ASR figures, by their captions."""
    captions = [
        c["quote"].strip("(ε=)") for c in published.claims if c["id"].endswith(".eps") and "fig" in c["id"]
    ]
    named = sorted(float(value) for value in claim["values"].values())
    found = sorted({float(eps) for eps in captions})
    detail = (
        f"The {len(captions)} captions of ASR figures name ε = {', '.join(f'{eps:.2f}' for eps in found)}."
    )
    return verdict_of(named == found), detail


def confusion(claim: Claim, published: Published) -> Result:
    """Every finding of `meddef.audit.counts.confusion` on the dataset, but for the clean accuracy."""
    dataset = "roct" if claim["id"] in ("V-H.perfect", "V-H.drusen") else "chest_xray"
    found = [f for f in counts.confusion(published) if f":{dataset}" in f.id and "accuracy:" not in f.id]
    return every(
        [(f.verdict == "holds", f.detail.rstrip(".")) for f in found if f.verdict != CANNOT_BE_CHECKED]
    )


def pathological(claim: Claim, published: Published) -> Result:
    """PNEUMONIA against NORMAL, as printed."""
    printed = published.protocol["confusion"]["chest_xray"]["printed_accuracy_percent"]
    detail = f"PNEUMONIA {printed['PNEUMONIA']} %, NORMAL {printed['NORMAL']} %."
    return verdict_of(Decimal(printed["PNEUMONIA"]) > Decimal(printed["NORMAL"])), detail


def error_rates(claim: Claim, published: Published) -> Result:
    """Error rates against the counts of the matrices."""
    found = [
        f for f in counts.confusion(published) if f.id.startswith("percentage") and f.id.endswith(":error")
    ]
    return every([(f.verdict == "holds", f.detail.rstrip(".")) for f in found])


def retained(claim: Claim, published: Published) -> Result:
    """A model that keeps MSF alone has the parameters of w/o AFD+MFE, which by its name keeps MSF alone."""
    pairs = [
        (published.parameters(d, "no_afd_mfe_msf"), published.parameters(d, "no_afd_mfe")) for d in DATASETS
    ]
    return every([(a == b, f"w/o AFD+MFE+MSF {a} M, w/o AFD+MFE {b} M") for a, b in pairs])


CHECKS = {
    "abstract.attacks": attacks,
    "II-B.attacks": attacks,
    "IV-B.attacks": attacks,
    "III-A1.datasets": datasets,
    "III-A1.roct-total": total,
    "III-A1.chest-total": total,
    "III-A1.roct-splits": roct_splits,
    "III-A1.chest-train": class_parts,
    "III-A1.chest-val": class_parts,
    "III-A1.chest-test": class_parts,
    "fig5.roct": class_parts,
    "fig5.chest": class_parts,
    "III-A2.duplicates": duplicates,
    "IV-A.dropout": dropout,
    "IV-B.dropout": dropout,
    "IV-A.parameters": parameters,
    "IV-B.phases": phases,
    "IV-B.stabilization": stabilization,
    "IV-B.jsma": jsma,
    "V.eps": epsilons,
    "V-C.eps": epsilons,
    "V-D.eps": epsilons,
    "V-E.eps": figure_epsilons,
    "V-B.variants": variants,
    "V-H.perfect": confusion,
    "V-H.drusen": confusion,
    "V-H.normal": confusion,
    "V-H.pneumonia": confusion,
    "V-H.errors": confusion,
    "V-H.pathological": pathological,
    "V-H.error-rates": error_rates,
    "fig12.retained": retained,
}
