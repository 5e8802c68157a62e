"""Sentences on training: the schedule that was followed, the easing rule, what validation and test say."""

from __future__ import annotations

from collections.abc import Iterable

from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.display import Text, budget, bullets
from meddef.report.report import Dataset, Report


def defended(report: Report, dataset: str | None = None) -> list[Record]:
    """The adversarial trainings."""
    return [record for record in report.of("train", dataset) if record["training"] == "adversarial"]


def schedule(report: Report) -> Text:
    """The phases of the schedule as the trainings of this run went through them, beside those that the paper prints."""
    told = dict.fromkeys((record["epochs"], _phases(record)) for record in defended(report))
    if not told:
        return Text("No model was trained adversarially here.")
    paper = PROTOCOL["training"]["epochs"]
    return bullets([f"{epochs} epochs instead of the paper's {paper}: {phases}." for epochs, phases in told])


def _own_phases(run: dict[str, list[float]]) -> str:
    """Of a schedule of the profile's own: "phase 1 5 epochs, ε 0.01 to 0.02; ..."."""
    told = [f"{phase}, {len(eps)} epoch{'s' * (len(eps) > 1)}, ε {_ends(eps)}" for phase, eps in run.items()]
    return f"a schedule of the profile's own in place of the paper's phases: {'; '.join(told)}"


def _phases(record: Record) -> str:
    """ "warmup 1 epoch, ε 0.01 (the paper: 8, ε 0.01 to 0.02); aggressive none (the paper: ...)"; ε before easing."""
    run: dict[str, list[float]] = {}
    for row in record["history"]:
        run.setdefault(_plain(row["phase"] or ""), []).append(row["epsilon"] / row["ease"])
    if record["settings"]["adversarial"].get("schedule"):
        return _own_phases(run)
    parts, left = [], PROTOCOL["training"]["epochs"]
    for phase in PROTOCOL["epsilon_schedule"]["phases"]:
        printed = phase["epochs"] or left
        left -= printed
        eps = run.get(_plain(phase["name"]), [])
        ran = f"{len(eps)} epoch{'s' * (len(eps) > 1)}, ε {_ends(eps)}" if eps else "none"
        bound = _ends(phase["eps"]) if "eps" in phase else f"at most {phase['eps_max']:g}"
        parts.append(f"{phase['name']} {ran} (the paper: {printed}, ε {bound})")
    return "; ".join(parts)


def _plain(phase: str) -> str:
    return phase.replace("-", "").replace("_", "")


def _ends(values: Iterable[float]) -> str:
    known = list(values)
    low, high = f"{min(known):.3g}", f"{max(known):.3g}"
    return low if low == high else f"{low} to {high}"


def easing(report: Report) -> Text:
    """The rule by which this run eases adversarial training, where the paper gives none."""
    rules = [record["settings"]["adversarial"] for record in defended(report)]
    told = {
        f"after {rule['patience']} consecutive epochs with a validation score more than {100 * rule['tolerance']:g} "
        f"points below the best, ε and w are multiplied by {rule['ease_factor']:g}"
        for rule in rules
    }
    text = "The paper mentions automatic adjustments when validation degrades, without a rule"
    return Text(
        f"{text}. Here: {'; or '.join(sorted(told))}."
        if told
        else f"{text}; no model was trained this way here."
    )


def training(report: Report) -> Text:
    """Validation accuracy, clean and under the training's own attack, and test accuracy under the grids' PGD."""
    sentences = []
    for dataset in report.datasets:
        trained = report.of("train", dataset.name)
        if not trained:
            continue
        clean = (record["history"][record["best_epoch"]]["val_clean"] for record in trained)
        sentences.append(
            f"{dataset.words}: clean validation accuracy is {_range(clean)}{_validated(report, dataset)}."
            f"{_tested(report, dataset)}"
        )
    return bullets(sentences)


def _validated(report: Report, dataset: Dataset) -> str:
    ours = defended(report, dataset.name)
    best = [record["history"][record["best_epoch"]]["val_adversarial"] for record in ours]
    if not ours:
        return ""
    eased = sum(min(row["ease"] for row in record["history"]) < 1 for record in ours)
    under = " or ".join(sorted({training_attack(record) for record in ours}))
    return (
        f"; under their own training attack ({under}) the adversarially trained models reach {_range(best)} in "
        f"validation; the easing rule acted in {eased} of these {len(ours)} trainings"
    )


def training_attack(record: Record) -> str:
    """PGD of the best epoch of an adversarial training: "PGD at ε = 0.03, 5 steps of 0.003"."""
    best, rule = record["history"][record["best_epoch"]], record["settings"]["adversarial"]
    return f"PGD at ε = {best['epsilon']:.3g}, {rule['steps']} steps of {best['step_size']:.3g}"


def _tested(report: Report, dataset: Dataset) -> str:
    """PGD of the grids on the same models, at the ε nearest to that of training."""
    attacked = [
        record
        for grid in ("epsilon", "small_epsilon")
        for record in report.grid(grid, dataset.name)
        if (record["attack"], record["training"]) == ("pgd", "adversarial")
    ]
    if not attacked or not defended(report, dataset.name):
        return ""
    target = defended(report, dataset.name)[0]["history"][-1]["epsilon"]
    nearest = min((record["eps"] for record in attacked), key=lambda eps: abs(eps - target))
    ours = [record for record in attacked if record["eps"] == nearest]
    steps = " or ".join(
        map(str, sorted({r["settings"].get("steps", PROTOCOL["attacks"]["pgd"]["steps"]) for r in ours}))
    )
    n = " or ".join(map(str, sorted({record["n"] for record in ours})))
    kept = _range(record["correct_after"] / record["n"] for record in ours)
    return f" On test images, under PGD at ε = {budget(nearest)} with {steps} steps, they reach {kept} (n = {n})."


def _range(values: Iterable[float]) -> str:
    found = [100 * value for value in values]
    low, high = min(found), max(found)
    return f"{low:.1f} %" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} %"
