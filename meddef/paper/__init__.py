"""The MedDef paper's printed numbers, as data: nothing is computed.

`PROTOCOL`: datasets, training, attacks, pruning, and where the paper's statements differ, with sections.
`CLAIMS`: the ledger of every claim and setting with the checks that decide it (`meddef.claims.model` has the fields),
`distinct` those that repeat no other; `CLAIMS_EXCLUDED`: the
numbers and sentences that hold none, with reasons.
`DECISIONS`: where the paper can be read in more than one way, and what was taken.
`EXHIBITS`: every figure, subfigure and table.
`VARIANT_LABELS`: our variant names and the paper's.
"""

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from meddef.catalogue import VARIANTS, variants

VARIANT_LABELS: dict[str, str] = {name: VARIANTS[name].label for name in variants("paper")}


def _yaml(name: str) -> Any:
    return yaml.safe_load((files(__name__) / name).read_text(encoding="utf-8"))


def _csv(name: str, dtype: dict[str, str]) -> pd.DataFrame:
    with (files(__name__) / name).open("r", encoding="utf-8") as stream:
        return pd.read_csv(stream, dtype=dtype, keep_default_na=False)


PROTOCOL: dict[str, Any] = _yaml("protocol.yaml")
EXHIBITS: list[dict[str, Any]] = _yaml("exhibits.yaml")
DECISIONS: list[dict[str, Any]] = _yaml("decisions.yaml")
CLAIMS: list[dict[str, Any]] = [
    {"section": section, **claim}
    for part in sorted(path.name for path in (files(__name__) / "claims").iterdir())
    for section, claims in _yaml(f"claims/{part}").items()
    for claim in claims
]
CLAIMS_EXCLUDED: dict[str, Any] = _yaml("claims_excluded.yaml")


def distinct(claims: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Claims without those that say another one again."""
    return [claim for claim in claims if "same_as" not in claim]


def epsilon_table() -> pd.DataFrame:
    """Tables 1 (ROCT) and 2 (chest): accuracy in percent, one row per cell, 150 rows.

    Columns: exhibit, dataset, eps, variant, params_m (M, as printed), attack (clean, fgsm, pgd, bim, jsma),
    accuracy (float, percent), printed (the same as text), bold.
    """
    table = _csv("epsilon_table.csv", {"printed": "str", "params_m": "str", "bold": "bool"})
    table.insert(6, "accuracy", table["printed"].astype(float))
    return table


def compression_table() -> pd.DataFrame:
    """Tables 3 (ROCT) and 4 (chest): attack success rate in percent, one row per cell, 120 rows.

    Columns: exhibit, dataset, prune_rate (0.3, 0.7, 0.8), variant, attack (fgsm, pgd, bim, jsma),
    asr (float, percent), printed (the same as text), bold.
    """
    table = _csv("compression_table.csv", {"printed": "str", "bold": "bool"})
    table.insert(5, "asr", table["printed"].astype(float))
    return table


def comparison_table() -> pd.DataFrame:
    """Table 5: seven methods, each cell as printed (two printed lines joined by a space)."""
    return _csv("comparison_table.csv", {"bold": "bool"})
