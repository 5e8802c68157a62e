"""The experiment on architecture and training, and which pages a profile has."""

import pytest
from report_records import attack_record, data_record, provenance, small_run, train_record

from meddef.book.notebooks import SECTIONS
from meddef.book.pages import HOLDS, in_order, pages
from meddef.book.results_page import measured
from meddef.figures import controls as figures_controls
from meddef.report import controls, findings
from meddef.report.report import Report
from meddef.report.tables_split import split_policies

LABELS = "0" * 40
RIGHT = {  # of 40 images under PGD
    ("resnet18", "clean"): 2,
    ("full", "clean"): 4,
    ("resnet18", "adversarial"): 22,
    ("full", "adversarial"): 26,
}


def experiment(seeds: tuple[int, ...] = (0, 1)) -> list[dict]:
    """Four models, each seed with one image more right than the seed before."""
    records = [data_record("chest_xray")]
    for (variant, training), count in RIGHT.items():
        for seed in seeds:
            records.append(train_record("chest_xray", variant, training, seed))
            more = {"training": training, "seed": seed}
            clean = ("chest_xray", variant, "clean", LABELS, LABELS, LABELS)
            records.append(attack_record(*clean, eps=0.0, grid="test", **more))
            records.append(attack_record(*clean, eps=0.0, **more))
            for grid, eps in (("epsilon", 0.05), ("epsilon", 0.1), ("small_epsilon", 0.01)):
                right = count + seed - (2 if eps == 0.1 else 0)
                after = "0" * right + "1" * (40 - right)
                records.append(
                    attack_record(
                        "chest_xray", variant, "pgd", LABELS, LABELS, after, eps=eps, grid=grid, **more
                    )
                )
    return records


@pytest.fixture(scope="module")
def report() -> Report:
    return Report("both", experiment(), provenance())


def test_effects_by_hand(report: Report) -> None:
    found = controls.effects(report, report.datasets[0], 0.05)
    assert list(found) == [("clean", None), ("pgd", 0.01), ("pgd", 0.05), ("pgd", 0.1)]
    values = {name: each.value for name, each in found["pgd", 0.05].items()}
    # 26, 22, 4 and 2 of 40 images: a difference of one image is 2.5 points
    expected = {
        controls.DAAM["clean"]: 5.0,
        controls.DAAM["adversarial"]: 10.0,
        controls.TRAINING["resnet18"]: 50.0,
        controls.TRAINING["full"]: 55.0,
        controls.INTERACTION: 5.0,
    }
    assert values == pytest.approx(expected)
    assert all(each.value == 0 and each.p_value == 1 for each in found["clean", None].values())


def test_two_trainings_give_no_verdict(report: Report) -> None:
    text = controls.verdict(report, 0.05)
    assert "PGD at ε = 0.05, n = 40, 2 seeds: adversarial training changes accuracy by +50.0 points [" in text
    assert "(these four trainings differ) for ResNet18" in text
    assert "replacing ResNet18 by the full model changes it by +10.0 points [" in text
    assert (
        "ResNet18 and the full model, both trained adversarially: these four trainings are not shown to differ"
        in text
    )
    assert "no conclusion about the architectures" in text
    # on clean images nothing differs; under the three attacks adversarial training does
    assert (
        "adversarial training, ResNet18: these trainings differ in 3, no difference shown in 1 of 4" in text
    )
    assert "full model for ResNet18, adversarial training: no difference shown in 4 of 4 conditions" in text
    (row,) = (
        row
        for row in controls.table(report, 0.05).frame.to_dict("records")
        if row["condition"] == "PGD, ε = 0.05"
    )
    assert (row["n"], row["seeds"]) == ("40", "2")
    cell = row[controls.HEADINGS[controls.INTERACTION]]
    assert cell.startswith("+5.0\n[")
    assert cell.endswith("\nthese eight\ntrainings: no\ndifference shown")


def replicas(wrong: dict[tuple[str, str], int]) -> Report:
    """Four models with three trainings each, of 400 images, which disagree on two: ``wrong`` images under attack, 40
    more for ResNet18 trained adversarially at the largest of three ε."""
    n = 400
    labels, records = "0" * n, [data_record("chest_xray")]
    for model, count in wrong.items():
        for seed in range(3):
            records.append(train_record("chest_xray", *model, seed))
            for attack, eps, grid in PLACES:
                more = 40 * (eps == 0.1 and model == ("resnet18", "adversarial"))
                of = 0 if attack == "clean" else count + seed + more
                answers = (labels, labels, "1" * of + "0" * (n - of))
                records.append(
                    attack_record(
                        "chest_xray",
                        model[0],
                        attack,
                        *answers,
                        eps=eps,
                        grid=grid,
                        training=model[1],
                        seed=seed,
                    )
                )
    return Report("alike", records, provenance())


