"""What is left at the headline's budgets: one set of images for all attacks, attacks like with like, words by hand."""

import pytest
from report_records import attack_record, data_record, provenance, train_record

from meddef.book import frontpage
from meddef.report import headline
from meddef.report.display import budget
from meddef.report.report import Report
from meddef.report.worst_case import joint

LABELS = "0011111111"


def made(**after: str) -> list[dict]:
    """The full model under attacks at ε = 0.05 on as many images as each string of ``after`` has."""
    records = [data_record("chest_xray"), train_record("chest_xray", "full", "adversarial")]
    for attack, said in after.items():
        labels = LABELS[: len(said)]
        eps, grid = (None, "jsma") if attack == "jsma" else (0.05, "epsilon")
        records.append(attack_record("chest_xray", "full", attack, labels, labels, said, eps=eps, grid=grid))
    return records


def told(records: list[dict], eps: float = 0.05) -> str:
    report = Report("tiny", records, provenance())
    return headline.strongest(report, report.datasets[0], eps)


def test_a_minimum_over_other_images_never_stands_as_the_strongest_attack() -> None:
    """JSMA leaves 1 of 4 images; FGSM and PGD each 8 of 10, together 6."""
    records = made(fgsm="1111111111", pgd="0011111100", jsma="1101")
    assert told(records) == (
        "Chest X-Ray, ε = 0.05, worst case over FGSM and PGD, n = 10: MedDef (Full DAAM) keeps 60.0 % [31.3, 83.2], "
        "balanced 37.5 %; the constant classifier PNEUMONIA 80.0 %, balanced 50.0 %."
    )


def test_all_attacks_are_judged_on_the_images_that_all_saw() -> None:
    """PGD alone leaves 4 of 10; of the first five, which the ensemble saw, PGD leaves 4 and both together 3."""
    found = told(made(pgd="0011000000", ensemble="00010"))
    assert ", worst case over PGD and Ensemble, n = 5: MedDef (Full DAAM) keeps 60.0 %" in found
    assert "the constant classifier PNEUMONIA 60.0 %" in found


def test_the_joint_worst_case_needs_the_images_that_it_is_asked_for() -> None:
    few, many = (
        attack_record("chest_xray", "full", "pgd", LABELS[:n], LABELS[:n], LABELS[:n]) for n in (4, 10)
    )
    assert joint([few, many])["n"] == 4
    assert joint([many], 6)["labels"] == LABELS[:6]
    with pytest.raises(ValueError, match="holds 4 images, not 6"):
        joint([few, many], 6)
    with pytest.raises(ValueError, match="no attack"):
        joint([])


def test_budgets_are_those_that_were_attacked() -> None:
    records = made(pgd="0" * 10)
    report = Report("tiny", records, provenance())
    assert headline.budgets(report) == [0.05]
    assert told(records, headline.LEFT) == ""
    small = attack_record(
        "chest_xray", "full", "pgd", LABELS, LABELS, LABELS, eps=0.031373, grid="small_epsilon"
    )
    both = Report("tiny", [*records, small], provenance())
    assert headline.budgets(both) == [0.031373, 0.05]
    assert "ε = 8/255, PGD, n = 10: MedDef (Full DAAM) keeps 100.0 %" in told(both.records, headline.LEFT)


@pytest.mark.parametrize(
    ("eps", "said"),
    [
        (0.031373, "8/255"),
        (0.003922, "1/255"),
        (8 / 255, "8/255"),
        (0.05, "0.05"),
        (0.004, "0.004"),
        (0.1, "0.1"),
    ],
)
def test_grey_levels_are_named(eps: float, said: str) -> None:
    assert budget(eps) == said


def test_the_front_page_compares_each_attack_with_its_own_printed_value() -> None:
    """By eye from Table 2, ε = 0.05, MedDef (Full DAAM): PGD 98.83, BIM 72.89."""
    report = Report("tiny", made(pgd="0011100000", bim="0011000000"), provenance())
    said = frontpage.what_is_left(report)
    assert (
        "keeps 40.0 % [16.8, 68.7], balanced 62.5 % at ε = 0.05 (worst case over PGD and BIM, n = 10" in said
    )
    assert (
        "{term}`PGD` 98.83 % printed, 50.0 % [23.7, 76.3] measured; {term}`BIM` 72.89 % printed, 40.0 %"
        in said
    )
