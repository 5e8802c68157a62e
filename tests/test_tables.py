"""Tables and sentences of the report, against counts by hand and values copied by hand from the paper."""

import pandas as pd
import pytest
from report_records import (
    attack_record,
    data_record,
    provenance,
    saliency_record,
    small_run,
    train_record,
)

from meddef.claims import captions
from meddef.claims.model import Bound
from meddef.report import ablation, architecture, confusion, findings, saliency, tables, tables_setup
from meddef.report.display import DASH, NOTHING, Table
from meddef.report.labels import model_label
from meddef.report.report import Report


@pytest.fixture(scope="module")
def report() -> Report:
    return Report("tiny", small_run("phantom_oct") + small_run("phantom_xray"), provenance())


def cell(table: Table, column: str, **where: str) -> str:
    rows = table.frame
    for name, value in where.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, rows
    return str(rows[column].iloc[0])


def test_epsilon_table_sets_the_printed_value_under_the_measured_one(report: Report) -> None:
    where = {"dataset": "OCT phantoms (for ROCT)", "ε": "0.05", "model": "Full DAAM"}
    # 3 of 8; the interval by hand as in test_figures
    assert cell(tables.epsilon(report), "PGD", **where) == "37.5\n[13.7, 69.4]\nbalanced 37.5\npaper 99.97"
    assert cell(tables.epsilon(report), "no attack", **where).endswith("paper 98.97")
    assert cell(tables.epsilon(report), "JSMA", **where).startswith("50.0\n")  # from the grid of its own


def test_compression_table_has_published_twins_at_the_papers_epsilon_only(report: Report) -> None:
    where = {"dataset": "X-ray phantoms (for Chest X-Ray)", "pruned": "0.3", "model": "Full DAAM"}
    assert cell(tables.compression(report, 0.05), "BIM", **where).endswith("\npaper 96.34*")
    unpruned = where | {"pruned": "0"}
    assert "paper" not in cell(tables.compression(report, 0.05), "BIM", **unpruned)
    assert tables.compression(report, 0.2).frame.empty


def test_n_is_told_where_it_is_not_that_of_the_row() -> None:
    records = small_run("phantom_oct", ("full",))
    records = [r for r in records if r.get("attack") != "jsma"]
    records.append(
        attack_record("phantom_oct", "full", "jsma", "0123", "0123", "0000", eps=None, grid="jsma")
    )
    table = tables.epsilon(Report("tiny", records, provenance()))
    assert cell(table, "JSMA", ε="0.05", model="Full DAAM").endswith("\nn = 4")
    assert "n =" not in cell(table, "PGD", ε="0.05", model="Full DAAM")


def test_over_seeds_the_mean_and_the_spread_are_told() -> None:
    records = [data_record("phantom_oct")]
    for seed, after in ((0, "0000"), (1, "0123")):  # 1 of 4 and 4 of 4: mean 62.5, standard deviation 53.0
        records.append(train_record("phantom_oct", "full", "adversarial", seed))
        records.append(attack_record("phantom_oct", "full", "pgd", "0123", "0123", after, seed=seed))
    table = tables.epsilon(Report("tiny", records, provenance()))
    assert cell(table, "PGD", ε="0.05", model="Full DAAM").startswith("62.5 ± 53.0\n")


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ({"low": 80, "high": None, "strict": True}, "1 of 4"),
        ({"low": 80, "high": None, "strict": False}, "2 of 4"),
        ({"low": None, "high": 67, "strict": True}, "2 of 4"),
        ({"low": 60, "high": 80, "strict": False}, "2 of 4"),
        ({"low": None, "high": None, "strict": False}, "–"),
    ],
)
def test_within_counts_strict_and_other_bounds(claim: dict, told: str) -> None:
    bound = Bound(kind="bound", variants="full", **claim)
    assert captions.within(bound, pd.Series([10.0, 66.0, 80.0, 100.0])) == told


