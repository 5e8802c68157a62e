"""Settings and facts by hand-made records, the score, and the page of all claims."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report_records import data_record, provenance, runs, small_run, train_record

from meddef.claims import facts_bench, facts_measured, page, settings
from meddef.claims.ledger import Judged, sources
from meddef.claims.measured import Measured
from meddef.claims.rules import FAILS, HOLDS, OPEN, Outcome, Verdict
from meddef.claims.verdicts import (
    BY_CONSTRUCTION,
    DEVIATES,
    FOLLOWED,
    NOT_DECIDED,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    Row,
    rows,
    score,
    verdict,
)  # fmt: skip
from meddef.report.report import Report


def report(*more: dict[str, Any], folder: Path | None = None, **data: Any) -> Report:
    record = data_record("chest_xray") | data
    return Report("made", [record, *more], provenance(), folder)


def source(*more: dict[str, Any], **data: Any) -> Measured:
    made = report(*more, **data)
    return Measured(made, made.datasets[0])


def setting(which: str, made: Report, **given: Any) -> str | None:
    found = settings.SETTINGS[which](made, made.datasets[0], given)
    return found and found.verdict


def test_settings_are_read_from_the_records() -> None:
    """``train_record`` has 2 epochs of batches of 8, lr 3e-4, 3 PGD steps of 0.002 and one phase, warm-up."""
    made = report(train_record("chest_xray", "full", "adversarial"), *runs("full", "fgsm", [9], n=10))
    assert setting("training", made, learning_rate=0.0003, weight_decay=0.0001) == HOLDS
    assert setting("training", made, learning_rate=0.0001, weight_decay=0.0001) == FAILS
    assert setting("training_pgd", made, steps=3) == FAILS  # steps of another size
    assert setting("phases", made, number=1) == HOLDS
    assert setting("phase", made, name="warmup", epochs=2, eps=[0.01, 0.02], weight=[0.2, 0.2]) == HOLDS
    assert setting("phase", made, name="warmup", epochs=8, eps=[0.01, 0.02], weight=[0.2, 0.2]) == FAILS
    assert setting("phase", made, name="stabilization", weight=[0.5, 0.5]) == FAILS  # no such epoch
    assert setting("augmentation", made) == FAILS
    assert setting("training_attacks", made, attacks=["pgd"]) == HOLDS
    assert setting("image_size", made, size=32) == HOLDS
    assert setting("image_size", made, size=224) == FAILS
    assert setting("eps_grid", made, eps=[0.05]) == HOLDS
    assert setting("eps_grid", made, eps=[0.05, 0.1]) == FAILS
    assert setting("rates", made) is None  # no pruned model
    assert setting("unrecorded", made) is None
    assert setting("architecture", made) == FAILS  # 1,000 parameters
    other = report(train_record("chest_xray", "cbam", "adversarial"), *runs("cbam", "fgsm", [9], n=10))
    assert setting("architecture", other) is None  # the paper prints no size of it


def test_a_deviation_says_how() -> None:
    made = report(train_record("chest_xray", "full", "adversarial"))
    found = settings.SETTINGS["training"](made, made.datasets[0], {"epochs": 100, "batch_size": 8})
    assert found is not None
    assert found.words == "epochs 2; batch size 8"


def test_attack_settings_tell_pruned_models_from_others() -> None:
    forty, ten = ({"steps": steps, "step_size": 0.01} for steps in (40, 10))
    unpruned = runs("full", "pgd", [9], n=10, settings=forty)
    wanted = {"attacks": ["pgd"], "eps": 0.05, **forty}
    assert setting("attack", report(*unpruned), **wanted) == HOLDS
    pruned = runs("full", "pgd", [9], n=10, rate=0.3, settings=ten)
    found = settings.SETTINGS["attack"](made := report(*unpruned, *pruned), made.datasets[0], wanted)
    assert found is not None
    assert found.verdict == FAILS
    assert found.words == (
        "unpruned models: steps 40, step size 0.01; pruned models: steps 10, step size 0.01"
    )


def fact(name: str, made: Measured, **given: Any) -> str | None:
    found = facts_measured.FACTS[name](made, given)
    return found and found.verdict


def test_facts_of_the_data() -> None:
    counts = {split: {"NORMAL": n, "PNEUMONIA": n} for split, n in (("train", 8), ("val", 4), ("test", 4))}
    found = {
        "files_found": 32,
        "counts_before_removal": counts,
        "duplicates": {"exact": {"surplus_files": 3, "groups": 2, "groups_across": 1}},
        "patients": {"patients": 5, "in_several_splits": 2},
    }
    made = source(report=found, mean=0.4814, std=0.2361)
    on = {"dataset": "chest_xray"}
    assert fact("total", made, **on, total=32, classes=2) == HOLDS
    assert fact("total", made, **on, total=33, classes=2) == FAILS
    assert fact("split", made, **on, split="val", classes={"NORMAL": 4, "PNEUMONIA": 4}) == HOLDS
    assert fact("split", made, **on, split="val", classes={"NORMAL": 5, "PNEUMONIA": 3}) == FAILS
    assert fact("duplicates", made, **on, number=3) == HOLDS
    assert fact("duplicates", made, **on, number=24) == FAILS
    assert fact("stats", made, **on, mean=0.48230693, std=0.23) == OPEN  # not at the paper's size
    large = source(report=found, mean=0.4814, std=0.2361, image_size=224)
    assert fact("stats", large, **on, mean=0.48230693, std=0.22157896) == OPEN  # 0.2361 is 0.0145 off
    assert fact("stats", large, **on, mean=0.48230693, std=0.23) == HOLDS
    assert fact("total", made, dataset="roct", total=32, classes=2) is None  # of another dataset
    by_patient = source(report=found, split_policy="patient")
    assert fact("total", by_patient, **on, total=32, classes=2) is None  # not split as in the paper


def test_facts_of_trainings() -> None:
    trained = [
        train_record("chest_xray", variant, "adversarial", seed) | {"parameters": count}
        for variant, count in (("full", 21838530), ("no_afd_mfe", 16564418), ("no_afd_mfe_msf", 17606338))
        for seed in range(3)
    ]
    made = source(*trained)
    assert fact("parameters", made, variant="full", millions="21.84") == HOLDS
    assert fact("parameters", made, variant="full", millions="21.85") == FAILS
    assert fact("retained", made, millions="17.61") == FAILS  # MSF alone makes 16.56
    assert fact("stable_training", made) == HOLDS
    eased = {**trained[0], "history": [{**row, "ease": 0.8} for row in trained[0]["history"]]}
    assert fact("stable_training", source(*trained[1:], eased)) == FAILS
    assert fact("stable_training", source(*trained[1:])) == OPEN  # two trainings of the full model


def test_recall_of_two_classes_with_an_interval_each() -> None:
    """200 of 300 images are PNEUMONIA and the last ones are wrong; which class they are of is what counts."""
    clean = runs("full", "clean", [300, 300, 300], n=300, grid="test")
    wrong_normal = [
        record | {name: "".join("1" if i % 3 == 0 and i < 90 else a for i, a in enumerate(record[name]))
                  for name in ("before", "after")}
        for record in clean
    ]  # fmt: skip
    assert fact("recall", source(*wrong_normal), at_most=50) == HOLDS  # 70 of 100 against 200 of 200
    assert fact("recall", source(*wrong_normal), at_most=5) == FAILS  # 30 points are not slightly
    assert fact("recall", source(*wrong_normal, image_size=224), within=2) == FAILS
    assert fact("recall", source(*wrong_normal), within=2) == OPEN  # a printed pattern, of another size
    assert fact("recall", source(*clean), at_most=5) == OPEN
    assert fact("recall", source(*wrong_normal[:1]), at_most=50) == OPEN  # one training
    assert fact("recall", source(), at_most=5) is None


def test_overhead_is_the_time_that_was_measured_once_and_for_no_profile(tmp_path: Path) -> None:
    made = [
        {"kind": "compression", "dataset": "d", "prune_rate": rate, "dense_ms": ms, "sparse_ms": 80.0,
         "dense_bytes": 100, "sparse_bytes": size}
        for rate, ms, size in ((0.0, 10.0, 100), (0.3, 11.0, 80), (0.5, 7.0, 50))
    ]  # fmt: skip
    (tmp_path / "bench").mkdir()
    content = {"provenance": {}, "rows": made}
    (tmp_path / "bench" / "compression.json").write_text(json.dumps(content), encoding="utf-8")
    profiles = [report(folder=tmp_path), report(folder=tmp_path)]
    name, timed = facts_bench.pruned(profiles[0])
    assert name == "bench: d, one model, one CPU thread, one run"

    def overhead(rates: list[float], least: float) -> str | None:
        outcome = facts_bench.overhead(timed, {"rates": rates, "least": least})
        return outcome and outcome.verdict

    assert overhead([0.5], 20) == HOLDS  # 30 % less
    assert overhead([0.5], 40) == OPEN
    assert overhead([0.3, 0.5], 0) == OPEN  # slower at one, faster at the other
    assert overhead([0.3], 0) == FAILS  # no faster at any
    assert facts_bench.smaller(timed, {"rate": 0.3}) == Outcome(HOLDS, "0 MB at 30 % pruning, 0 MB unpruned")
    assert facts_bench.overhead({}, {"rates": [0.5], "least": 20}) is None
    (judged,) = row(rows(profiles), "V-C.overhead").judged
    assert (judged.profile, judged.images) == ("bench", name)
    assert row(rows(profiles), "V-C.overhead").measured == NOT_REPRODUCED


def full_run() -> Report:
    """The full model and ResNet18, three trainings each."""
    records: list[dict[str, Any]] = []
    for variant, right in (("full", 150), ("resnet18", 10)):
        training = "clean" if variant == "resnet18" else "adversarial"
        records.append(train_record("chest_xray", variant, training))
        records += runs(variant, "clean", [196, 197, 195], grid="test")
        for attack in ("fgsm", "pgd", "bim"):
            records += runs(variant, attack, [right, right + 2, right - 2])
    return report(*records)


def row(found: list[Row], name: str) -> Row:
    return next(each for each in found if each.claim.id == name)


def test_every_claim_has_a_row_and_stand_ins_judge_nothing() -> None:
    assert sources([Report("smoke", small_run("phantom_xray"), provenance())]) == []
    found = rows([full_run()])
    counts = score(found)
    once = [r for r in found if r.claim.same_as is None]
    assert counts.total + counts.settings.total() + counts.others.total() == len(once)
    assert counts.repeats == len(found) - len(once)
    assert row(found, "fig6.catastrophic").measured == REPRODUCED  # 5 % against two thirds
    assert row(found, "V-C.roct-baseline").measured == NOT_TESTED
    assert row(found, "V-C.roct-baseline").why == "a run on ROCT"
    assert row(found, "V-H.calibrated").why.startswith("the probe “calibration” on chest X-rays")
    assert row(found, "IV-B.batches").measured == DEVIATES
    assert row(found, "IV-B.batches").how == "Batch size 8; epochs 2 (32 px, 1 seed)"
    assert row(found, "IV-A.parameters").measured == BY_CONSTRUCTION
    assert counts.others[BY_CONSTRUCTION] == 4  # with three splits; w/o AFD+MFE was not trained
    assert row(found, "V-H.impressive").measured == REPRODUCED  # on chest X-rays
    assert row(found, "V-H.exceptional").measured == NOT_DECIDED  # which is not both tasks
    assert row(found, "V-H.exceptional").why == "ROCT not run"
    assert row(found, "IV-B.pgd-focused").measured == FOLLOWED
    assert row(found, "fig16.progressive").measured == "about a figure"
    again = row(found, "V-E.catastrophic")
    assert again.measured == row(found, "fig6.catastrophic").measured


def test_the_page_shows_each_claim_once_with_both_verdicts() -> None:
    found = rows([full_run()])
    html = page.listing(found)
    assert html.count("<tr id=") == len(found)
    start = html.index('<tr id="claim-fig6.catastrophic"')
    shown = html[start : html.index("</tr>", start)]
    assert shown.index("reproduced") < shown.index("highlighting catastrophic vulnerability")
    assert "does not hold" in shown
    assert "32 px, 1 seed: reproduced" in shown
    assert "worst case ε 0.05: ResNet18 5.0 %" in shown
    told = page.in_short(score(found))
    assert told.startswith(f"Of {score(found).total} testable claims: ")


def test_nothing_here_needs_torch() -> None:
    code = (
        "import sys; from meddef.claims import verdicts; verdicts.rows([]); "
        "import meddef.claims.page; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("first", ["meddef.audit", "meddef.claims.ledger", "meddef.report.tables"])
def test_either_package_can_be_imported_first(first: str) -> None:
    code = f"import {first}; import meddef.audit, meddef.claims.verdicts"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_and_others_are_counted_in_plain_words() -> None:
    told = page.in_short(score(rows([full_run()])))
    assert re.search(r"Settings: .*\d+ followed, .*\d+ deviate|Settings: .*\d+ deviate, .*\d+ followed", told)
    assert "about the arrangement of the text" in told
    assert "4 by construction" in told


def test_two_parts_of_a_claim_by_profiles_and_by_a_benchmark() -> None:
    """Reproduced if both are; not so where one is not so; else open."""

    def both(first: Verdict, bench: Verdict) -> str:
        return verdict([Judged("", "p", "", Outcome(first, "")), Judged("", "bench", "", Outcome(bench, ""))])

    assert both(HOLDS, HOLDS) == REPRODUCED
    assert both(HOLDS, FAILS) == NOT_REPRODUCED
    assert both(OPEN, FAILS) == NOT_REPRODUCED
    assert both(OPEN, HOLDS) == NOT_DECIDED
    assert both(FAILS, OPEN) == NOT_REPRODUCED
    assert both(HOLDS, OPEN) == NOT_DECIDED
