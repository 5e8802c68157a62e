"""What the pages print, read back from what their cells show: figures' CSV, tables, sentences, interactive charts.

Nothing here looks at records: a number counts as it stands on the page.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd

from meddef.book.notebooks import SECTIONS
from meddef.figures.drawing import SvgFigure
from meddef.figures.interactive import Twin
from meddef.report import headline, tables
from meddef.report.display import DASH, Table
from meddef.report.labels import ATTACK_NAMES, model_label, short_label
from meddef.report.report import Report
from meddef.report.worst_case import ENSEMBLE

ATTACKED = ("ablation", "controls", "epsilon", "pruning", "confusion", "comparison")  # sections on attacks
ROUNDED = 0.0501  # a printed percentage has one decimal
NAMES = {name: attack for attack, name in ATTACK_NAMES.items()}
RATES = {
    "asr_against_pruning": "asr",
    "balanced_curves": "balanced accuracy",
}  # drawing function -> what it draws; accuracy where none is named
ALONG_PRUNING = ("asr_against_pruning", "accuracy_against_pruning")  # drawing functions
WITHOUT_EPS = ("clean", "jsma")
NUMBER = r"(-?\d+\.\d)( ± \d+\.\d)?"


@dataclass(frozen=True)
class Cell:
    """A quantity as a reader takes it: "accuracy", "asr" (percent) or "n" of one model under one attack.

    A point along the pruning rate is of the pruning grid, so that without pruning it is a quantity of its own.
    """

    dataset: str
    model: str
    rate: float
    attack: str
    eps: float
    what: str
    several_seeds: bool
    along_pruning: bool = False


Printed = Iterator[tuple[Cell, float | str]]


def _cell(dataset: str, model: str, where: dict[Any, Any], several: bool) -> Callable[[str], Cell]:
    """What is printed -> its cell, for one model under one attack."""
    eps = 0.0 if where["attack"] in WITHOUT_EPS else where["eps"]
    along = where.get("along", where["prune_rate"] > 0)
    return partial(_made, dataset, model, where["prune_rate"], where["attack"], eps, several, along)


def _made(
    dataset: str, model: str, rate: float, attack: str, eps: float, several: bool, along: bool, what: str
) -> Cell:
    return Cell(dataset, model, rate, attack, eps, what, several, along)


def _named(report: Report, label: str) -> str:
    return next(dataset.name for dataset in report.datasets if dataset.label == label)


def disagreements(report: Report, root: Path) -> list[str]:
    """A line for each quantity that two places of the report's pages print differently."""
    found: dict[Cell, dict[str, float | str]] = defaultdict(dict)
    for place, shown in outputs(report, root):
        for cell, value in read(report, shown):
            found[cell][f"{place}: {value}"] = value
    return [f"{cell}: {'; '.join(places)}" for cell, places in found.items() if _differ([*places.values()])]


def _differ(values: list[Any]) -> bool:
    if isinstance(values[0], str):
        return len(set(values)) > 1
    return bool(max(values) - min(values) > ROUNDED)


def outputs(report: Report, root: Path) -> Iterator[tuple[str, Any]]:
    """Place and value of every cell of the notebooks on attacks, and what the first pages show."""
    for section in ATTACKED:
        names: dict[str, Any] = {}
        for cell in nbformat.read(root / "notebooks" / f"{SECTIONS[section]}.ipynb", 4).cells:
            if cell.cell_type != "code":
                continue
            if "parameters" in cell.metadata.get("tags", []) or cell.source.startswith("from meddef"):
                exec(cell.source.partition("\nrun = ")[0], names)
                names["run"] = report
            else:
                yield f"{section}, {cell.source}", eval(cell.source, names)
    yield "front page", tables.front(report, headline.budgets(report))
    for dataset in report.datasets:
        for eps in headline.BUDGETS:
            yield "results", headline.strongest(report, dataset, eps)


def read(report: Report, shown: Any) -> Printed:
    """The quantities in one output."""
    if isinstance(shown, SvgFigure):
        if shown.numbers is not None:
            yield from _figure(shown)
    elif isinstance(shown, Table):
        yield from _table(report, shown)
    elif isinstance(shown, Twin):
        yield from _twin(report, shown)
    elif isinstance(shown, str):
        yield from _sentences(report, shown)


def _figure(figure: SvgFigure) -> Printed:
    frame = pd.read_csv(StringIO(figure.csv()), dtype={"n": str})
    name = figure.function.rpartition(".")[2]
    if "seed" in frame:  # one row per seed
        yield from _by_seed(frame)
    elif "condition" in frame:
        yield from _matrices(frame, figure.arguments["eps"])
    elif "source" in frame:
        for row in frame[frame["source"] == "measured"].to_dict("records"):
            where = row | {"along": name in ALONG_PRUNING}
            cell = _cell(
                row["dataset"], short_label(row["variant"], row["training"]), where, row["seeds"] > 1
            )
            yield cell(RATES.get(name, "accuracy")), row["value"]
            yield cell("n"), row["n"]


def _by_seed(frame: pd.DataFrame) -> Printed:
    measured = frame.dropna(subset=["robust"])
    for (dataset, variant, training, attack, eps), rows in measured.groupby(
        ["dataset", "variant", "training", "attack", "eps"]
    ):
        where = {"prune_rate": 0.0, "attack": attack if eps else "clean", "eps": eps}
        cell = _cell(dataset, short_label(variant, training), where, len(rows) > 1)
        yield cell("accuracy"), 100 * rows["robust"].mean()


