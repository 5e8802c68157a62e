"""The controls of the full model's size: differences by hand, and words where they were not trained."""

import pytest
from report_records import attack_record, data_record, provenance, small_run, train_record

from meddef.report import attention_or_size
from meddef.report.report import Report

LABELS = "0" * 40
RIGHT = {"resnet18": 20, "plain_capacity": 24, "attention_only": 22, "full": 26}  # of 40, under PGD


def trained(seeds: int) -> Report:
    """Every seed leaves one image more right than the one before."""
    records = [data_record("chest_xray")]
    for variant, count in RIGHT.items():
        for seed in range(seeds):
            more = {"training": "adversarial", "seed": seed}
            records.append(train_record("chest_xray", variant, "adversarial", seed))
            clean = ("chest_xray", variant, "clean", LABELS, LABELS, LABELS)
            records += [attack_record(*clean, eps=0.0, grid=grid, **more) for grid in ("test", "epsilon")]
            after = "0" * (count + seed) + "1" * (40 - count - seed)
            records.append(
                attack_record("chest_xray", variant, "pgd", LABELS, LABELS, after, eps=0.05, **more)
            )
    return Report("made", records, provenance())


def test_each_question_is_a_difference_of_two_models() -> None:
    """One image of 40 is 2.5 points: four more are 10, two are 5."""
    row = attention_or_size.table(trained(3), 0.05).frame.query("condition == 'PGD, ε = 0.05'").iloc[0]
    told = {
        heading.split(":")[0]: str(cell).splitlines()[0] for heading, cell in row.items() if ":" in heading
    }
    assert told == {
        "size alone": "+10.0",
        "effect beyond size": "+5.0",
        "self-attention alone": "+5.0",
        "effect beyond self-attention": "+10.0",
    }
    assert (row["n"], row["seeds"]) == ("40", "3")


def test_one_training_gives_no_verdict_on_size() -> None:
    assert "size alone +10.0 points" in attention_or_size.verdict(trained(1), 0.05)
    assert "these two trainings" in attention_or_size.verdict(trained(1), 0.05)


def test_a_profile_without_the_controls_says_so() -> None:
    report = Report("made", small_run("chest_xray"), provenance())
    assert attention_or_size.verdict(report, 0.05) == attention_or_size.NONE
    assert attention_or_size.table(report, 0.05).frame.empty
    assert not attention_or_size.has_all(report, report.datasets[0])


@pytest.mark.parametrize("missing", RIGHT)
def test_every_model_is_needed(missing: str) -> None:
    report = trained(1)
    records = [record for record in report.records if record.get("variant") != missing]
    assert attention_or_size.verdict(Report("made", records, provenance()), 0.05) == attention_or_size.NONE
