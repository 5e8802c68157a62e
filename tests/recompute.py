"""Check cells of the book's tables from the stored predictions alone: python -m tests.recompute [--profile cpu].

Cells are chosen at random; the seed is printed. For each, the counts are made again from the three strings of every
record behind it (true class, answer before, answer after; one character per image), the interval with scipy instead of
``meddef.statistics``, and the text that the table must show is put together from them.
"""

import argparse
import random
import secrets
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import binomtest

from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report import tables
from meddef.report.labels import attack_name, short_label
from meddef.report.report import Report

RESULTS = Path(__file__).parents[1] / "results"
ATTACKS = ("fgsm", "pgd", "bim")  # the ensemble's column is a worst case over several records
CELL = ("grid", "dataset", "variant", "training", "prune_rate", "attack", "eps")
Cell = tuple[str, str, str, str, float, str, float]


def cells(report: Report) -> dict[Cell, list[Record]]:
    """A cell of the tables of budgets or of compression -> the records behind it, one per seed.

    They may have been run on another grid: of a quantity that several grids measured, the tables show the strongest.
    """
    found: dict[Cell, list[Record]] = {}
    rates = (0.0, *PROTOCOL["pruning"]["tabulated_rates"])
    for grid in ("epsilon", "small_epsilon", "pruning"):
        for record in report.grid(grid):
            if record["attack"] in ATTACKS and (grid != "pruning" or record["prune_rate"] in rates):
                cell = (grid, *(record[name] for name in CELL[1:]))
                found.setdefault(cell, []).append(record)  # type: ignore[arg-type]
    return found


def expected(cell: Cell, records: Sequence[Record]) -> str:
    """What the table must show, from the predictions: "93.5 ± 0.4" over seeds, and the interval below it."""
    rates, lows, highs = [], [], []
    for record in records:
        triples = list(zip(record["labels"], record["before"], record["after"], strict=True))
        right = sum(label == before for label, before, _ in triples)
        flipped = sum(label == before != after for label, before, after in triples)
        kept = sum(label == after for label, _, after in triples)
        hits, n = (flipped, right) if cell[0] == "pruning" else (kept, len(triples))
        if n == 0:
            return "–"
        found = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        rates.append(100 * hits / n)
        lows.append(100 * abs(found.low))
        highs.append(100 * abs(found.high))
    spread = f" ± {statistics.stdev(rates):.1f}" if len(rates) > 1 else ""
    low, high = statistics.mean(lows), statistics.mean(highs)
    return f"{statistics.mean(rates):.1f}{spread}\n[{low:.1f}, {high:.1f}]"


def shown(cell: Cell, report: Report) -> str:
    """The cell of the book's table, without the mark of the best: measured value, interval, and what stands below."""
    grid, dataset, variant, training, rate, attack, eps = cell
    table = tables.compression(report, eps) if grid == "pruning" else tables.epsilon(report, grid)
    frame = table.frame
    label = next(d.label for d in report.datasets if d.name == dataset)
    row = frame[
        (frame["dataset"] == label)
        & (frame["model"] == short_label(variant, training))
        & (
            frame["pruned" if grid == "pruning" else "ε"].str.split("\n").str[0]
            == f"{rate if grid == 'pruning' else eps:.2g}"
        )
    ]
    return str(row[attack_name(attack)].item()).replace(tables.BEST, "")


def check(report: Report, seed: int, count: int = 3) -> list[str]:
    """Print ``count`` cells drawn with ``seed``, and return a line for each that the table shows otherwise."""
    found = cells(report)
    differing = []
    for cell in random.Random(seed).sample(sorted(found), min(count, len(found))):
        wanted, printed = expected(cell, found[cell]), shown(cell, report)
        agrees = printed == wanted or printed.startswith(f"{wanted}\n")
        keys = ", ".join(record["key"] for record in found[cell])
        name = " ".join(map(str, cell))
        line = f"{name} ({keys}): recomputed {wanted!r}, the table shows {printed!r}"
        print(f"{'agrees' if agrees else 'DIFFERS'}: {line}")
        if not agrees:
            differing.append(line)
    return differing


def main() -> None:
    """Exit code 1 where a table shows something else."""
    parser = argparse.ArgumentParser(prog="python -m tests.recompute")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args()
    print(f"profile {given.profile}, seed {given.seed}")
    sys.exit(bool(check(Report.load(given.profile, RESULTS), given.seed)))


if __name__ == "__main__":
    main()
