"""Attainability of every accuracy in Tables 1 and 2, and of those in the text, at each test-set size in question."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from meddef.paper import VARIANT_LABELS
from meddef.printed import explanations, grim
from meddef.printed.finding import Finding, Kind, verdict_of
from meddef.printed.published import DATASETS, EPSILON_TABLE, Published

# Test folders as released on Kaggle (kermany2018 and chest-xray-pneumonia), where the paper says its data come from.
RELEASED_TEST = {"roct": 968, "chest_xray": 624}
UNLIKELY = 0.01


def model_values(published: Published, dataset: str, variants: tuple[str, ...]) -> list[str]:
    """The distinct accuracies printed for these models on this dataset, in the order of the table."""
    table = published.epsilon
    chosen = table[(table["dataset"] == dataset) & table["variant"].isin(variants)]
    return list(dict.fromkeys(chosen["printed"]))


@lru_cache(maxsize=8)
def test_sizes(published: Published, dataset: str) -> dict[int, str]:
    """Sizes to try, with where each comes from: stated splits, the released folder, and what the table implies.

    The table implies n if n is the smallest size at which every accuracy of one model is attainable and fewer than
    0.01 sizes up to n would do so by chance.
    """
    splits = published.protocol["datasets"][dataset]["splits"]
    sizes = {splits["test"]: "the stated test set"}
    if splits["val"] >= grim.SMALLEST:
        sizes.setdefault(splits["val"], "the stated validation set")
    sizes.setdefault(RELEASED_TEST[dataset], "the released test folder")
    implied: dict[int, list[str]] = {}
    for variant, label in VARIANT_LABELS.items():
        values = model_values(published, dataset, (variant,))
        n = grim.smallest_n(values)
        if n is not None and grim.chance_of_smaller(len(values), n) < UNLIKELY:
            implied.setdefault(n, []).append(label)
    for n, labels in implied.items():
        sizes.setdefault(n, f"implied by the accuracies of {', '.join(labels)}")
    return sizes


def attainable(id_: str, exhibit: str, printed: str, n: int, origin: str, batch_size: int) -> Finding:
    """Whether ``printed`` percent is k out of n, with the nearest values and other explanations if not."""
    found = grim.hits(printed, n)
    if found:
        detail = f"{printed} % is {found[0]}/{n} ({origin})"
    else:
        below, above = grim.nearest(printed, n)
        other = explanations.sentence(printed, n, batch_size)
        detail = f"{printed} % is no k/{n} ({origin}); nearest are {below} and {above}; {other}"
    kind: Kind = "attainability"
    return Finding(id_, kind, exhibit, float(printed), n, verdict_of(bool(found)), detail)


def cells(published: Published) -> Iterator[Finding]:
    """One finding for each accuracy cell of Tables 1 and 2 and each size."""
    for dataset in DATASETS:
        batch_size = published.protocol["datasets"][dataset]["batch_size"]
        sizes = test_sizes(published, dataset)
        table = published.epsilon[published.epsilon["dataset"] == dataset]
        for exhibit, eps, variant, attack, printed in table[
            ["exhibit", "eps", "variant", "attack", "printed"]
        ].itertuples(index=False):
            for n, origin in sizes.items():
                id_ = f"attainable:{exhibit}:{eps:.2f}:{variant}:{attack}:{n}"
                yield attainable(id_, exhibit, printed, n, origin, batch_size)


def text(published: Published) -> Iterator[Finding]:
    """Accuracies that only the text prints (ledger entries with ``accuracy_on``)."""
    for claim in published.claims:
        for dataset in claim.get("accuracy_on", ()):
            batch_size = published.protocol["datasets"][dataset]["batch_size"]
            for name, printed in claim["values"].items():
                if name == "difference":
                    continue
                for n, origin in test_sizes(published, dataset).items():
                    id_ = f"attainable:{claim['id']}:{name}:{dataset}:{n}"
                    yield attainable(id_, claim["section"], printed, n, origin, batch_size)


def groups(published: Published) -> Iterator[Finding]:
    """For each model, each table and each dataset: do its accuracies fit the stated size, and which is the smallest n
    that fits all?"""
    for dataset in DATASETS:
        for name, variants, words in _groups():
            yield group(published, dataset, name, words, model_values(published, dataset, variants))
        printed = model_values(published, dataset, tuple(VARIANT_LABELS)) + text_values(published, dataset)
        words = "All five models and the text"
        yield group(published, dataset, "dataset", words, list(dict.fromkeys(printed)))


def text_values(published: Published, dataset: str) -> list[str]:
    """The accuracies on a dataset that the text prints (ledger entries with ``accuracy_on``)."""
    claims = [claim for claim in published.claims if dataset in claim.get("accuracy_on", ())]
    return [v for claim in claims for name, v in claim["values"].items() if name != "difference"]


def group(published: Published, dataset: str, name: str, words: str, values: list[str]) -> Finding:
    """A group of distinct accuracies at every size in question, with the chance of as many hits at random."""
    stated = published.test_attention_or_size(dataset)
    batch_size = published.protocol["datasets"][dataset]["batch_size"]
    attained = {n: sum(bool(grim.hits(v, n)) for v in values) for n in test_sizes(published, dataset)}
    counts = "; ".join(
        f"n = {n}: {hits} (chance of as many {grim.chance(hits, len(values), n):.2g})"
        for n, hits in attained.items()
    )
    detail = f"{words}: of {len(values)} distinct accuracies, attainable at {counts}. "
    smallest = grim.smallest_n(values)
    if smallest is None:
        detail += "No n below 10,000 fits all. "
    else:
        by_chance = grim.chance_of_smaller(len(values), smallest)
        detail += (
            f"The smallest n from {grim.SMALLEST} that fits all is {smallest} ({by_chance:.2g} by chance). "
        )
    holds = attained[stated] == len(values)
    if not holds:
        detail += (
            f"At n = {stated}, {explanations.group_sentence(values, stated, batch_size)}. "
            "Another or a second test set, or copying errors, would also explain misses. "
        )
    detail += "The chance assumes independent values, uniform over 0.00 to 100.00."
    exhibit = EPSILON_TABLE[dataset]
    return Finding(f"group:{exhibit}:{name}", "consistency", exhibit, None, None, verdict_of(holds), detail)


def _groups() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Name, models, and what they are in words."""
    for variant, label in VARIANT_LABELS.items():
        yield variant, (variant,), label
    yield "ablated", ("no_afd_mfe_msf", "no_afd_mfe", "no_afd"), "The three ablated models"
    yield "all", tuple(VARIANT_LABELS), "All five models"
