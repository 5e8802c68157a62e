"""What "clear" is worth where nothing differs, and what a few trainings can show: by hand, by draws, by the records."""

import math
from pathlib import Path

import numpy as np
import pytest
from report_records import attack_record, data_record, provenance
from scipy.stats import binomtest, nct, t, ttest_ind

from meddef.book.definitions_page import NONE, definitions_page
from meddef.report import null, power
from meddef.report.report import Report
from meddef.statistics import FLOOR, MARGIN_ATTACKED, MARGIN_CLEAN, holm

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ("no_afd_mfe_msf", "no_afd_mfe", "no_afd", "full")
LABELS = "0" * 60


def trained(seeds: int = 3, spread: float = 0.1) -> Report:
    """Four models that differ in nothing: trainings of one chance, which varies by ``spread`` (standard deviation)."""
    random = np.random.default_rng(2)
    records = [data_record("chest_xray")]
    for variant in VARIANTS:
        for seed in range(seeds):
            for eps in (0.01, 0.05):
                chance = 0.6 + random.normal(0, spread)
                after = "".join("10"[right] for right in (random.random(60) < chance).astype(int))
                records.append(
                    attack_record("chest_xray", variant, "pgd", LABELS, LABELS, after, eps=eps, seed=seed)
                )
    return Report("made", records, provenance())


@pytest.fixture(scope="module")
def report() -> Report:
    return trained()


def test_every_seed_of_a_model_is_set_against_every_other(report: Report) -> None:
    found = null.answers(report, report.datasets[0])
    assert list(found) == [("pgd", 0.01), ("pgd", 0.05)]
    pairs = null.seed_pairs(found["pgd", 0.05])
    assert len(pairs) == len(VARIANTS) * 3
    assert all(a[:2] == b[:2] and a[2] != b[2] for a, b in pairs)
    one = pairs[0]
    ours = [found["pgd", 0.05][training] for training in one]
    only = [int(((a == 1) & (b == 0)).sum()) for a, b in (ours, ours[::-1])]
    assert null.pair_p(found, one)[1] == pytest.approx(binomtest(only[0], sum(only)).pvalue)


def test_shuffled_sides_never_share_a_training_and_are_the_same_each_time(report: Report) -> None:
    found = null.answers(report, report.datasets[0])
    drawn = null.shuffles(found["pgd", 0.05])
    assert len(drawn) == null.DRAWS
    assert all(len(set(first) | set(second)) == 6 for first, second in drawn)
    assert drawn == null.shuffles(found["pgd", 0.05])


def test_the_table_counts_what_the_rules_find(report: Report) -> None:
    """Counted again, and images alone err far more often than trainings and images do."""
    table = null.table(report)
    assert table is not None
    rows = {row["condition"]: row for row in table.frame.to_dict("records")}
    found = null.answers(report, report.datasets[0])
    p = np.array([null.pair_p(found, pair) for pair in null.seed_pairs(found["pgd", 0.05])])
    expected = f"{(p[:, 1] < 0.05).sum()} of 12"
    assert rows["PGD, ε = 0.05"]["seed pairs,\nimages alone"] == expected
    holms = np.array([holm(row) for row in p.tolist()]) < 0.05
    assert rows["any, after correction"]["the same,\ncorrected"] == f"{holms.any(axis=1).sum()} of 12"
    old, today = (
        float(rows["all together"][f"shuffled,\n{rule}"].removesuffix(" %"))
        for rule in ("images alone", "current test")
    )
    assert today <= 8 < old


def test_profiles_with_fewer_trainings_have_no_table() -> None:
    few = trained(seeds=1)
    assert null.table(few) is None
    assert definitions_page([few]) == dict.fromkeys(("null.md", "power.md", "power_sentence.md"), NONE)
    pages = definitions_page([few, trained(seeds=3)])
    assert "<table" in pages["null.md"]
    assert "(Chest X-Ray, 32 px, models with" in pages["power.md"]


