"""The paper's settings against those in the records: followed, or the deviation.

Each function is named by a check of kind "setting" and returns what the records of one profile and dataset hold, with
whether that is what the check gives; None where they do not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from meddef.catalogue import PUBLISHED_ATTACKS
from meddef.claims.rules import FAILS, HOLDS, Outcome, counted
from meddef.image_size import area
from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.report import Dataset, Report

Given = dict[str, Any]
CLOSE = 1e-9


def _each(found: Iterable[Any], wanted: Any, words: str) -> Outcome | None:
    """Followed if every value is the wanted one; the values in words."""
    values = list(dict.fromkeys(found))
    if not values:
        return None
    return Outcome(
        HOLDS if values == [wanted] else FAILS, f"{words} {', '.join(map(_text, values))}".lstrip()
    )


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _trained(report: Report, dataset: Dataset, adversarial: bool = False) -> list[Record]:
    records = report.of("train", dataset.name)
    return [r for r in records if not adversarial or r["training"] == "adversarial"]


def _attacks(report: Report, dataset: Dataset, *names: str) -> list[Record]:
    return [r for r in report.of("attack", dataset.name) if r["attack"] in names]


def components(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Components that the smallest variant lacks."""
    names = [r["variant"] for r in _trained(report, dataset) if r["variant"].startswith("no_")]
    if not names:
        return None
    parts = max(names, key=len).removeprefix("no_").split("_")
    return Outcome(HOLDS if len(parts) == given["number"] else FAILS, ", ".join(p.upper() for p in parts))


