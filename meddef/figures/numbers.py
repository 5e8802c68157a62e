"""The numbers under a chart of attacks as one tidy table, one row per mark: measured and published."""

from __future__ import annotations

import pandas as pd

from meddef.catalogue import usual_training

CELL = ["dataset", "variant", "training", "prune_rate", "attack", "eps"]
COLUMNS = [
    "source",
    *CELL,
    "n",
    "right",
    "seeds",
    "value",
    "low",
    "high",
    "least",
    "most",
    "balanced",
    "balanced_low",
    "balanced_high",
    "constant",
    "constant_balanced",
]


def measured(frame: pd.DataFrame, rate: str) -> pd.DataFrame:
    """Rows of ``Report.attacks`` with ``rate`` ("robust", "asr", ...) as value, in percent, and its interval.

    ``right`` is how many of the n images were correct before the attack; ``least`` and ``most`` are of the seeds;
    ``balanced`` is balanced accuracy under attack with its interval, ``constant`` and ``constant_balanced`` the
    constant classifier.
    """
    ends = {end: frame[f"{rate}_{end}"] for end in ("low", "high", "least", "most")}
    return frame.assign(source="measured", value=frame[rate], **ends)[COLUMNS]


def published(table: pd.DataFrame, dataset: str, value: str) -> pd.DataFrame:
    """Rows of one of the paper's tables, printed for the twin of ``dataset``."""
    training = [usual_training(variant) for variant in table["variant"]]
    rows = table.rename(columns={value: "value"}).assign(
        source="published", dataset=dataset, training=training
    )
    return rows.reindex(columns=COLUMNS)


def together(*parts: pd.DataFrame) -> pd.DataFrame:
    """The non-empty parts, concatenated."""
    filled = [part.dropna(axis=1, how="all") for part in parts if len(part)]
    if not filled:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(filled, ignore_index=True).reindex(columns=COLUMNS)
