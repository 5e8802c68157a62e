"""Tables of results: each published number beside the measured one.

Rates are in percent, intervals are Wilson intervals at 95 %. ``*_pairs`` are tidy tables to compute with, the other
functions are what a page shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from operator import itemgetter
from typing import Any

import pandas as pd

from meddef import paper
from meddef.catalogue import usual_training
from meddef.report.display import BEST, DASH, Table, beside, budget, percent, seeds_note
from meddef.report.labels import attack_name, ordered_attacks, short_label
from meddef.report.report import Report, at_epsilon
from meddef.report.tables_constant import MODEL as CONSTANT_ANSWER
from meddef.report.tables_constant import balanced_note, constant_cells, constant_name, with_balanced
from meddef.report.worst_case import DEFINITION, ENSEMBLE

MARKED = (
    "* marks the best model of its group and attack, measured and printed, ties included; not where it has fewer "
    "seeds than other columns."
)
NOTE = "Measured % with its 95 % interval; below it the paper's value."

Row = dict[Hashable, Any]
COUNTED = {"robust": "n", "asr": "right"}  # denominator of the rate: all images, or those correct before
HEADS = {"robust": "n", "asr": "correct before"}  # the head of the column that counts them


def epsilon_pairs(report: Report, *grids: str) -> pd.DataFrame:
    """Every measured accuracy of ``grids`` of epsilons ("epsilon" where none is named) with what Table 1 or 2 prints
    for it, one row per cell.

    Columns of ``Report.attacks``, ``eps`` filled in for attacks that have none (once for each epsilon), and
    ``printed`` (text as in the paper, or None), ``published`` (percent, or NaN).
    """
    frames = [report.attacks(grid) for grid in grids or ("epsilon",)]
    frame = pd.concat([each for each in frames if len(each)] or frames, ignore_index=True)
    frame = frame.drop_duplicates(["dataset", "variant", "training", "attack", "eps"], ignore_index=True)
    budgets = sorted(set(frame.loc[frame["eps"] > 0, "eps"]))
    everywhere = frame[(frame["attack"] == "clean") | frame["eps"].isna()]
    copies = [everywhere.assign(eps=eps) for eps in budgets]
    full = pd.concat([frame[frame["eps"] > 0], *copies], ignore_index=True)
    return _with_published(full, paper.epsilon_table(), ["eps"], "accuracy")


def compression_pairs(report: Report, eps: float) -> pd.DataFrame:
    """Every measured attack success rate of the pruning grid at ``eps`` with what Table 3 or 4 prints for it.

    The tables print no epsilon; they are taken to be at that of the paper's evaluation, and twins of no other.
    """
    frame = at_epsilon(report.attacks("pruning"), eps)
    frame = frame[frame["attack"] != "clean"].reset_index(drop=True)
    table = (
        paper.compression_table()
        if eps == paper.PROTOCOL["attacks"]["pgd"]["eps"]
        else paper.compression_table()[:0]
    )
    return _with_published(frame, table, ["prune_rate"], "asr")


def _with_published(frame: pd.DataFrame, table: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """``frame`` with ``printed`` and ``published`` of the paper's table for the same dataset, model and attack."""
    columns = ["twin", "variant", "training", "attack", *keys]
    table = table.rename(columns={"dataset": "twin"}).assign(published=table[value])
    table["training"] = table["variant"].map(usual_training)
    return frame.merge(table[[*columns, "printed", "published"]], on=columns, how="left")


def epsilon(report: Report, grid: str = "epsilon") -> Table:
    """Tables 1 and 2, published and measured in each cell, or a grid of other epsilons."""
    pairs = epsilon_pairs(report, grid)
    caption = f"Robust accuracy by ε. {NOTE}"
    if grid == "epsilon":
        caption += " JSMA has no ε: its value is repeated in every group."
    caption += _worst_case_note(pairs) + balanced_note(pairs) + seeds_note(pairs["seeds"])
    return _layout(report, pairs, "eps", "ε", "robust", caption)


def _worst_case_note(pairs: pd.DataFrame) -> str:
    return f" {DEFINITION}" if ENSEMBLE in set(pairs["attack"]) else ""


def compression(report: Report, eps: float) -> Table:
    """Tables 3 and 4 at the paper's pruning rates (the figure has them all)."""
    pairs = compression_pairs(report, eps)
    rates = paper.PROTOCOL["pruning"]["tabulated_rates"]
    pairs = pairs[pairs["prune_rate"].isin([0.0, *rates])]
    caption = (
        f"Attack success rate at ε = {eps:g} by pruning rate. {NOTE} The rate is a share of the images that were "
        "correct before the attack. The paper's tables begin at 0.3."
        f"{_own_grid(report)}{_seeds_pruned(report)}{seeds_note(pairs['seeds'])}"
    )
    return _layout(report, pairs, "prune_rate", "pruned", "asr", caption)


def _own_grid(report: Report) -> str:
    """A note that unpruned models are shown as attacked in the pruning grid, with the number of steps."""
    steps = {record["settings"].get("steps") for record in report.grid("pruning")} - {None}
    told = f" (PGD and BIM of {_several(steps)} steps)" if steps else ""
    return f" All rates, including 0 where it was run, come from the pruning grid{told}."


