"""What ``meddef prune`` says of a model at several pruning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from meddef.commands.output import Found
from meddef.commands.told import Told, brackets, constant_classifier, counted
from meddef.report.display import Table
from meddef.statistics import Proportion

if TYPE_CHECKING:
    from meddef.evaluation.compression import Compressed
    from meddef.settings import TrainingSettings

MEGA = 1e6


def found(
    rows: Sequence[Compressed],
    scope: str,
    recipe: TrainingSettings | None,
    classes: Sequence[str],
    told: Told,
) -> Found:
    """One row per rate, the unpruned model first."""
    n = rows[0].outcome.counts.n
    attacked = told.attack != "clean"
    columns = {
        "rate": [f"{row.rate:.0%}" if row.rate else "unpruned" for row in rows],
        "zeros": [f"{row.sparsity:.1%}" for row in rows],
        "weights left": [_short(row.left) for row in rows],
        "file (MB)": [f"{row.plain_bytes / MEGA:.2f}" for row in rows],
        "packed (MB)": [f"{row.packed_bytes / MEGA:.2f}" for row in rows],
        "ms per image": [f"{row.milliseconds:.1f} ×{row.relative_time:.2f}" for row in rows],
        "clean accuracy": [_rate(row.outcome.clean_accuracy) for row in rows],
    }
    if attacked:
        columns["robust accuracy"] = [_rate(row.outcome.robust_accuracy) for row in rows]
    tuning = "" if recipe is None else f", fine-tuned for {recipe.epochs} epochs ({recipe.name})"
    first, last = rows[0], rows[-1]
    headline = {
        "unpruned_clean_accuracy": first.outcome.clean_accuracy.value,
        "unpruned_robust_accuracy": first.outcome.robust_accuracy.value,
        "rate": last.rate,
        "clean_accuracy": last.outcome.clean_accuracy.value,
        "robust_accuracy": last.outcome.robust_accuracy.value,
    }
    robust = (
        f", robust accuracy under {told.strength} {last.outcome.robust_accuracy.value:.1%} (unpruned "
        f"{first.outcome.robust_accuracy.value:.1%})"
        if attacked
        else ""
    )
    return Found(
        summary=f"Pruned by {last.rate:.0%} ({scope}{tuning}): clean accuracy {last.outcome.clean_accuracy.value:.1%} "
        f"(unpruned {first.outcome.clean_accuracy.value:.1%}){robust}, of {n} images.",
        about={**told.about, "n": n},
        headline=headline,
        rows={"rates": [_plain(row) for row in rows]},
        csv=("rates",),
        tables=[Table(pd.DataFrame(columns), f"Pruning ({scope}{tuning}): {told.title} on {told.on(n)}")],
        notes=[
            f"zeros: of the {first.parameters:,} parameters, the weights of convolutions and linear layers alone are "
            "pruned; brackets: 95 % Wilson intervals",
            "packed: a file without the zeros (meddef.sparse.save_sparse); in memory every model is as large as the "
            "unpruned one",
            "ms per image: one image alone, median; × as a multiple of the unpruned model's, measured in turns (its "
            "own factor is noise). Dense kernels multiply zeros like any number: unstructured pruning saves no time",
            *(
                f"{f'at {row.rate:.0%}' if row.rate else 'unpruned'}: {line}"
                for row in rows
                for line in constant_classifier(row.outcome.labels, row.outcome.before, classes)
            ),
            *told.notes,
        ],
    )


def _short(count: int) -> str:
    """11,177,538 as "11.18 M", so that the table fits 80 columns; the exact number is in the saved file."""
    return f"{count / MEGA:.2f} M" if count >= MEGA else f"{count:,}"


def _rate(rate: Proportion) -> str:
    return f"{rate.value:.1%} {brackets(rate)}"


def _plain(row: Compressed) -> dict[str, object]:
    clean, robust = (counted(getattr(row.outcome, f"{kind}_accuracy")) for kind in ("clean", "robust"))
    return {
        "rate": row.rate, "sparsity": row.sparsity, "parameters": row.parameters, "parameters_left": row.left,
        "file_bytes": row.plain_bytes, "packed_bytes": row.packed_bytes,
        "milliseconds_per_image": row.milliseconds, "relative_time": row.relative_time,
        **{f"clean_{name}": value for name, value in clean.items()},
        **{f"robust_{name}": value for name, value in robust.items()},
        "sparsity_of_layers": row.layers,
    }  # fmt: skip