def test_the_spread_is_that_between_trainings_of_one_model() -> None:
    """Seeds 10 points apart: standard deviation 10; two models of equal seeds do not widen it."""
    ours = {
        (variant, "adversarial", seed): np.array([1] * right + [0] * (100 - right))
        for variant in ("full", "no_afd")
        for seed, right in enumerate((40, 50, 60))
    }
    found = power.spread(ours)
    assert found.trainings == pytest.approx(10.0)
    assert found.images < 2


def test_power_is_that_of_the_noncentral_t_and_of_draws() -> None:
    """Without images it is the two-sample t-test with 2 (k - 1) degrees of freedom; with draws for both."""
    known = power.Spread(4.0, 0.0)
    se, df = 4 * math.sqrt(2 / 3), 4
    far = t.ppf(0.975, df)
    exact = nct.sf(far, df, 10 / se) + nct.cdf(-far, df, 10 / se)
    assert power.power(10.0, 3, known) == pytest.approx(exact, abs=0.003)
    random = np.random.default_rng(4)
    draws = random.normal(0, 4, (4000, 2, 3)) + np.array([[10], [0]])
    p = ttest_ind(draws[:, 0], draws[:, 1], axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(power.power(10.0, 3, known), abs=0.02)
    assert power.power(0.0, 3, known) == pytest.approx(0.05, abs=0.001)
    means = draws.mean(axis=2)
    value = means[:, 0] - means[:, 1] - 10
    width = t.ppf(0.95, df) * np.sqrt(draws.var(axis=2, ddof=1).sum(axis=1) / 3)
    assert np.mean(np.abs(value) + width < 12) == pytest.approx(power.absence(3, known, 12.0), abs=0.02)


def test_more_trainings_see_more_and_the_least_difference_has_the_usual_power() -> None:
    found = power.Spread(4.5, 2.0)
    assert power.power(10, 3, found) < power.power(10, 5, found)
    assert power.power(power.least(3, found), 3, found) == pytest.approx(power.USUAL)
    assert math.isnan(power.least(3, power.Spread(100.0, 0.0)))
    assert power.absence(3, found, 5.0) < power.absence(5, found, 5.0) < 1


def test_the_page_states_the_power_in_words(report: Report) -> None:
    assert " with 3 and " in power.sentence(report)
    assert "difference of 10 points" in power.sentence(report)
    assert len(power.table(report).frame) == 2


def test_the_pages_margins_are_the_codes() -> None:
    page = " ".join((ROOT / "book" / "definitions.md").read_text(encoding="utf-8").split())
    assert f"±{MARGIN_CLEAN:g} points of clean accuracy" in page
    assert f"±{MARGIN_ATTACKED:g} points of robust accuracy" in page
    assert f"no model exceeds {FLOOR:g} % accuracy" in page


@pytest.mark.skipif(not (ROOT / "results" / "cpu").is_dir(), reason="results/cpu/ is not there")
def test_published_seeds_differ_by_images_alone_and_seldom_by_the_rule_of_today() -> None:
    """Three seeds of seven models: more than one pair in five differs somewhere, where a twentieth should."""
    report = Report.load("cpu", ROOT / "results")
    found = null.answers(report, report.datasets[0])
    trainings = next(iter(found.values()))
    models = {training[:2] for training in trainings}
    assert len(null.seed_pairs(trainings)) == sum(
        math.comb(len([t for t in trainings if t[:2] == model]), 2) for model in models
    )
    p = np.array([null.pair_p(found, pair) for pair in null.seed_pairs(trainings)])
    clear = np.array([holm(row) for row in p.tolist()]) < 0.05
    assert clear.any(axis=1).mean() > 0.2
    some = null.shuffles(trainings)[:60]
    today = np.array([null.draw_p(found, sides)[1] for sides in some])
    assert np.mean(today < 0.05) <= 0.08