def attacks(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """The paper's attacks that were run."""
    found = [name for name in PUBLISHED_ATTACKS if _attacks(report, dataset, name)]
    return Outcome(
        HOLDS if len(found) == given["number"] else FAILS, ", ".join(n.upper() for n in found) or "none"
    )


def datasets(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """The paper's datasets that were used."""
    found = [d.label for d in report.datasets if not d.stands_in]
    return Outcome(HOLDS if len(found) == given["number"] else FAILS, ", ".join(found))


def variants(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """MedDef variants that were trained."""
    found = {r["variant"] for r in _trained(report, dataset)} - {"resnet18"}
    return Outcome(HOLDS if len(found) == given["number"] else FAILS, f"{len(found)} trained")


def eps_grid(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Budgets at which unpruned models were attacked."""
    found = {r["eps"] for r in _attacks(report, dataset, "fgsm") if not r["prune_rate"]}
    return _holding(given["eps"], found, "ε run:")


def figure_eps(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Budgets at which pruned models were attacked."""
    found = {r["eps"] for r in _attacks(report, dataset, "fgsm") if r["prune_rate"]}
    return _holding(given["eps"], found, "ε run on pruned models:")


def rates(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Pruning rates at which the full model was attacked."""
    found = {r["prune_rate"] for r in _attacks(report, dataset, "fgsm") if r["variant"] == "full"}
    return (
        _holding([round(0.1 * step, 1) for step in range(9)], found, "rates run:") if found - {0.0} else None
    )


def _holding(wanted: Iterable[float], found: set[float], words: str) -> Outcome | None:
    """Followed if every wanted value was run, and more do no harm."""
    if not found:
        return None
    return Outcome(
        HOLDS if set(wanted) <= found else FAILS, f"{words} {', '.join(map(_text, sorted(found)))}"
    )


def image_size(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    return _each([dataset.record["image_size"]], given["size"], "side in pixels")


def channels(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """By FGSM, which changes every pixel but those at its limits: the most that it changed, per place."""
    changed = [r["l0"] for r in _attacks(report, dataset, "fgsm", "ensemble")]
    if not changed:
        return None
    found = -(-int(max(changed)) // area(dataset.record["image_size"]))
    return Outcome(HOLDS if found == given["number"] else FAILS, f"{found} channels")


def preprocessing(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """A step that is on: min_max, pad, clahe, brightness, denoise."""
    if dataset.name != given.get("dataset", dataset.name):
        return None
    steps = dataset.preprocessing.model_dump()
    off = [name for name in given["steps"] if steps.get(name) in (None, False)]
    words = ", ".join(off or given["steps"]).replace("_", "-")
    return Outcome(FAILS if off else HOLDS, f"without {words}" if off else words)


def share(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Shares of adversarial images in training and validation, and the share of test images that were attacked."""
    rules = [r["settings"]["adversarial"] for r in _trained(report, dataset, adversarial=True)]
    tested = [r["n"] for r in _attacks(report, dataset, "pgd") if not r["prune_rate"]]
    if not rules or not tested:
        return None
    found = (rules[0]["train_share"], rules[0]["validation_share"], max(tested) / dataset.size("test"))
    words = "{:.0%} of training, {:.0%} of validation, {:.0%} of test images".format(*found)
    return Outcome(HOLDS if list(found) == given["shares"] else FAILS, words)


def augmentation(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Whether training images are changed; records of earlier versions have a flag for one technique."""
    settings = [r["settings"] for r in _trained(report, dataset)]
    if not settings:
        return None
    names = {n for s in settings for n in s.get("augmentation", ["flip"] * bool(s.get("horizontal_flip")))}
    return Outcome(HOLDS if names else FAILS, ", ".join(sorted(names)) or "none")


def training_attacks(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """The attack of training: settings hold the steps of PGD and of no other."""
    rules = [r["settings"]["adversarial"] for r in _trained(report, dataset, adversarial=True)]
    if not rules:
        return None
    names = sorted({name for rule in rules for name in rule.get("attacks", ["pgd"])})
    return Outcome(HOLDS if names == given["attacks"] else FAILS, ", ".join(n.upper() for n in names))


def both_losses(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Both losses of the history are there."""
    rows = [row for r in _trained(report, dataset, adversarial=True) for row in r["history"]]
    if not rows:
        return None
    both = all(row["loss_clean"] is not None and row["loss_adversarial"] is not None for row in rows)
    return Outcome(
        HOLDS if both else FAILS, "losses on clean and on adversarial images" if both else "one loss"
    )


def training_pgd(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Steps and step size of PGD in training."""
    found = []
    for record in _trained(report, dataset, adversarial=True):
        steps = record["settings"]["adversarial"]["steps"]
        as_printed = all(
            abs(row["step_size"] - min(row["epsilon"] / 6, 0.003)) < CLOSE for row in record["history"]
        )
        found.append(f"{steps} steps of {'min(ε / 6, 0.003)' if as_printed else 'another size'}")
    return _each(found, f"{given['steps']} steps of min(ε / 6, 0.003)", "")


def phases(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Phases that the histories go through."""
    names = [[row["phase"] for row in r["history"]] for r in _trained(report, dataset, adversarial=True)]
    if not names:
        return None
    found = list(dict.fromkeys(names[0]))
    return Outcome(HOLDS if len(found) == given["number"] else FAILS, ", ".join(found))


def phase(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """One phase: its epochs, ε and adversarial weights, as in the histories."""
    records = _trained(report, dataset, adversarial=True)
    if not records:
        return None
    name = {"warmup": "warm-up"}.get(given["name"], given["name"])
    rows = [row for row in records[0]["history"] if row["phase"] == name]
    if not rows:
        return Outcome(FAILS, "no epoch")
    eps, weight = ([row[key] for row in rows] for key in ("epsilon", "adversarial_weight"))
    words = f"{counted(len(rows), 'epoch')}, ε {_range(eps)}, weight {_range(weight)}"
    holds = given.get("epochs", len(rows)) == len(rows) and max(eps) <= given.get("eps_max", 1) + CLOSE
    for found, wanted in ((eps, given.get("eps")), (weight, given["weight"])):
        holds &= wanted is None or (abs(min(found) - wanted[0]) < 1e-3 and abs(max(found) - wanted[1]) < 1e-3)
    return Outcome(HOLDS if holds else FAILS, words)


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def training(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Settings of training by name, as the records have them."""
    outcomes = [
        _each((r["settings"][name] for r in _trained(report, dataset, adversarial=True)), value, name.replace("_", " "))
        for name, value in given.items()
    ]  # fmt: skip
    known = [outcome for outcome in outcomes if outcome]
    if not known:
        return None
    return Outcome(
        HOLDS if {o.verdict for o in known} == {HOLDS} else FAILS, "; ".join(o.words for o in known)
    )


def dropout(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """The one rate of dropout that a training has."""
    return training(report, dataset, given)


def easing(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Whether there is a rule for the case that validation degrades."""
    rules = [r["settings"]["adversarial"] for r in _trained(report, dataset, adversarial=True)]
    if not rules:
        return None
    return Outcome(HOLDS, f"ε and weight × {rules[0]['ease_factor']:g} after {rules[0]['patience']} epochs")


def unrecorded(report: Report, dataset: Dataset, given: Given) -> None:
    """Of the model's or the method's code; no record holds it."""


def attack(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """ε and settings of an attack as it was run, on unpruned models and on pruned ones."""
    words, holds = [], True
    wanted = {k: v for k, v in given.items() if k not in ("attacks", "eps")}
    for pruned in (False, True):
        records = [
            r for r in _attacks(report, dataset, *given["attacks"])
            if bool(r["prune_rate"]) == pruned and given.get("eps") in (None, r["eps"])
        ]  # fmt: skip
        found = list(dict.fromkeys(tuple((k, r["settings"].get(k)) for k in wanted) for r in records))
        if not records:
            continue
        ways = " or ".join(", ".join(f"{k.replace('_', ' ')} {_text(v)}" for k, v in way) for way in found)
        words.append(f"{'pruned' if pruned else 'unpruned'} models: {ways or 'ε ' + _text(given['eps'])}")
        holds &= tuple(wanted.items()) in found if not pruned else found == [tuple(wanted.items())]
    return Outcome(HOLDS if holds else FAILS, "; ".join(words)) if words else None


def pruning(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Which weights are ranked together."""
    scopes = [r["prune_scope"] for r in report.of("attack", dataset.name) if r["prune_rate"]]
    return _each(scopes, "global", "scope")


def architecture(report: Report, dataset: Dataset, given: Given) -> Outcome | None:
    """Parameters of the paper's models beside the printed ones: sizes that differ would show there."""
    printed = PROTOCOL["parameters_m"].get(dataset.twin, {})
    found = {r["variant"]: r["parameters"] for r in _trained(report, dataset) if r["variant"] in printed}
    if not found:
        return None
    same = {name: f"{count / 1e6:.2f}" == printed[name] for name, count in found.items()}
    words = (
        f"{sum(same.values())} of {len(same)} models have the printed number of parameters, by construction"
    )
    return Outcome(HOLDS if all(same.values()) else FAILS, words)


SETTINGS: dict[str, Callable[[Report, Dataset, Given], Outcome | None]] = {
    function.__name__: function
    for function in (
        architecture, attack, attacks, augmentation, both_losses, channels, components, datasets, dropout, easing,
        eps_grid, figure_eps, image_size, phase, phases, preprocessing, pruning, rates, share, training,
        training_attacks, training_pgd, unrecorded, variants,
    )
}  # fmt: skip
SETTINGS["pruned_eps"] = figure_eps