PLACES = (
    ("clean", 0.0, "test"),
    ("pgd", 0.01, "epsilon"),
    ("pgd", 0.05, "epsilon"),
    ("pgd", 0.1, "epsilon"),
    ("bim", 0.05, "epsilon"),
)
ALIKE = {
    ("resnet18", "clean"): 390,
    ("full", "clean"): 390,
    ("resnet18", "adversarial"): 100,
    ("full", "adversarial"): 100,
}


def test_absence_is_shown_in_the_order_of_epsilon() -> None:
    """Equal up to ε = 0.05, and 10 points apart at 0.1, where adversarial training differs clearly."""
    report = replicas(ALIKE)
    text = controls.verdict(report, 0.05)
    assert (
        "equally accurate within the margin, shown by equivalence tests in the order of ε: ±2 points on clean images "
        "and ±5 points under PGD, up to ε = 0.05 (3 trainings each). Not shown: PGD, ε = 0.1: +10.0 points ["
    ) in text
    assert "(clear) for ResNet18" in text
    assert "(at the floor) under clean training" in text
    assert "Replacing ResNet18 by the full model adds DAAM, self-attention and their fusion" in text
    found = controls.effects(report, report.datasets[0], 0.05)
    verdicts = {c: each[controls.DAAM["adversarial"]].verdict for c, each in found.items()}
    assert verdicts == {
        ("clean", None): "smaller than ±2 points",
        ("pgd", 0.01): "smaller than ±5 points",
        ("pgd", 0.05): "smaller than ±5 points",
        ("pgd", 0.1): "clear",
        ("bim", 0.05): "smaller than ±5 points",
    }


def test_nothing_is_equal_behind_the_first_epsilon_that_fails() -> None:
    """The same models in the other order: those that differ at the smallest ε are not tested further."""
    turned = {0.01: 0.1, 0.1: 0.01}
    records = [{**r, "eps": turned.get(r.get("eps"), r.get("eps"))} for r in replicas(ALIKE).records]
    report = Report("turned", records, provenance())
    text = controls.verdict(report, 0.05)
    assert (
        "in the order of ε: ±2 points on clean images (3 trainings each). Not shown: PGD, ε = 0.01: +10.0"
        in text
    )
    found = controls.effects(report, report.datasets[0], 0.05)["pgd", 0.05][controls.DAAM["adversarial"]]
    assert found.verdict == "open"


def test_the_verdict_says_how_much_of_what_stays_right_is_the_largest_class() -> None:
    def attacked(after: str) -> dict[int, dict]:
        record = attack_record("chest_xray", "full", "pgd", "01111", "01111", after)
        return {0: record}

    found = {("resnet18", "adversarial"): attacked("11111"), ("full", "adversarial"): attacked("01001")}
    text = controls._of_one_class(found)
    assert "4 of 4 for ResNet18 and 2 of 3 for Full DAAM show PNEUMONIA, as do 80 % of all" in text


def test_a_condition_that_lacks_a_model_is_left_out() -> None:
    records = [
        r
        for r in experiment()
        if r["kind"] != "attack" or (r["variant"], r["training"], r["eps"]) != ("full", "clean", 0.1)
    ]
    unfinished = Report("unfinished", records, provenance())
    assert list(controls.effects(unfinished, unfinished.datasets[0], 0.05)) == [
        ("clean", None),
        ("pgd", 0.01),
        ("pgd", 0.05),
    ]


def test_a_profile_without_controls_says_so() -> None:
    plain = Report("tiny", small_run("chest_xray"), provenance())
    assert controls.verdict(plain, 0.05) == controls.NONE
    assert controls.table(plain, 0.05).frame.empty
    assert "controls" not in pages([plain])["tiny"]


def test_the_figure_starts_at_the_accuracy_without_attack_and_shows_every_seed(report: Report) -> None:
    points = figures_controls.points(report, report.datasets[0])
    one = points.query("variant == 'full' and training == 'clean' and seed == 1")
    assert one[["eps", "robust"]].to_numpy().tolist() == [[0, 1], [0.01, 0.125], [0.05, 0.125], [0.1, 0.075]]
    panel, balanced = figures_controls.two_by_two(report).axes
    for each in (panel, balanced):
        assert len(each.lines) == 4 * (1 + 2) + 1  # and the constant classifier
    assert "n = 40, 2 seeds" in panel.get_title()


