"""Attack success rates: the attacks of one row share the denominator, the number of images correct before."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from meddef.paper import VARIANT_LABELS
from meddef.printed import explanations, grim
from meddef.printed.attainability import test_sizes
from meddef.printed.finding import CANNOT_BE_CHECKED, Finding, Verdict, verdict_of
from meddef.printed.published import ATTACKS, COMPRESSION_TABLE, DATASETS, RATES, Published

SHOWN = 6


def telling(printed: tuple[str, ...]) -> tuple[str, ...]:
    """The distinct values other than 0 and 100 %, which every denominator allows."""
    return tuple(value for value in dict.fromkeys(printed) if Decimal(value) not in (0, 100))


def rows(published: Published) -> Iterator[Finding]:
    """Each row of Tables 3 and 4: one common D, no larger than the stated test set, or none; then each entry of it."""
    for dataset in DATASETS:
        sizes = test_sizes(published, dataset)
        for rate in RATES:
            for variant in VARIANT_LABELS:
                row = tuple(str(published.asr(dataset, variant, attack, rate)) for attack in ATTACKS)
                yield _row(published, dataset, variant, rate, row)
                for n, origin in sizes.items():
                    yield from _entries(dataset, variant, rate, row, n, origin)


def _describe(found: list[int]) -> str:
    if not found:
        return "none"
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(map(str, found[-SHOWN:])) + more


def _row(published: Published, dataset: str, variant: str, rate: float, row: tuple[str, ...]) -> Finding:
    exhibit, n = COMPRESSION_TABLE[dataset], published.test_attention_or_size(dataset)
    values = telling(row)
    id_, verdict = f"asr_row:{exhibit}:{rate:.1f}:{variant}", _verdict(row, n)
    printed = f"{' / '.join(row)} % ({' / '.join(ATTACKS)})"
    if verdict == CANNOT_BE_CHECKED:
        detail = f"{printed}: 0 and 100 % fit any number of images"
        return Finding(id_, "consistency", exhibit, None, None, verdict, detail)
    common = grim.fitting_sizes(row, stop=n + 1)
    by_chance = sum(grim.share(d) ** len(values) for d in range(grim.SMALLEST, n + 1))
    detail = (
        f"{printed}: common denominators from {grim.SMALLEST} to n = {n}: {_describe(common)} "
        f"({by_chance:.2g} expected by chance). "
    )
    if verdict != "holds":
        larger = next(iter(grim.fitting_sizes(row, n + 1)), None)
        detail += (
            f"The next denominator above n that fits is {larger}; a larger test set, ASR over other images than those "
            "correct before, or a copying error would also explain it. "
            f"{explanations.asr_sentence(values, n)} "
        )
    correct = [
        k
        for size in test_sizes(published, dataset)
        for k in grim.hits(str(published.clean(dataset, variant)), size)
    ]
    detail += f"Correct before pruning, from the clean accuracy: {_describe(correct)}."
    return Finding(id_, "consistency", exhibit, None, None, verdict, detail)


def _verdict(row: tuple[str, ...], n: int) -> Verdict:
    if not telling(row):
        return CANNOT_BE_CHECKED
    return verdict_of(bool(grim.fitting_sizes(row, stop=n + 1)))


def _entries(
    dataset: str, variant: str, rate: float, row: tuple[str, ...], n: int, origin: str
) -> Iterator[Finding]:
    exhibit = COMPRESSION_TABLE[dataset]
    common = grim.fitting_sizes(row, stop=n + 1)
    for attack, printed in zip(ATTACKS, row, strict=True):
        alone = len(grim.fitting_sizes((printed,), stop=n + 1))
        detail = (
            f"{printed} % fits {alone} denominators from {grim.SMALLEST} to {n} ({origin}) alone, "
            f"{len(common)} together with the other attacks of its row: {_describe(common)}"
        )
        id_ = f"attainable:{exhibit}:{rate:.1f}:{variant}:{attack}:{n}"
        yield Finding(id_, "attainability", exhibit, float(printed), n, verdict_of(bool(common)), detail)


def comparison(published: Published) -> Iterator[Finding]:
    """MedDef's ASR in Table 5: k out of the images correct before, at the size and clean accuracy printed elsewhere?"""
    for dataset, name in (("roct", "MedDef (ROCT)"), ("chest_xray", "MedDef (Chest X-Ray)")):
        metric = published.comparison.set_index("method").loc[name, "performance_metric"]
        printed, clean = str(metric).partition("%")[0], str(published.clean(dataset, "full"))
        tried, fits = [], False
        for n, origin in test_sizes(published, dataset).items():
            correct = grim.hits(clean, n)
            fitting = [d for d in correct if grim.hits(printed, d)]
            fits |= bool(fitting)
            before = f"{', '.join(map(str, correct))} correct before" if correct else f"{clean} % is no k/{n}"
            of_those = ", ".join(f"{grim.hits(printed, d)[0]}/{d}" for d in fitting) or "no k of those"
            over_all = ", ".join(f"{k}/{n}" for k in grim.hits(printed, n)) or "no k of all"
            tried.append(f"n = {n} ({origin}): {before}; {printed} % is {of_those}, {over_all}")
        detail = f"Clean accuracy {clean} %, ASR {printed} %. {'. '.join(tried)}. "
        detail += "ASR over all images would also explain it."
        yield Finding(
            f"asr_of_table5:{dataset}",
            "consistency",
            "table5",
            float(printed),
            None,
            verdict_of(fits),
            detail,
        )
