"""Which defence? Trainings of one profile beside each other: what they keep, what they cost.

from meddef.report import which_defence
which_defence.table(report)  # one row per model: clean and worst-case accuracy, cost, parameters
which_defence.advice(report)  # a sentence to act on
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from meddef.cost_model import train_passes
from meddef.records import Record
from meddef.report.balanced import NOTE
from meddef.report.display import DASH, NO_BREAK, Table, Text, budget, bullets, listed, percent, seeds_note
from meddef.report.headline import LEFT, Left, left
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import LABELS, METHOD_NAMES, training_label
from meddef.report.paired import Effect, corrected, effect
from meddef.report.report import Dataset, Report, by_model
from meddef.report.tables_constant import MODEL, with_balanced
from meddef.settings import TRAININGS, TrainingSettings
from meddef.statistics import FEWEST_TRAININGS

BUDGETS = (0.015686, LEFT)  # 4/255, 8/255
RECIPE = "adversarial"
Model = tuple[str, str]  # variant, training


@dataclass(frozen=True)
class Choice:
    """One model and training.

    ``clean`` is a row of ``Report.attacks`` on the whole test split; ``kept`` what the worst case leaves at each ε of
    ``BUDGETS`` that was run; ``cost`` of the training in passes, as a multiple of clean training for as many epochs.
    """

    model: Model
    clean: pd.Series
    kept: dict[float, Left]
    cost: float
    parameters: int

    @property
    def label(self) -> str:
        name = "the paper's recipe" if self.model[1] == RECIPE else training_label(self.model[1])
        return name if self.model[0] == "resnet18" else f"{LABELS.get(self.model[0], self.model[0])} ({name})"


def choices(report: Report, dataset: Dataset) -> list[Choice]:
    """The models of ``dataset`` that were trained and attacked at one of ``BUDGETS``, clean training first."""
    kept = {eps: left(report, dataset.name, eps) for eps in BUDGETS}
    clean = report.attacks("test", dataset.name).set_index(["variant", "training"])
    found = []
    for model, records in by_model(report.of("train", dataset.name)).items():
        own = {eps: of[model] for eps, of in kept.items() if model in of}
        if not own or model not in clean.index:
            continue
        row = clean.loc[[model]].iloc[0]
        found.append(Choice(model, row, own, _cost(records[0], dataset), records[0]["parameters"]))
    return sorted(found, key=_order)


def _cost(train: Record, dataset: Dataset) -> float:
    """Passes of a training, relative to the same without attacks: unlike seconds, whatever else the machine did."""
    settings = TrainingSettings.model_validate(train["settings"])
    counts = [sum(dataset.record["counts"][split].values()) for split in ("train", "val")]
    return train_passes(settings, *counts) / train_passes(
        settings.model_copy(update={"adversarial": None}), *counts
    )


def _order(each: Choice) -> tuple[int, str]:
    """Clean training first, then the paper's recipe, then the rivals."""
    known = (*TRAININGS, *METHOD_NAMES)
    method = each.model[1].partition(" ")[0]
    return known.index(method) if method in known else len(known), each.model[1]


def table(report: Report) -> Table:
    """Robust accuracy and cost of each training, and the constant classifier."""
    rows, seeds, where = [], [], []
    for dataset in report.datasets:
        found = choices(report, dataset)
        for each in found:
            seeds += [one.seeds for one in each.kept.values()]
            where += [f"{budget(eps)}: {one.where(one.seeds)}" for eps, one in each.kept.items()]
            cells = {f"worst case, {budget(eps)}": _kept(each.kept.get(eps)) for eps in BUDGETS}
            rows.append(
                {
                    "dataset": dataset.label,
                    "training": each.label,
                    "no attack": with_balanced(percent(each.clean, "clean"), _clean_balanced(each.clean)),
                    **cells,
                    "cost": f"{each.cost:.1f}",
                    "parameters": f"{each.parameters / 1e6:.2f} M",
                }
            )
        if found:
            rows.append({"dataset": dataset.label, **_constant(found)})
    if not rows:
        return Table(pd.DataFrame(), "Comparison of training methods at 4/255 and 8/255.")
    caption = (
        "Accuracy in percent with its 95 % interval; cost: passes of a training, as a multiple of clean training. "
        "Worst case: an image is correct only if it is correct under every attack "
        f"({'; '.join(dict.fromkeys(where))}).{seeds_note(seeds)} {NOTE}"
    )
    return Table(pd.DataFrame(rows), caption, header=2, left=("training",))


def _kept(each: Left | None) -> str:
    return DASH if each is None else with_balanced(percent(each.rates, "robust"), each.rates)


def _clean_balanced(row: pd.Series) -> dict[str, float]:
    return {"balanced": row["balanced"]}