def test_sentence_on_pgd_above_clean_counts_the_papers_rows_right() -> None:
    """By hand from Table 2: PGD lies above clean in every row but w/o AFD+MFE at 0.01."""
    records = [data_record("phantom_xray")]
    for variant in ("resnet18", "no_afd_mfe_msf", "no_afd_mfe", "no_afd", "full"):
        training = "clean" if variant == "resnet18" else "adversarial"
        model = ("phantom_xray", variant)
        for eps in (0.01, 0.05, 0.1):
            records.append(attack_record(*model, "pgd", "01", "01", "11", eps=eps, training=training))
        records.append(attack_record(*model, "clean", "01", "01", "01", eps=0.0, training=training))
    text = findings.epsilon(Report("tiny", records, provenance()))
    assert "in 14 of 15 published rows and in 0 of 15 measured ones" in text


def test_agreement_counts_published_values_inside_the_interval() -> None:
    # 8 of 8 right: Wilson [67.6, 100] holds the 99.97 of Table 1
    labels = "01230123"
    records = [
        data_record("phantom_oct"),
        attack_record("phantom_oct", "full", "pgd", labels, labels, labels),
        attack_record("phantom_oct", "full", "fgsm", labels, labels, "10321032"),  # 0 of 8 against 88.45
    ]
    text = findings.epsilon(Report("tiny", records, provenance()))
    assert "of 2 measured values with a published counterpart, 1 have it within their 95 % interval" in text
    assert "the largest 88.5" in text


def test_what_stays_right_is_compared_with_the_largest_class() -> None:
    def said(**after: str) -> str:
        data = [record for record in small_run("phantom_oct") if record["kind"] == "data"]
        labels = "00000123"
        attacks = [attack_record("phantom_oct", v, "pgd", labels, labels, a) for v, a in after.items()]
        report = Report("tiny", data + attacks, provenance())
        return " ".join(findings._of_one_class(report, report.datasets[0], 0.05))

    told = said(no_afd="00000000", full="00111123")  # of 5 and 5 right, 5 and 2
    assert "by model, 40 to 100 % show CNV, against 62 % of all images" in told
    assert said(full="11111230") == ""


def test_a_missing_dataset_is_told() -> None:
    report = Report("tiny", small_run("chest_xray"), provenance())
    assert "Nothing was measured here on ROCT." in findings.scope(report)
    assert "Stand-ins" not in findings.scope(report)
    assert Report("both", small_run("phantom_oct") + small_run("chest_xray"), provenance()).missing() == ""


def test_scope_says_where_it_was_computed(report: Report) -> None:
    text = findings.scope(report)
    for part in (
        "**Measured on** OCT phantoms",
        "seed 0",
        "2 epochs; computed on Some CPU, 2 cores (cpu) in 90 s; commit 0123456789ab",
        "OCT phantoms (for ROCT), 32 px, 8 test images, of which attacks saw 8; X-ray phantoms",
        "0123456789ab",
        "Stand-ins",
    ):
        assert part in text


def test_quotes_come_from_the_ledger_with_their_place() -> None:
    text = findings.quotes("abstract.up-to", "fig10.pgd")
    assert "“up to 97.52% adversarial accuracy” (abstract)" in text
    assert "(Fig.\u00a010)" in text
    with pytest.raises(KeyError):
        findings.quotes("no.such.claim")


def test_published_steps_are_those_of_the_tables() -> None:
    frame = ablation.published_steps().frame
    pgd = frame[frame["number"] == "ROCT, 30 % pruned, PGD ASR"].iloc[0]
    assert (pgd["without"][:4], pgd["with"][:4]) == ("6.54", "1.25")  # by hand from Table 3


def test_confusion_counts_every_image_once() -> None:
    record = attack_record("phantom_oct", "full", "pgd", "0011233", "0111203", "0011111")
    assert confusion.matrix(record, "before").tolist() == [
        [1, 1, 0, 0],
        [0, 2, 0, 0],
        [0, 0, 1, 0],
        [1, 0, 0, 1],
    ]
    assert confusion.matrix(record, "after").sum() == 7


def test_sensitivity_and_specificity_by_hand() -> None:
    """Three NORMAL, one taken for PNEUMONIA; two PNEUMONIA, both right."""
    clean = attack_record("phantom_xray", "full", "clean", "00011", "00111", "00111", eps=0.0, grid="test")
    table = confusion.per_class(Report("tiny", [data_record("phantom_xray"), clean], provenance()))
    assert cell(table, "sensitivity", **{"class": "NORMAL"}).startswith("66.7\n")
    assert cell(table, "specificity", **{"class": "NORMAL"}).startswith("100.0\n")
    assert cell(table, "specificity", **{"class": "PNEUMONIA"}).startswith("66.7\n")
    assert cell(table, "n of the class", **{"class": "PNEUMONIA"}) == "2"


