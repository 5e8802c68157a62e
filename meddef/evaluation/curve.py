"""One long training, evaluated on test images every few epochs: best epoch against last.

Source: Rice, Wong, Kolter, "Overfitting in adversarially robust deep learning", ICML 2020. The test images influence
nothing: training runs to the end, and the best epoch is chosen on validation images as in every other training.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from meddef.data.splits import Splits
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import batches, predictions, train_model
from meddef.evaluation.metrics import evaluate
from meddef.evaluation.single import bind_attack
from meddef.records import Record
from meddef.settings import CurveSettings, TrainingSettings


def run_curve(cell: Cell, splits: Splits, run_folder: Path, *, progress: bool) -> list[Record]:
    """Train to the last epoch; evaluate on test images along the way, and finally with the weights of the best epoch.

    Each evaluation holds the predictions ("before" and "after" PGD, one character per image) of the weights at that
    epoch.
    """
    settings = cell.settings
    rule = CurveSettings(
        variants=[settings["variant"]], **{k: settings[k] for k in ("every", "images", "eps", "steps")}
    )
    training = TrainingSettings.model_validate(settings["training"])

    def look(epochs: int, model: nn.Module) -> dict[str, Any]:
        last = epochs == training.epochs
        return {"test": judged(model)} if last or epochs % rule.every == 0 else {}

    def judged(model: nn.Module) -> dict[str, str]:
        options = {"steps": rule.steps, "fast": True, "precision": training.precision}
        attack = (
            partial(bound, seed=settings["seed"])
            if (bound := bind_attack("pgd", rule.eps, options))
            else None
        )
        outcome = evaluate(
            model, batches(splits.test, rule.images, training.batch_size, settings["device"]), attack
        )
        return predictions(outcome)

    record, model = train_model(cell, splits, run_folder, progress=progress, look=look)
    best = judged(model)
    points = [{"epochs": row["epoch"] + 1, **row.pop("test")} for row in record["history"] if "test" in row]
    shared = {"labels": best["labels"], "classes": list(splits.classes), "n": len(best["labels"])}
    for point in (*points, best):
        del point["labels"]
    return [
        record | {"look": rule.model_dump(exclude={"variants"}), "points": points, "best": best, **shared}
    ]