def _seeds_pruned(report: Report) -> str:
    """Names the seeds that were pruned where not all were."""
    trained = {record["seed"] for record in report.of("train")}
    pruned = {record["seed"] for record in report.as_run("pruning")}
    word = "seeds" if len(pruned) > 1 else "seed"
    return f" Only models of {word} {_several(pruned)} were pruned." if trained - pruned else ""


def _several(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in sorted(values))


def _layout(report: Report, pairs: pd.DataFrame, key: str, title: str, rate: str, caption: str) -> Table:
    attacks = ordered_attacks(pairs["attack"])
    rows = []
    for dataset in report.datasets:
        ours = pairs[pairs["dataset"] == dataset.name].sort_values(key, kind="stable")
        # rows as dictionaries: thousands of small data frames would cost a hundred times as much
        cells = _with_best(ours, key, rate).to_dict("records")
        for value, group in _by(cells, key):
            head = {"dataset": dataset.label, title: _place(float(value), key)}
            for (variant, training), of_model in _by(group, "variant", "training"):
                n, seeds = _most_frequent(of_model, COUNTED[rate]), max(cell["seeds"] for cell in of_model)
                row = head | {"model": short_label(str(variant), str(training)), HEADS[rate]: n}
                found = {cell["attack"]: cell for cell in reversed(of_model)}  # the first of each
                for attack in attacks:
                    shown = _cell(found[attack], rate, n, seeds) if attack in found else DASH
                    row[attack_name(attack)] = shown
                rows.append(row)
            if rate == "robust":
                n = _most_frequent(group, "n")
                rows.append(
                    head | {"model": constant_name(group), "n": n} | constant_cells(group, attacks, n)
                )
    return Table(_measured_columns(pd.DataFrame(rows), attacks), f"{caption} {MARKED}", header=3)


def _by(cells: Iterable[Row], *names: str) -> Iterable[tuple[Any, list[Row]]]:
    """The value of the column (values of the columns) ``names`` and the rows that have it, in their order."""
    groups: dict[Any, list[Row]] = {}
    value = itemgetter(*names)
    for cell in cells:
        groups.setdefault(value(cell), []).append(cell)
    return groups.items()


def _most_frequent(cells: Iterable[Row], name: str) -> str:
    """The text that stands most often in a column; of equally many the first of the alphabet."""
    counts = Counter(cell[name] for cell in cells)
    return str(min(counts, key=lambda text: (-counts[text], text)))


def _measured_columns(frame: pd.DataFrame, attacks: list[str]) -> pd.DataFrame:
    """``frame`` without the columns of attacks that no model has a value for."""
    if frame.empty:
        return frame
    models = frame[~frame["model"].str.startswith(CONSTANT_ANSWER)]
    names = [attack_name(attack) for attack in attacks]
    return frame.drop(columns=[name for name in names if (models[name] == DASH).all()])


def _place(value: float, key: str) -> str:
    """ "0.05", and below an ε that was rounded from grey levels "8/255"."""
    short = f"{value:.2g}"
    return f"{short}\n{budget(value)}" if key == "eps" and "/" in budget(value) else short


def _with_best(pairs: pd.DataFrame, key: str, rate: str) -> pd.DataFrame:
    """``pairs`` with ``best`` and ``best_printed``: whether no model of the same ``key`` and attack has a better value,
    which is more accuracy or less attack success; False where all are equal, and of measured ones where not all have as
    many seeds as the most of that ``key``: fewer seeds do not compare with more."""
    groups = pairs.groupby([key, "attack"])
    most_seeds = pairs.groupby(key)["seeds"].transform("max")
    alike = (pairs["seeds"] == most_seeds).groupby([pairs[key], pairs["attack"]]).transform("all")
    most = "max" if rate == "robust" else "min"
    marks = {"best": rate, "best_printed": "published"}
    return pairs.assign(
        **{
            mark: (pairs[column] == groups[column].transform(most))
            & (groups[column].transform("nunique") > 1)
            & (alike | (mark == "best_printed"))
            for mark, column in marks.items()
        }
    )


def _cell(found: Row, rate: str, n: str, seeds: int) -> str:
    """Measured, interval, published, the best marked; n and how many seeds where they are not those of the row."""
    own = found[COUNTED[rate]]
    other_n = "" if own == n else f"\nn = {own}"
    fewer = "" if found["seeds"] == seeds else f"\n{found['seeds']} of {seeds} seeds"
    measured = percent(found, rate)
    if found["best"]:
        measured = measured.replace("\n", f"{BEST}\n", 1)
    if rate == "robust":
        measured = with_balanced(measured, found)
    return beside(measured, found["printed"]) + BEST * bool(found["best_printed"]) + other_n + fewer


def front(report: Report, budgets: float | Iterable[float]) -> Table:
    """The front page's table: every model, clean and under attack at each of ``budgets``, measured and published."""
    wanted = [budgets] if isinstance(budgets, (int, float)) else list(budgets)
    pairs = epsilon_pairs(report, "epsilon", "small_epsilon")
    pairs = pairs[pairs["eps"].isin(wanted)]
    at = " and ".join(budget(eps) for eps in wanted)
    notes = _worst_case_note(pairs) + balanced_note(pairs) + seeds_note(pairs["seeds"])
    caption = f"Accuracy (%), clean and at ε = {at}. {NOTE}{notes}"
    table = _layout(report, pairs, "eps", "ε", "robust", caption)
    if len(wanted) > 1:
        return table
    return Table(table.frame.drop(columns="ε", errors="ignore"), table.caption, header=2)