def test_pages_are_those_that_the_records_fill() -> None:
    assert list(HOLDS) == list(SECTIONS)
    phantoms = Report("smoke", small_run("phantom_oct"), provenance())
    bare = Report("bare", [data_record("chest_xray")], provenance())
    both = Report("both", experiment(), provenance())
    found = pages([phantoms, bare, both])
    assert list(found) == ["both", "bare", "smoke"]  # the paper's own images first, then who has most models
    assert found["both"] == ["data", "architecture", "training", "controls", "epsilon", "confusion"]
    assert found["bare"] == ["data"]
    assert {"saliency", "pruning", "comparison", "ablation"} <= set(found["smoke"])


def other_run(dataset: str, **changes: object) -> list[dict]:
    """``small_run`` on another dataset, its data record changed."""
    records = [{**record, "dataset": dataset} for record in small_run("chest_xray")]
    return [{**record, **changes} if record["kind"] == "data" else record for record in records]


def test_the_results_page_has_a_headline_for_each_real_run_and_calls_stand_ins_so() -> None:
    patient = Report("by_patient", other_run("chest_xray", split_policy="patient"), provenance())
    oct_like = other_run("octdl4", stands_for="roct", title="Other OCT")
    stand_in = Report("other", oct_like, provenance())
    first = Report("both", experiment(), provenance())
    reports = in_order([Report("smoke", small_run("phantom_oct"), provenance()), stand_in, patient, first])
    assert [report.profile for report in reports] == ["both", "by_patient", "other", "smoke"]
    text = measured(reports)
    assert (
        text.index("** Chest X-Ray, split at")
        < text.index("** Chest X-Ray, split by")
        < text.index("** Other")
    )
    assert "hantom" not in text
    assert "Chest X-Ray, split by patient, 32 px, 8 test images, of which attacks saw 8." in text
    assert "Other OCT (for ROCT), split at random as in the paper" in text
    assert "Stand-ins are not the paper's data" in text
    assert "adversarial training changes accuracy by" in text
    splits = split_policies(reports, (0.031373, 0.05)).frame
    assert list(splits["model"]) == ["ResNet18"] * 2 + ["Full DAAM"] * 2 + ["constant classifier"] * 2
    assert list(splits["no attack"].str[:4]) == ["100.", "87.5"] * 2 + ["100.", "50.0"]
    assert list(splits.columns) == ["model", "images", "no attack", "PGD, ε = 0.05"]
    assert split_policies([first], [0.05]).frame.empty


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("data", {"image_size": 64}),
        ("data", {"preprocessing": {"resize": "area", "pad": True, "min_max": False}}),
        ("train", {"epochs": 5}),
        ("train", {"learning_rate": 0.0001}),
        ("train", {"augmentation": ["translate"]}),
        ("train", {"class_weights": True}),
    ],
)
def test_runs_that_differ_in_more_than_their_split_are_not_compared(kind: str, change: dict) -> None:
    def changed(record: dict) -> dict:
        if record["kind"] != kind:
            return record
        return {**record, **change} if kind == "data" else {**record, "settings": record["settings"] | change}

    random = Report("random", other_run("chest_xray"), provenance())
    patient = other_run("chest_xray", split_policy="patient")
    same = Report("patient", patient, provenance())
    other = Report("patient", [changed(record) for record in patient], provenance())
    assert set(split_policies([random, same], [0.05]).frame["images"]) == {
        "Chest X-Ray, split at random as in the paper",
        "Chest X-Ray, split by patient",
    }
    assert split_policies([random, other], [0.05]).frame.empty
    assert "besides" not in split_policies([random, same], [0.05]).caption


def test_the_table_of_splits_names_what_else_differs() -> None:
    random = Report("random", other_run("chest_xray"), provenance())
    records = other_run("chest_xray", split_policy="patient")
    records += [{**r, "seed": 1} for r in records if r["kind"] in ("train", "attack")]
    patient = Report("patient", records, provenance())
    caption = split_policies([random, patient], [0.05]).caption
    assert (
        "The runs also differ in: seeds (split at random as in the paper: 1, split by patient: 2)." in caption
    )


def ladder(full: int, seeds: int = 3) -> Report:
    """Of 40 images 10 more are correct with each component, and all of these with ``full``."""
    right = {"no_afd_mfe_msf": 5, "no_afd_mfe": 15, "no_afd": 25, "full": full}
    records = [data_record("chest_xray")]
    for variant, count in right.items():
        after = "0" * count + "1" * (40 - count)
        for seed in range(seeds):
            records.append(attack_record("chest_xray", variant, "pgd", LABELS, LABELS, after, seed=seed))
    return Report("tiny", records, provenance())


def test_one_training_of_each_model_gives_words_and_no_verdict() -> None:
    report = ladder(35, seeds=1)
    text = findings.ablation(report, 0.05)
    assert "MSF: these trainings differ in 1 of 1 conditions" in text
    assert "all of DAAM under PGD: +75.0 points [" in text
    assert "(these two trainings differ)" in text