def test_named_entries_of_the_paper_stand_beside_ours(report: Report) -> None:
    table = confusion.published_entries(report)
    where = {"dataset": "X-ray phantoms (for Chest X-Ray)", "true class": "PNEUMONIA", "predicted": "NORMAL"}
    assert cell(table, "the paper", **where) == "12 of 641\n1.9 %"
    assert cell(table, "here", **where) == "1 of 4\n25.0 %"


def test_counts_stand_beside_the_papers() -> None:
    record = data_record("chest_xray", {"train": 40, "val": 8, "test": 8})
    table = tables_setup.counts(Report("tiny", [record], provenance()))
    assert cell(table, "the paper", **{"split": "train", "class": "NORMAL"}) == "1,108"
    assert cell(table, "here", **{"split": "train", "class": "NORMAL"}) == "20"


def test_training_settings_stand_beside_the_papers(report: Report) -> None:
    table = tables_setup.training_settings(report)
    assert cell(table, "the paper", **{"": "PGD steps"}) == "40"
    assert cell(table, "here", **{"": "PGD steps"}) == "3"
    assert cell(table, "the paper", **{"": "augmentation"}) == "various, none named"
    assert cell(table, "here", **{"": "augmentation"}) == "none"


def test_the_settings_table_names_the_augmentation() -> None:
    def told(**settings: object) -> str:
        record = train_record("phantom_oct", "full", "adversarial")
        record["settings"] |= settings
        report = Report("tiny", [data_record("phantom_oct"), record], provenance())
        return cell(tables_setup.training_settings(report), "here", **{"": "augmentation"})

    assert told(augmentation=[]) == "none"
    assert told(augmentation=["horizontal_flip", "translate"]) == "horizontal flip, translate"
    assert (told(horizontal_flip=True), told(horizontal_flip=False)) == ("horizontal flip", "none")


def test_circumstances_name_every_value_that_occurs() -> None:
    cells = [*provenance(), provenance()[0] | {"commit": "ffff00001111", "dirty": True, "seconds": 7110.0}]
    told = tables_setup.circumstances(cells)
    assert told["git commit"] == "0123456789ab\nffff00001111, with local changes"
    assert told["computing time"] == "2.0 h"


def test_saliency_without_heat_does_not_spoil_the_mean() -> None:
    record = saliency_record("phantom_oct", "full", "adversarial")
    record["images"][0]["energy_in_lesion"] = float("nan")
    report = Report("tiny", [data_record("phantom_oct"), record], provenance())
    assert cell(saliency.places(report), "saliency in the lesion (%)") == "30.0"


def test_model_label_names_a_training_that_is_not_the_papers() -> None:
    assert model_label("resnet18", "clean") == "ResNet18"
    assert model_label("resnet18", "adversarial") == "ResNet18, adversarial training"
    assert model_label("full", "clean") == "MedDef (Full DAAM), clean training"


def test_table_escapes_groups_and_says_when_it_is_empty() -> None:
    frame = pd.DataFrame({"data": ["a", "a"], "model": ["<m>", "n"], "x": ["1\n[0, 2]\npaper 3", None]})
    html = Table(frame, "A & B", header=2)._repr_html_()
    assert html.count('<tr class="group">') == 1
    assert "&lt;m&gt;" in html
    assert "A &amp; B" in html
    assert '<br><small class="paper">paper 3</small>' in html
    assert "<td>–</td>" in html
    assert NOTHING in repr(Table(pd.DataFrame(), "Empty"))


def test_all_ten_parameter_counts_are_met() -> None:
    assert architecture.conclusion().startswith("10 of 10 ")
    blocks = architecture.parameter_blocks(2)
    assert blocks.loc["full"].drop("published").sum() == 21_838_530
    assert blocks.loc["no_afd_mfe", "AFD"] == 0


