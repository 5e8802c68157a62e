"""Why the first edition's ensemble misses images: python -m tests.bench.autoattack_missed --runs-dir runs, afterwards.

The images of ``results/bench/autoattack.json`` that AutoAttack fools and it does not, once more under PGD and APGD,
with its steps and with the default's, on the model itself and on the faster copy, from several random starts.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from meddef.atomic import write_text
from meddef.attacks.ensemble import Attack, in_turn, members
from meddef.evaluation.provenance import provenance
from tests.bench.autoattack import PLACE as RECORD
from tests.bench.autoattack import PROFILE, budgets_of, ensembles, subject

PLACE = RECORD.with_name("autoattack_missed.json")
SEEDS = 8


def missed(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """A row of AutoAttack's, and the indices of the images on which only it succeeds, not the first edition's
    ensemble."""
    published = {(row["dataset"], row["eps"]): row["by"] for row in rows if row["who"] == "first_edition"}
    for row in rows:
        if row["who"] == "autoattack":
            pairs = zip(row["by"], published[row["dataset"], row["eps"]], strict=True)
            yield row, [i for i, (theirs, ours) in enumerate(pairs) if theirs != "-" and ours == "-"]


def climbing(classes: int, steps: int) -> dict[str, Attack]:
    """PGD and APGD of the ensemble, without FAB and Square, which fooled none of these images for anybody."""
    return {name: a for name, a in members(classes, steps=steps).items() if name not in ("fab", "square")}


def rows(runs_dir: Path) -> Iterator[dict[str, Any]]:
    """One row per image, number of steps and kind of gradient: from how many of the random starts it falls."""
    steps = {
        who: max(r["steps"] for r in budgets_of(who, ensembles()[who][0]) if "apgd" in r["member"])
        for who in ("first_edition", "default")
    }
    for row, places in missed(json.loads(RECORD.read_text(encoding="utf-8"))["rows"]):
        if not places:
            continue
        model, x, labels, _ = subject(runs_dir, row["dataset"], row["n"])
        for who, many in steps.items():
            for fast in (True, False):
                fallen = torch.zeros(len(places), dtype=torch.long)
                for seed in range(SEEDS):
                    _, by = in_turn(
                        model, x[places], labels[places], partial(climbing, steps=many),
                        radius=torch.full((len(places),), row["eps"]), fast=fast, seed=seed,
                    )  # fmt: skip
                    fallen += by > 0
                for place, count in zip(places, fallen.tolist(), strict=True):
                    yield {
                        "dataset": row["dataset"], "eps": row["eps"], "image": place, "who": who, "steps": many,
                        "fast": fast, "starts": SEEDS, "fallen": count,
                    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.autoattack_missed")
    parser.add_argument("--runs-dir", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = list(rows(given.runs_dir))
    circumstances = provenance("cpu", time.perf_counter() - started) | {"threads": 1, "profile": PROFILE}
    write_text(PLACE, json.dumps({"provenance": circumstances, "rows": found}, indent=1) + "\n")
    print(f"written to {PLACE}")