def _constant(found: list[Choice]) -> dict[str, str]:
    first = found[0]
    answers = {eps: one.constant for each in found for eps, one in each.kept.items()}
    cells = {
        f"worst case, {budget(eps)}": f"{100 * answer.accuracy.value:.1f}\nbalanced {100 * answer.balanced:.1f}"
        for eps, answer in answers.items()
    }
    clean = f"{first.clean['constant']:.1f}\nbalanced {first.clean['constant_balanced']:.1f}"
    return {
        "training": f"{MODEL}\n{first.clean['largest']}",
        "no attack": clean,
        **cells,
        "cost": "0",
        "parameters": "0",
    }


def against_recipe(report: Report, dataset: Dataset, eps: float = LEFT) -> dict[Model, Effect]:
    """Each rival -> its robust accuracy minus that of the paper's recipe on the same variant, seeds and images, in the
    worst case over attacks; p-values corrected for their number. Rivals without such a twin are left out."""
    kept = left(report, dataset.name, eps)
    found = {}
    for model, one in kept.items():
        twin = kept.get((model[0], RECIPE))
        if model[1] in TRAININGS or twin is None:
            continue
        if (difference := _difference(one, twin)) is not None:
            found[model] = difference
    return corrected(found)


def _difference(one: Left, other: Left) -> Effect | None:
    """``one`` minus ``other`` on the seeds that both have; None unless the same attacks saw the same images."""
    if (one.attacks, one.n) != (other.attacks, other.n):
        return None
    sides = [{record["seed"]: record for record in each.records} for each in (one, other)]
    shared = sorted(sides[0].keys() & sides[1].keys())
    return effect([(sign, {s: side[s] for s in shared}) for sign, side in zip((1, -1), sides, strict=True)])


def advice(report: Report, eps: float = LEFT) -> Text:
    """Which training to take at ``eps``, in one sentence per dataset, computed from the records.

    The best in the worst case, if it is clearly above the constant classifier; of those that are above it as well and
    not shown to be worse than the best, the cheapest. With few trainings, worse means on these trainings.
    """
    return bullets([sentence for dataset in report.datasets if (sentence := _advice(report, dataset, eps))])


def _advice(report: Report, dataset: Dataset, eps: float) -> str:
    found = [each for each in choices(report, dataset) if eps in each.kept]
    if not any(each.model[1] not in TRAININGS for each in found):
        return ""
    best = max(found, key=lambda each: each.kept[eps].rates["robust"])
    most, at = best.kept[eps], f"{dataset.words}, ε{NO_BREAK}={NO_BREAK}{budget(eps)}"
    chance = 100 * most.constant.accuracy.value
    words = f"{best.label} keeps {most.what_remains()}"
    if most.rates["robust_low"] <= chance:
        return (
            f"{at}: none of them is recommended on this evidence. {_capital(words)}, not clearly above the constant "
            f"classifier {in_markdown(most.constant.name)} with {chance:.1f} %."
        )
    above = [each for each in found if each.kept[eps].rates["robust_low"] > chance]
    equal = [each for each in above if each is best or not _worse(each, best, eps)]
    cheap = min(equal, key=lambda each: each.cost)
    others = [each.label for each in equal if each is not cheap]
    told = (
        f" {listed(others)} {'is' if len(others) == 1 else 'are'} not distinguishable from it."
        if others
        else ""
    )
    if cheap is not best:
        words += f"; {cheap.label} keeps {cheap.kept[eps].what_remains()}"
    words += f" and costs {cheap.cost:.1f} times as much as clean training"
    few = min(each.kept[eps].seeds for each in equal) < FEWEST_TRAININGS
    provisional = f", provisionally: a verdict takes {FEWEST_TRAININGS} trainings of each" if few else ""
    return (
        f"{at}: {cheap.label} is recommended{provisional}. {_capital(words)}.{told}"
        f"{_recipe(report, dataset, cheap, eps)}"
    )


def _worse(each: Choice, best: Choice, eps: float) -> bool:
    """Whether ``each`` is shown to keep less than ``best``; with few trainings, whether these trainings do."""
    difference = _difference(best.kept[eps], each.kept[eps])
    return difference is None or (difference.value > 0 and (difference.is_clear or difference.these_differ))


def _recipe(report: Report, dataset: Dataset, chosen: Choice, eps: float) -> str:
    """The advantage of the chosen training over the paper's recipe."""
    difference = against_recipe(report, dataset, eps).get(chosen.model)
    if difference is None:
        return ""
    return (
        f" Compared with the paper's recipe: {difference.value:+z.1f} points [{difference.low:+z.1f}, "
        f"{difference.high:+z.1f}], {difference.verdict}."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