def test_shapes_follow_the_image_through_the_model() -> None:
    frame = architecture.shapes(64, 4).frame.set_index("block")
    assert tuple(frame.loc["backbone"]) == ("3 × 64 × 64", "512 × 2 × 2")
    assert tuple(frame.loc["fusion Φ"]) == ("1536 × 2 × 2", "512 × 2 × 2")
    assert frame.loc["head", "out"] == "4"


def test_the_best_of_a_group_is_marked_measured_and_printed() -> None:
    records = small_run("phantom_oct")
    (pgd,) = (
        r
        for r in records
        if (r.get("grid"), r.get("attack"), r.get("eps"), r.get("variant"))
        == ("epsilon", "pgd", 0.05, "no_afd")
    )
    pgd.update(correct_after=4, flipped=3)  # the others have 3 of 8
    table = tables.epsilon(Report("tiny", records, provenance()))
    pgd_column = {row["model"]: row["PGD"] for row in table.frame.to_dict("records") if row["ε"] == "0.05"}
    assert [model for model, text in pgd_column.items() if text.split("\n")[0].endswith("*")] == ["w/o AFD"]
    # Table 1, ROCT, ε 0.05, PGD: 100.00 for ResNet18 and 99.97, which the paper prints bold, for the full model
    assert [model for model, text in pgd_column.items() if text.endswith("*")] == ["ResNet18"]
    assert "<b>50.0*</b>" in table._repr_html_()


def test_no_value_of_fewer_seeds_is_marked_as_the_best() -> None:
    """Two seeds of both models under PGD, one of them under the ensemble: PGD has a best, the ensemble none."""
    records = [data_record("phantom_oct")]
    for variant, pgd, ensemble in (("full", "0123", "0120"), ("no_afd", "0120", "0100")):
        for seed in (0, 1):
            records.append(train_record("phantom_oct", variant, "adversarial", seed))
            records.append(attack_record("phantom_oct", variant, "pgd", "0123", "0123", pgd, seed=seed))
        records.append(attack_record("phantom_oct", variant, "ensemble", "0123", "0123", ensemble))
    starred = {}
    for several in (records, [r for r in records if r.get("seed", 0) == 0]):
        row = tables.epsilon(Report("tiny", several, provenance())).frame.set_index("model").loc["Full DAAM"]
        starred[len(starred)] = [
            row[name].split("\n")[0].endswith("*") for name in ("PGD", "Ensemble (worst case)")
        ]
    assert starred == {0: [True, False], 1: [True, True]}


def test_a_column_without_any_value_is_left_out() -> None:
    rows = [
        {"model": "Full DAAM", "FGSM": DASH, "PGD": f"{DASH}\npaper 1.00", "BIM": "1.0"},
        {"model": "constant classifier\nNORMAL", "FGSM": "50.0", "PGD": DASH, "BIM": "50.0"},
    ]
    kept = tables._measured_columns(pd.DataFrame(rows), ["fgsm", "pgd", "bim"])
    assert list(kept) == ["model", "PGD", "BIM"]


def test_blank_headings_are_plain_cells_and_units_stay_with_their_number() -> None:
    html = Table(pd.DataFrame({"": ["FGSM, ε = 0.05"], "time": ["68 min"]}), "T")._repr_html_()
    assert '<tr><td class="left"></td><th scope="col">time</th></tr>' in html
    assert "FGSM, ε\u00a0=\u00a00.05</th><td>68\u00a0min</td>" in html


@pytest.mark.parametrize(
    ("steps", "step", "short"), [(20, 0.003, False), (19, 0.003, True), (10, 0.003, True)]
)
def test_a_training_attack_reaches_when_it_can_cross_the_ball(steps: int, step: float, short: bool) -> None:
    """From a random start the other edge is 2 ε away, as in the definitions."""
    last = {"epsilon": 0.03, "step_size": step}
    record = {
        "kind": "train",
        "dataset": "phantom_oct",
        "history": [last],
        "settings": {"adversarial": {"steps": steps}},
    }
    said = tables_setup.short_reach(Report("tiny", [record], []))
    assert bool(said) is short
    if short:
        assert f"PGD of {steps} steps of 0.003" in said
        assert "0.06 wide" in said
