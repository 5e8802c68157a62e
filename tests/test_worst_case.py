"""The worst case of each image over the attacks at one epsilon, against counts by hand."""

import pytest
from report_records import attack_record, data_record, provenance

from meddef.report import confusion, findings, headline, tables
from meddef.report.labels import attack_name, ordered_attacks
from meddef.report.report import Report
from meddef.report.worst_case import with_worst_case

LABELS, BEFORE = "01230", "01231"
AFTER = {
    # the last image is wrong before; BIM repairs it, the others do not
    "fgsm": "11231",
    "pgd": "02231",
    "bim": "01230",
    "ensemble": "01201",
    "jsma": "33333",
}


def records(variant: str = "full", **changes: str) -> list[dict]:
    made = [attack_record("phantom_oct", variant, "clean", LABELS, BEFORE, BEFORE, eps=0.0)]
    for attack, after in (AFTER | changes).items():
        where = {"eps": None, "grid": "jsma"} if attack == "jsma" else {"eps": 0.05}
        made.append(attack_record("phantom_oct", variant, attack, LABELS, BEFORE, after, **where))
    return made


def worst(found: list[dict]) -> list[dict]:
    return [record for record in found if record["attack"] == "ensemble"]


def test_an_image_is_right_only_if_no_attack_with_its_epsilon_fools_it() -> None:
    """Image 0 falls to FGSM, 1 to PGD, 3 to the ensemble; 4 was wrong before; JSMA has no epsilon."""
    (record,) = worst(with_worst_case(records()))
    assert record["after"] == "12201"
    assert (record["correct_before"], record["correct_after"], record["flipped"]) == (4, 1, 3)
    others = [r for r in with_worst_case(records()) if r["attack"] != "ensemble"]
    assert others == [r for r in records() if r["attack"] != "ensemble"]


def test_models_epsilons_and_prune_rates_are_kept_apart() -> None:
    alone = attack_record("phantom_oct", "full", "ensemble", LABELS, BEFORE, LABELS, eps=0.1)
    pruned = attack_record("phantom_oct", "full", "ensemble", LABELS, BEFORE, LABELS, rate=0.5)
    other = attack_record("phantom_oct", "no_afd", "ensemble", LABELS, BEFORE, LABELS)
    found = worst(with_worst_case([*records(), alone, pruned, other]))
    assert [record["after"] for record in found[1:]] == [LABELS] * 3


def test_attacks_on_more_images_count_as_far_as_the_ensemble_goes() -> None:
    made = [r for r in records() if r["attack"] != "pgd"]
    longer = attack_record("phantom_oct", "full", "pgd", f"{LABELS}22", f"{BEFORE}22", "0223100")
    (record,) = worst(with_worst_case([*made, longer]))
    assert (record["n"], record["after"]) == (5, "12201")


def test_other_images_are_refused() -> None:
    made = [r for r in records() if r["attack"] != "pgd"]
    made.append(attack_record("phantom_oct", "full", "pgd", "32100", "32100", "32100"))
    with pytest.raises(ValueError, match="different images"):
        with_worst_case(made)


def test_tables_and_sentences_show_it_without_a_published_value() -> None:
    report = Report("tiny", [data_record("phantom_oct"), *records()], provenance())
    table = tables.epsilon(report)
    row, _ = table.frame.to_dict("records")  # below it the constant classifier
    assert list(row)[-6:] == ["no attack", "FGSM", "PGD", "BIM", "JSMA", "Ensemble (worst case)"]
    assert row["Ensemble (worst case)"].startswith("20.0\n")
    assert "paper" not in row["Ensemble (worst case)"]
    assert "paper" in row["PGD"]
    assert "the paper has no such column" in table.caption
    assert "the paper has no such column" in tables.front(report, 0.05).caption
    # FGSM and PGD leave 3 of 5, the worst case 1
    assert "in 1 of 1 rows, by at most 40.0 points" in findings.epsilon(report)
    told = headline.strongest(report, report.datasets[0], 0.05)
    assert "ε = 0.05, worst case over FGSM, PGD, BIM and Ensemble, n = 5: " in told
    assert "MedDef (Full DAAM) keeps 20.0 % [3.6, 62.4], balanced 25.0 %" in told
    (matrices,) = confusion.matrices(report, report.datasets[0], 0.05).values()
    assert matrices["Ensemble (worst case), n = 5"].trace() == 1


def test_nothing_is_said_where_the_ensemble_was_not_run() -> None:
    made = [r for r in records() if r["attack"] != "ensemble"]
    report = Report("tiny", [data_record("phantom_oct"), *made], provenance())
    assert "Ensemble" not in repr(tables.epsilon(report)) + findings.epsilon(report)


def test_the_ensemble_stands_behind_the_papers_attacks() -> None:
    names = ordered_attacks(["apgd", "ensemble", "jsma", "clean"])
    assert [attack_name(name) for name in names] == ["no attack", "JSMA", "Ensemble (worst case)", "APGD"]
