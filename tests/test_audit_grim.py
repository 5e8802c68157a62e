"""Attainability, against fractions worked out by hand and against counting every k."""

from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddef.audit import Finding, findings
from meddef.printed import grim
from meddef.printed.explanations import asr_mean_of_seeds, mean_of_batches, mean_of_seeds, share_of_batches

# By hand: the cell, n, and the k whose 100 k / n prints as the value, or None with the two neighbours in the comment.
HAND = [
    ("table1", "0.01", "resnet18", "clean", 968, 964),  # 99.5868 -> 99.59
    ("table1", "0.01", "resnet18", "fgsm", 968, 123),  # 12.7066 -> 12.71
    ("table1", "0.01", "resnet18", "pgd", 968, 924),  # 95.4545 -> 95.45
    ("table1", "0.01", "resnet18", "jsma", 968, 189),  # 19.5248 -> 19.52
    ("table1", "0.05", "resnet18", "fgsm", 968, 310),  # 32.0248 -> 32.02
    ("table1", "0.05", "resnet18", "bim", 968, 0),
    ("table1", "0.05", "resnet18", "jsma", 968, 283),  # 29.2355 -> 29.24
    ("table1", "0.10", "resnet18", "jsma", 968, 250),  # 25.8264 -> 25.83
    ("table1", "0.05", "no_afd_mfe_msf", "clean", 968, 961),  # 99.2769 -> 99.28
    ("table1", "0.05", "no_afd_mfe_msf", "fgsm", 968, 803),  # 82.9545 -> 82.95
    ("table1", "0.05", "no_afd_mfe_msf", "bim", 968, 583),  # 60.2273 -> 60.23
    ("table1", "0.01", "full", "clean", 968, 958),  # 98.9669 -> 98.97
    ("table1", "0.01", "full", "fgsm", 968, None),  # 99.52: 963 is 99.4835, 964 is 99.5868
    ("table1", "0.01", "full", "pgd", 968, None),  # 99.14: 959 is 99.0702, 960 is 99.1736
    ("table1", "0.01", "full", "bim", 968, None),  # 98.42: 952 is 98.3471, 953 is 98.4504
    ("table1", "0.01", "full", "jsma", 968, None),  # 99.62: 964 is 99.5868, 965 is 99.6901
    ("table1", "0.05", "full", "fgsm", 968, None),  # 88.45: 856 is 88.4298, 857 is 88.5331
    ("table1", "0.05", "full", "pgd", 968, None),  # 99.97: 967 is 99.8967, 968 is 100
    ("table1", "0.05", "full", "bim", 968, None),  # 75.35: 729 is 75.3099, 730 is 75.4132
    ("table1", "0.10", "full", "bim", 968, None),  # 9.82: 95 is 9.8140, 96 is 9.9174
    ("table1", "0.10", "full", "pgd", 968, 961),  # 99.2769 -> 99.28
    ("table2", "0.01", "resnet18", "clean", 879, 641),  # 72.9238 -> 72.92
    ("table2", "0.01", "resnet18", "clean", 1114, None),  # 72.92: 812 is 72.8905, 813 is 72.9803
    ("table2", "0.05", "resnet18", "fgsm", 879, None),  # 72.89: 640 is 72.8100, 641 is 72.9238
    ("table2", "0.05", "resnet18", "fgsm", 1114, 812),  # 72.8905 -> 72.89
    ("table2", "0.01", "resnet18", "bim", 879, 139),  # 15.8134 -> 15.81
    ("table2", "0.05", "resnet18", "bim", 879, 126),  # 14.3345 -> 14.33
    ("table2", "0.10", "resnet18", "bim", 879, 56),  # 6.3709 -> 6.37
    ("table2", "0.01", "no_afd_mfe_msf", "clean", 879, None),  # 97.94: 860 is 97.8385, 861 is 97.9522
    ("table2", "0.01", "no_afd_mfe_msf", "clean", 1114, 1091),  # 97.9354 -> 97.94
    ("table2", "0.01", "no_afd_mfe", "clean", 1114, 1066),  # 95.6912 -> 95.69
    ("table2", "0.01", "no_afd", "clean", 1114, 1061),  # 95.2424 -> 95.24
    ("table2", "0.01", "full", "clean", 879, None),  # 97.67: 858 is 97.6109, 859 is 97.7247
    ("table2", "0.01", "full", "clean", 1114, 1088),  # 97.6661 -> 97.67
    ("table2", "0.01", "full", "pgd", 879, None),  # 98.03: 861 is 97.9522, 862 is 98.0660
    ("table2", "0.10", "full", "pgd", 879, 878),  # 99.8862 -> 99.89
    ("table2", "0.10", "full", "pgd", 1114, None),  # 99.89: 1112 is 99.8205, 1113 is 99.9102
]


@pytest.fixture(scope="module")
def found() -> dict[str, Finding]:
    return {finding.id: finding for finding in findings()}


@pytest.mark.parametrize(("exhibit", "eps", "variant", "attack", "n", "k"), HAND)
def test_hand_worked_cells(
    found: dict[str, Finding], exhibit: str, eps: str, variant: str, attack: str, n: int, k: int | None
) -> None:
    finding = found[f"attainable:{exhibit}:{eps}:{variant}:{attack}:{n}"]
    assert finding.verdict == ("does_not_hold" if k is None else "holds")
    assert k is None or f"{k}/{n} " in finding.detail


