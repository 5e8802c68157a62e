"""The paper's numbers for the checks, as exact decimals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pandas as pd

from meddef import paper
from meddef.catalogue import DEFENDED as DEFENDED
from meddef.catalogue import PUBLISHED_ATTACKS

DATASETS = ("roct", "chest_xray")
ATTACKS = PUBLISHED_ATTACKS
EPSILONS = (0.01, 0.05, 0.10)
RATES = (0.3, 0.7, 0.8)
EPSILON_TABLE = {"roct": "table1", "chest_xray": "table2"}
COMPRESSION_TABLE = {"roct": "table3", "chest_xray": "table4"}


@dataclass(frozen=True, eq=False)
class Published:
    """All input of the audit. Replace a part to see which verdicts depend on it.

    Two are equal only if they are one object, so that results can be kept by it.
    """

    epsilon: pd.DataFrame = field(default_factory=paper.epsilon_table)
    compression: pd.DataFrame = field(default_factory=paper.compression_table)
    comparison: pd.DataFrame = field(default_factory=paper.comparison_table)
    protocol: dict[str, Any] = field(default_factory=lambda: paper.PROTOCOL)
    claims: list[dict[str, Any]] = field(default_factory=lambda: paper.CLAIMS)
    exhibits: list[dict[str, Any]] = field(default_factory=lambda: paper.EXHIBITS)
    _accuracy: dict[tuple[str, str, str, float], Decimal] = field(init=False, repr=False)
    _asr: dict[tuple[str, str, str, float], Decimal] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_accuracy", _index(self.epsilon, "eps"))
        object.__setattr__(self, "_asr", _index(self.compression, "prune_rate"))

    def accuracy(self, dataset: str, variant: str, attack: str, eps: float) -> Decimal:
        """Tables 1 and 2: accuracy in percent; attack "clean" for the accuracy before any attack."""
        return self._accuracy[dataset, variant, attack, eps]

    def clean(self, dataset: str, variant: str) -> Decimal:
        """Clean accuracy in percent (the paper prints it once for each ε; the first is taken)."""
        return self._accuracy[dataset, variant, "clean", EPSILONS[0]]

    def asr(self, dataset: str, variant: str, attack: str, rate: float) -> Decimal:
        """Tables 3 and 4: attack success rate in percent."""
        return self._asr[dataset, variant, attack, rate]

    def parameters(self, dataset: str, variant: str) -> Decimal:
        """Parameters in millions, from Tables 1 and 2."""
        table = self.epsilon
        row = table[(table["dataset"] == dataset) & (table["variant"] == variant)]
        return Decimal(str(row["params_m"].iloc[0]))

    def test_attention_or_size(self, dataset: str) -> int:
        """Images in the test set, as stated."""
        return int(self.protocol["datasets"][dataset]["splits"]["test"])

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """The 30 rows of Tables 1 and 2: (dataset, variant, ε)."""
        for dataset, variant, eps in self.epsilon[["dataset", "variant", "eps"]].drop_duplicates().to_numpy():
            yield str(dataset), str(variant), float(eps)


def _index(table: pd.DataFrame, level: str) -> dict[tuple[str, str, str, float], Decimal]:
    columns = (table["dataset"], table["variant"], table["attack"], table[level], table["printed"])
    return {(d, v, a, float(x)): Decimal(printed) for d, v, a, x, printed in zip(*columns, strict=True)}