def _matrices(frame: pd.DataFrame, eps: float) -> Printed:
    for (dataset, variant, training, condition), rows in frame.groupby(
        ["dataset", "variant", "training", "condition"]
    ):
        where = {"prune_rate": 0.0, "attack": NAMES[condition.partition(", n =")[0]], "eps": eps}
        right = rows.loc[rows["true"] == rows["predicted"], "count"].sum()
        cell = _cell(dataset, short_label(variant, training), where, "seeds" in condition)
        yield cell("accuracy"), 100 * right / rows["count"].sum()


def _table(report: Report, table: Table) -> Printed:
    frame = table.frame
    if "measured here: PGD ASR" in frame:
        for text in frame["measured here: PGD ASR"]:
            yield from _comparison(report, text)
    if "model" not in frame or ("no attack" not in frame and "PGD" not in frame):
        return
    what, counted = ("asr", "right") if "pruned" in frame else ("accuracy", "n")
    for row in frame.to_dict("records"):
        for name, attack in NAMES.items():
            found = re.match(NUMBER, str(row.get(name, DASH)))
            if found is None:
                continue
            eps = _eps((row.get("ε") or re.search(r"ε = ([\d.]*\d)", table.caption)[1]).split("\n")[-1])  # type: ignore[index]
            rate = float(row.get("pruned", 0))
            where = {"prune_rate": rate, "attack": attack, "eps": eps, "along": "pruned" in frame}
            cell = _cell(_named(report, row["dataset"]), row["model"], where, found[2] is not None)
            yield cell(what), float(found[1])
            own = re.search(r"\nn = (.*)", row[name])
            if counted == "n":
                yield cell("n"), own[1] if own else row["n"]


def _comparison(report: Report, text: str) -> Printed:
    label, *lines = text.split("\n")
    for line in lines:
        if found := re.match(rf"ε ([\d.]+), (unpruned, strongest PGD|pruning grid, 0 %): {NUMBER}", line):
            along = found[2].startswith("pruning grid")
            where = {"prune_rate": 0.0, "attack": "pgd", "eps": float(found[1]), "along": along}
            cell = _cell(_named(report, label), "Full DAAM", where, found[4] is not None)
            yield cell("asr"), float(found[3])


def _eps(text: str) -> float:
    """Of "8/255" or "0.05", as records have it."""
    levels, _, all_levels = text.partition("/")
    return round(int(levels) / int(all_levels), 6) if all_levels else float(text)


def _sentences(report: Report, text: str) -> Printed:
    for dataset in report.datasets:
        label, full = re.escape(dataset.label), re.escape(model_label("full", "adversarial"))
        for line in re.findall(
            rf"{label}: of the .* images that the unpruned full model (?:had right|classified correctly), (.*)\.",
            text,
        ):
            for found in re.finditer(rf"{NUMBER} % \S+ \S+ at ε = ([\d.]*\d)", line):
                where = {"prune_rate": 0.0, "attack": "pgd", "eps": float(found[3])}
                yield _cell(dataset.name, "Full DAAM", where, found[2] is not None)("asr"), float(found[1])
        for line in re.findall(rf"{label}, n = \d+: (.*)\.", text):
            for model, value, spread in re.findall(rf"(?:^|; )([^;]*?) {NUMBER} %", line):
                where = {"prune_rate": 0.0, "attack": "clean", "eps": 0.0}
                yield _cell(dataset.name, model, where, bool(spread))("accuracy"), float(value)
        worst = rf"{label}, ε = ([\d./]+), (?:worst case over )?([^:]*), n = (\d+).*?{full} keeps {NUMBER} %"
        for eps, attacks, n, value, spread in re.findall(worst, text):
            attack = ENSEMBLE if "Ensemble" in attacks else NAMES.get(attacks, attacks)
            where = {"prune_rate": 0.0, "attack": attack, "eps": _eps(eps)}
            cell = _cell(dataset.name, "Full DAAM", where, bool(spread))
            yield cell("accuracy"), float(value)
            yield cell("n"), n


def _twin(report: Report, twin: Twin) -> Printed:
    one_seed = len({record["seed"] for record in report.as_run("pruning")}) == 1
    for choice in twin.choices:
        head, _, attack_name = choice["label"].rpartition(", ")
        dataset = next(d for d in report.datasets if head.startswith(d.label))
        attack, model = NAMES[attack_name], head.removeprefix(f"{dataset.label}, ")
        for trace in choice.get("data", []):
            for eps, value, text in zip(trace["x"], trace["y"], trace["text"], strict=True):
                if "the paper prints" not in text:
                    where = {"prune_rate": 0.0, "attack": attack if eps else "clean", "eps": eps}
                    yield _cell(dataset.name, trace["name"], where, "mean of" in text)("accuracy"), value
        if "classes" in choice:
            for step in choice["steps"]:
                counts = np.array(step["counts"])
                where = {"prune_rate": int(step["label"]) / 100, "attack": attack, "eps": 0.05, "along": True}
                cell = _cell(dataset.name, model, where, not one_seed)
                yield cell("accuracy"), 100 * counts.trace() / counts.sum()
