"""What this project's runs show beside the paper's numbers: pairs of BIM and PGD."""

import json

import pytest

from meddef.audit import findings
from meddef.printed import bim_vs_pgd, measured


def pair_record(attack: str, correct_after: int, **more: object) -> dict:
    """An attack record with what `meddef.printed.measured` reads."""
    settings = {"steps": 40, "step_size": 0.01} | more.pop("settings", {})  # type: ignore[operator]
    cell = {
        "dataset": "d",
        "variant": "full",
        "training": "clean",
        "seed": 0,
        "profile": "p",
        "grid": "epsilon",
    }
    return {
        **cell, "data_fingerprint": "f", "prune_rate": 0.0, "prune_scope": "global", "attack": attack, "eps": 0.05,
        "n": 200,
        "correct_after": correct_after, "settings": settings, **more,
    }  # fmt: skip


def test_nothing_and_everything_have_a_margin_too() -> None:
    """By hand for n = 98: one more of each makes 1 and 99 of 100; 1.96 times the root of (1 · 99 + 99 · 1) / 100."""
    assert bim_vs_pgd.margin(0, 100, 98) == pytest.approx(1.959964 * 1.98**0.5)


def test_the_largest_gap_between_bim_and_pgd_is_counted_from_records() -> None:
    few = {"steps": 5}
    records = [
        pair_record("bim", 90), pair_record("pgd", 87),  # 3 of 200 are 1.5 points
        pair_record("bim", 90, eps=0.1), pair_record("pgd", 90, eps=0.1),
        pair_record("bim", 90, seed=1), pair_record("pgd", 60, seed=1, settings=few),  # settings differ: no pair
        pair_record("bim", 80, seed=2, settings=few), pair_record("pgd", 60, seed=2, settings=few),  # 10 points
        pair_record("bim", 90, profile="q"), pair_record("pgd", 89, profile="q"),  # 0.5 points; another pair
        pair_record("bim", 8, n=16, seed=3), pair_record("pgd", 0, n=16, seed=3),  # too few images
        pair_record("fgsm", 0),
    ]  # fmt: skip
    told = measured.largest_gap(records, {"steps": 40, "step_size": 0.01})
    assert told == (
        "In this project's runs with the same steps the largest gap is 1.50 points in 3 pairs (ε = 0.05, 40 steps of "
        "0.01, n = 200). Over all its runs the largest gap is 10.00 points in 4 pairs (ε = 0.05, 5 steps of 0.01, "
        "n = 200)."
    )
    assert measured.largest_gap([], {"steps": 40, "step_size": 0.01}) == ""


def test_pairs_of_the_published_records_are_all_counted(pytestconfig: pytest.Config) -> None:
    """Counted on its own: attacks on the same images with the same settings, of which both are there."""
    results = pytestconfig.rootpath / "results"
    count = 0
    for path in results.glob("*/records.jsonl"):
        found: dict[str, set[str]] = {}
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            if record["kind"] == "attack" and record["attack"] in ("bim", "pgd") and record["n"] >= 100:
                left_out = (
                    "key",
                    "attack",
                    "after",
                    "before",
                    "correct_after",
                    "correct_before",
                    "flipped",
                    "linf",
                    "l0",
                )
                same = {name: value for name, value in record.items() if name not in (*left_out, "warnings")}
                found.setdefault(json.dumps(same, sort_keys=True), set()).add(record["attack"])
        count += sum(len(attacks) == 2 for attacks in found.values())
    assert count > 400
    assert len(measured.pairs(measured.published_records(results))) == count


def test_what_the_runs_show_is_told_but_does_not_judge(pytestconfig: pytest.Config) -> None:
    plain = {f.id: f for f in findings()}
    told = {f.id: f for f in findings(results=pytestconfig.rootpath / "results")}
    assert {i: f.verdict for i, f in plain.items()} == {i: f.verdict for i, f in told.items()}
    changed = {i for i, f in plain.items() if f.detail != told[i].detail}
    assert changed == {i for i in plain if i.startswith("bim_and_pgd:")}
    assert "runs with the same steps the largest gap is" in told["bim_and_pgd:table1:0.05:full"].detail
