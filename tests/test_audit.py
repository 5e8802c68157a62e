"""The audit's verdicts: known ones, and that each follows the number it is about."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from meddef import paper
from meddef.audit import Published, decided_by, findings, numbers
from meddef.printed import attainability, best_marks, bim_vs_pgd, class_prior, counts, sanity_checks
from meddef.printed.finding import Finding

FOUND = {finding.id: finding for finding in findings()}


def verdict(found: list[Finding] | dict[str, Finding], id_: str) -> str:
    return (found if isinstance(found, dict) else {f.id: f for f in found})[id_].verdict


def with_accuracy(dataset: str, variant: str, attack: str, eps: float, printed: str) -> Published:
    """The paper with one accuracy changed."""
    table = paper.epsilon_table()
    cell = (table["dataset"] == dataset) & (table["variant"] == variant) & (table["attack"] == attack)
    table.loc[cell & (table["eps"] == eps), "printed"] = printed
    return Published(epsilon=table)


def with_asr(dataset: str, variant: str, attack: str, rate: float, printed: str) -> Published:
    """The paper with one ASR changed."""
    table = paper.compression_table()
    cell = (table["dataset"] == dataset) & (table["variant"] == variant) & (table["attack"] == attack)
    table.loc[cell & (table["prune_rate"] == rate), "printed"] = printed
    return Published(compression=table)


def with_protocol(change: Callable[[dict], None]) -> Published:
    protocol = copy.deepcopy(paper.PROTOCOL)
    change(protocol)
    return Published(protocol=protocol)


def test_ids_are_unique_and_name_the_function_that_decides() -> None:
    all_found = findings()
    assert len({finding.id for finding in all_found}) == len(all_found)
    assert all(callable(decided_by(finding)) for finding in all_found)
    assert set(numbers.QUESTIONS) == set(numbers.CHECKS)


@pytest.mark.parametrize(("exhibit", "sizes"), [("table1", {968}), ("table2", {879, 878, 624, 1114})])
def test_every_accuracy_cell_is_tried_at_every_size(exhibit: str, sizes: set[int]) -> None:
    tried = Counter(f.n for f in FOUND.values() if f.kind == "attainability" and f.exhibit == exhibit)
    assert tried == dict.fromkeys(sizes, 75)


@pytest.mark.parametrize(("exhibit", "sizes"), [("table3", {968}), ("table4", {879, 878, 624, 1114})])
def test_every_asr_cell_is_tried_at_every_size(exhibit: str, sizes: set[int]) -> None:
    tried = Counter(f.n for f in FOUND.values() if f.kind == "attainability" and f.exhibit == exhibit)
    assert tried == dict.fromkeys(sizes, 60)


def test_the_size_that_table_2_implies_is_computed_from_it() -> None:
    sizes = attainability.test_sizes(
        with_accuracy("chest_xray", "no_afd", "pgd", 0.05, "96.80"), "chest_xray"
    )
    assert sizes[1114].endswith("MedDef w/o AFD+MFE+MSF, MedDef w/o AFD+MFE")
    assert "w/o AFD," not in sizes[1114]


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        ("group:table1:ablated", "holds"),  # 33 of 33 at 968
        ("group:table1:full", "does_not_hold"),  # 2 of 13
        ("group:table2:ablated", "does_not_hold"),  # none of the three at 879
        ("group:table2:dataset", "does_not_hold"),
        ("asr_of_table5:roct", "does_not_hold"),  # 24/958 is 2.51
        ("asr_row:table4:0.7:resnet18", "cannot_be_checked"),  # 0 and 100 only
        ("bold:table1:0.05:pgd", "does_not_hold"),  # 99.97 is bold, ResNet18 has 100.00
        ("bold:table1:0.05:bim", "holds"),
        ("bim_and_pgd:table1:0.05:resnet18", "does_not_hold"),  # 0.00 and 100.00
        ("bim_and_pgd:table1:0.01:full", "holds"),  # 98.42 and 99.14
        ("above_clean:table2:resnet18:pgd", "does_not_hold"),  # 72.92 to 97.72
        ("rises_with_epsilon:table1:no_afd:pgd", "does_not_hold"),  # 94.63, 98.24, 98.86
        ("rises_with_epsilon:table1:no_afd:bim", "holds"),  # 97.93, 32.85, 2.79
        ("iterative_beats_single_step:table1:0.05:full:pgd", "does_not_hold"),  # 99.97 over 88.45
        ("clean_above_prior:table2:resnet18", "does_not_hold"),  # 641/879
        ("repeated_value:table2:72.89", "does_not_hold"),
        ("some_attack_succeeds:table4:0.8:full", "does_not_hold"),
        ("splits:chest_xray", "holds"),
        ("duplicates:chest_xray", "cannot_be_checked"),
        ("confusion_accuracy:chest_xray", "does_not_hold"),  # 859/879 is 97.72, Table 2 has 97.67
        ("confusion_accuracy:roct", "holds"),  # 719 + 239 = 958
        ("parameters:no_afd_mfe", "holds"),  # 1,026 parameters between K = 4 and K = 2
        ("parameters_order:roct", "does_not_hold"),  # 17.61 before 16.57
        ("claim:abstract.up-to", "does_not_hold"),
        ("claim:V-B.highest-clean", "does_not_hold"),
        ("claim:V-C.msf-clean", "does_not_hold"),
        ("claim:V-C.afd-pgd", "holds"),
        ("claim:fig10.below", "does_not_hold"),  # BIM 93.42
        ("claim:V-E.eps", "does_not_hold"),
        ("claim:I.overhead", "cannot_be_checked"),
    ],
)
def test_known_verdicts(id_: str, expected: str) -> None:
    assert verdict(FOUND, id_) == expected


def test_details_hold_the_numbers() -> None:
    assert "97.52" in FOUND["claim:abstract.up-to"].detail
    assert "100 - 2.48" in FOUND["claim:abstract.up-to"].detail
    assert "641/879" in FOUND["clean_above_prior:table2:resnet18"].detail
    assert "25 of 60 cells" in FOUND["repeated_value:table2:72.89"].detail
    assert "97.70" not in str(
        attainability.model_values(Published(), "roct", ("no_afd",))
    )  # the text alone has it
    assert "97.70" in attainability.text_values(Published(), "roct")
    assert "over 2 seeds" in FOUND["asr_row:table4:0.3:no_afd_mfe_msf"].detail
    assert "239 correct for NORMAL" in FOUND["confusion_accuracy:roct"].detail


@pytest.mark.parametrize(
    ("check", "published", "id_", "expected"),
    [
        (
            attainability.cells,
            with_accuracy("roct", "full", "fgsm", 0.01, "99.48"),  # 963/968
            "attainable:table1:0.01:full:fgsm:968",
            "holds",
        ),
        (
            attainability.groups,
            with_accuracy("roct", "no_afd", "bim", 0.05, "32.80"),  # 317 is 32.75, 318 is 32.85
            "group:table1:no_afd",
            "does_not_hold",
        ),
        (
            best_marks.groups,
            with_accuracy("roct", "resnet18", "pgd", 0.05, "99.90"),
            "bold:table1:0.05:pgd",
            "holds",
        ),
        (
            best_marks.groups,
            with_asr("roct", "no_afd_mfe", "fgsm", 0.3, "60.00"),
            "bold:table3:0.3:fgsm",
            "does_not_hold",
        ),
        (
            bim_vs_pgd.bim_and_pgd,
            with_accuracy("roct", "resnet18", "pgd", 0.05, "0.10"),
            "bim_and_pgd:table1:0.05:resnet18",
            "holds",
        ),
        (
            sanity_checks.above_clean,
            with_accuracy("roct", "full", "bim", 0.01, "98.98"),
            "above_clean:table1:full:bim",
            "does_not_hold",
        ),
        (
            sanity_checks.clean_repeats,
            with_accuracy("roct", "full", "clean", 0.05, "98.76"),
            "clean_repeats:table1:full",
            "does_not_hold",
        ),
        (
            class_prior.clean_above_prior,
            with_accuracy("chest_xray", "resnet18", "clean", 0.01, "73.04"),
            "clean_above_prior:table2:resnet18",
            "holds",
        ),
        (
            class_prior.some_attack_succeeds,
            with_asr("chest_xray", "full", "bim", 0.8, "0.12"),
            "some_attack_succeeds:table4:0.8:full",
            "holds",
        ),
        (
            counts.splits,
            with_protocol(lambda p: p["datasets"]["roct"]["splits"].update(val=33)),
            "splits:roct",
            "does_not_hold",
        ),
        (
            counts.confusion,
            with_accuracy("chest_xray", "full", "clean", 0.01, "97.72"),
            "confusion_accuracy:chest_xray",
            "holds",
        ),
        (
            numbers.printed_findings,
            with_accuracy("roct", "no_afd", "clean", 0.01, "97.70"),
            "claim:V-C.afd-clean",
            "holds",
        ),
        (
            numbers.printed_findings,
            with_asr("roct", "full", "pgd", 0.3, "1.26"),
            "claim:V-C.afd-pgd",
            "does_not_hold",
        ),
        (
            numbers.printed_findings,
            with_asr("roct", "full", "pgd", 0.3, "30.00"),
            "claim:fig10.pgd",
            "does_not_hold",
        ),
        (
            numbers.printed_findings,
            with_protocol(lambda p: p["training"].update(dropout=0.2)),
            "claim:IV-A.dropout",
            "holds",
        ),
        (
            numbers.printed_findings,
            with_accuracy("roct", "full", "clean", 0.01, "90.00"),
            "claim:abstract.maintaining",
            "does_not_hold",
        ),
    ],
)
def test_one_changed_number_changes_its_verdict(
    check: Callable[[Published], list[Finding]], published: Published, id_: str, expected: str
) -> None:
    before = verdict(FOUND, id_)
    assert before != expected
    assert verdict(list(check(published)), id_) == expected


def test_two_published_are_kept_apart() -> None:
    assert Published() != Published()
    assert replace(Published(), claims=[]).claims == []