# ASR rows by hand: 667, 4, 1076 and 653 of 1091 are 61.136, 0.367, 98.625 and 59.853; 634, 12 and 895 of 958 are
# 66.180, 1.253 and 93.424; 3, 1, 641 and 2 of 641 are 0.468, 0.156, 100 and 0.312.
@pytest.mark.parametrize(
    ("row", "denominator"),
    [
        (("61.14", "0.37", "98.63", "59.85"), 1091),
        (("66.18", "1.25", "93.42", "66.18"), 958),
        (("0.47", "0.16", "100.00", "0.31"), 641),
        (("0.94", "1.87", "100.00", "0.47"), 641),
    ],
)
def test_asr_rows_share_the_denominator_found_by_hand(row: tuple[str, ...], denominator: int) -> None:
    assert denominator in grim.fitting_sizes(row, stop=1200)


def test_chest_rows_need_more_images_than_the_test_set_has(found: dict[str, Finding]) -> None:
    finding = found["asr_row:table4:0.3:no_afd_mfe_msf"]
    assert finding.verdict == "does_not_hold"
    assert "denominator above n that fits is 1091" in finding.detail
    assert found["attainable:table4:0.3:no_afd_mfe_msf:fgsm:1114"].verdict == "holds"


def test_rounding_up_and_truncation_both_count() -> None:
    assert list(grim.hits("66.67", 3)) == [2]
    assert list(grim.hits("66.66", 3)) == [2]
    assert not grim.hits("66.65", 3)
    assert not grim.hits("66.68", 3)


def by_counting(value: int, places: int, n: int) -> list[int]:
    """Every k whose percentage prints as ``value``, by decimal rounding."""
    step = Decimal(1).scaleb(-places)
    target = Decimal(value).scaleb(-places)
    modes = (ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_DOWN)
    return [
        k
        for k in range(n + 1)
        if any((Decimal(100 * k) / n).quantize(step, rounding=m) == target for m in modes)
    ]


@settings(max_examples=60, deadline=None)
@given(places=st.integers(1, 2), value=st.integers(0, 10_000), n=st.integers(1, 400))
def test_hits_are_what_counting_finds(places: int, value: int, n: int) -> None:
    value = value if places == 2 else value // 10
    assert list(grim.hits(str(Decimal(value).scaleb(-places)), n)) == by_counting(value, places, n)


@settings(max_examples=40, deadline=None)
@given(value=st.integers(0, 10_000), n=st.integers(5, 40), batch_size=st.integers(2, 9))
def test_means_of_batches_are_what_counting_finds(value: int, n: int, batch_size: int) -> None:
    full, rest = divmod(n, batch_size)
    if rest == 0 or full == 0:
        means = {Fraction(k, n) for k in range(n + 1)}
    else:
        means = {
            (Fraction(a, batch_size) + Fraction(b, rest)) / (full + 1)
            for a in range(full * batch_size + 1)
            for b in range(rest + 1)
        }
    expected = any(value - Fraction(1, 2) <= 10_000 * mean < value + 1 for mean in means)
    assert mean_of_batches(f"{value / 100:.2f}", n, batch_size) == expected


def test_share_is_the_mean_over_all_percentages() -> None:
    for n in (100, 879, 968, 1114):
        attainable = sum(bool(grim.hits(f"{value / 100:.2f}", n)) for value in range(10_001))
        assert grim.share(n) == pytest.approx(attainable / 10_001)
    assert grim.share(20_000) == 1.0
    assert share_of_batches(968, 44) == grim.share(968)  # 22 full batches: no odd one


def test_chance_by_hand() -> None:
    share = grim.share(968)
    assert grim.chance(3, 3, 968) == pytest.approx(share**3)
    assert grim.chance(0, 3, 968) == pytest.approx(1)
    assert grim.chance_of_smaller(2, 101) == pytest.approx(grim.share(100) ** 2 + grim.share(101) ** 2)


def test_smallest_n() -> None:
    # A third and a seventh: 21 k has both, 105 is the first such n from 100 (35/105, 15/105); 98 would be below 100.
    assert grim.smallest_n(["33.33", "14.29"]) == 105
    assert grim.smallest_n(["33.33", "14.29"]) == grim.fitting_sizes(["33.33", "14.29"])[0]


def test_mean_of_seeds() -> None:
    # 1/968 is 0.1033; half of it, 1/1936, is 0.0517.
    assert mean_of_seeds("0.05", 968) == 2
    assert mean_of_seeds("99.97", 968) == 3  # 2903/2904 = 99.9656


def test_success_rates_as_means_of_seeds() -> None:
    # 50.25 is 201/400, no k/D for D <= 200 but a mean of two seeds over 200 each; 0.25 is 1/400.
    assert grim.fitting_sizes(("50.25", "0.25"), stop=201) == []
    assert asr_mean_of_seeds(("50.25", "0.25"), 200) == by_seeds(("50.25", "0.25"), 200)


def by_seeds(printed: tuple[str, ...], n: int) -> tuple[int, int] | None:
    """The same by counting."""
    for seeds in (2, 3, 4, 5):
        for size in range(100, n + 1):
            if all(grim.hits(value, seeds * size) for value in printed):
                return seeds, size
    return None
