"""The class prior: the accuracy of always predicting the largest class, and where the tables print it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from meddef.paper import VARIANT_LABELS
from meddef.printed import grim
from meddef.printed.attainability import test_sizes
from meddef.printed.finding import Finding, verdict_of
from meddef.printed.published import ATTACKS, COMPRESSION_TABLE, DATASETS, EPSILON_TABLE, RATES, Published


def clean_above_prior(published: Published) -> Iterator[Finding]:
    """Clean accuracy is not that of a constant classifier on the stated test set."""
    for dataset in DATASETS:
        classes = published.protocol["datasets"][dataset]["class_counts"]["test"]
        largest, n = max(classes.values()), sum(classes.values())
        for variant in VARIANT_LABELS:
            clean = published.clean(dataset, variant)
            same = largest in grim.hits(str(clean), n)
            detail = (
                f"{VARIANT_LABELS[variant]}: clean accuracy {clean} %; always predicting the largest class gives "
                f"{largest}/{n} = {100 * largest / n:.2f} %."
            )
            if same:
                detail += (
                    " They agree: a constant classifier would give this value; others could by coincidence."
                )
            yield _finding("clean_above_prior", EPSILON_TABLE[dataset], variant, not same, detail)


def repeated_value(published: Published) -> Iterator[Finding]:
    """The most frequent robust accuracy of a table is not shared by several models."""
    for dataset in DATASETS:
        table = published.epsilon
        cells = table[(table["dataset"] == dataset) & (table["attack"] != "clean")]
        printed = str(cells["printed"].value_counts().index[0])
        where = cells[cells["printed"] == printed]
        models = int(where["variant"].nunique())
        sizes = "; ".join(
            f"n = {n}: {grim.hits(printed, n)[0] if grim.hits(printed, n) else 'no k'}"
            for n in test_sizes(published, dataset)
        )
        detail = (
            f"{printed} % occurs in {len(where)} of {len(cells)} cells, of the models {models} ({sizes})."
        )
        if models > 1:
            detail += (
                " Models that predict a single class under attack would give that class's share; so would one result "
                "copied to several cells."
            )
        yield _finding("repeated_value", EPSILON_TABLE[dataset], printed, models == 1, detail)


def some_attack_succeeds(published: Published) -> Iterator[Finding]:
    """Not every attack of a row of Tables 3 and 4 has an ASR of 0: a constant classifier has no other."""
    for dataset in DATASETS:
        for rate in RATES:
            for variant in VARIANT_LABELS:
                row = [published.asr(dataset, variant, attack, rate) for attack in ATTACKS]
                holds = any(value > Decimal(0) for value in row)
                detail = f"{VARIANT_LABELS[variant]}, {100 * rate:.0f} % pruned: ASR {' / '.join(map(str, row))} %."
                if not holds:
                    detail += (
                        " A model that has collapsed to one class cannot be attacked; the clean accuracy at this "
                        "rate, which would distinguish it from a robust model, is not printed."
                    )
                name = f"{rate:.1f}:{variant}"
                yield _finding("some_attack_succeeds", COMPRESSION_TABLE[dataset], name, holds, detail)


def _finding(check: str, exhibit: str, name: str, holds: bool, detail: str) -> Finding:
    return Finding(f"{check}:{exhibit}:{name}", "consistency", exhibit, None, None, verdict_of(holds), detail)
