"""Work counted and time taken: the counts agree with the plan's, and the formula with the stored runs."""

from pathlib import Path

import pytest
from report_records import small_run, write_run
from tiny_profile import TINY

from meddef.attacks import ATTACKS
from meddef.attacks.options import options
from meddef.cost_model import WITHOUT_EPS, passes, train_passes
from meddef.errors import InputError
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import _grouped
from meddef.report import cost_measured, cost_scaling, wall_time
from meddef.report.cost_planned import Scale, planned, scale, split_sizes
from meddef.report.report import Report
from meddef.settings import DatasetSettings, TrainingSettings, load_profile

RESULTS = Path(__file__).parents[1] / "results"
PROFILES = sorted(path.parent.name for path in RESULTS.glob("*/records.jsonl"))


def test_work_counts_passes() -> None:
    judged = 0.8
    assert passes("clean", {}, 12) == pytest.approx(0.4)
    assert passes("pgd", {"steps": 40, "restarts": 2}, 12) == pytest.approx(80 + judged)
    assert passes("fgsm", {}, 12) == pytest.approx(1 + judged)
    assert passes("square", {"queries": 100}, 12) == pytest.approx(40 + judged)
    settings = {"steps": 50, "queries": 500}
    assert passes("ensemble", settings, 12) == pytest.approx(10 + 50 + 20 + 200 + judged)
    assert passes("jsma", {"gamma": 0.5}, 12) == pytest.approx(3 * 1.6 + judged)


def test_a_training_counts_every_image_of_every_epoch() -> None:
    clean = TrainingSettings(epochs=2, adversarial=None)
    assert train_passes(clean, 100, 10) == pytest.approx(2 * (180 + 4))
    attacked = TrainingSettings(
        epochs=2
    )  # 35 % of 100 images, 40 steps and an update each; 7 of 10 in validation
    assert train_passes(attacked, 100, 10) == pytest.approx(
        2 * (184 + 35 * (0.75 * 40 + 1.8) + 7 * 0.75 * 40)
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_defaults_are_those_of_the_attacks(attack: str) -> None:
    assert passes(attack, {}, 1000) == passes(attack, options(attack), 1000)
    assert ("eps" in ATTACKS[attack].keywords) == (attack not in WITHOUT_EPS)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("effort")
    (folder / "tiny.yaml").write_text(f"{TINY}seeds: [0, 1]\ncontrols: [resnet18]\n")
    return make_plan(load_profile(str(folder / "tiny.yaml")), RunOptions(folder / "runs"))


def test_what_is_planned_without_images_is_what_is_planned_with_them(plan: Plan) -> None:
    """Work and tasks of the cells, though nothing was drawn; the busiest worker has the longest chain."""
    cells = planned(plan.profile)
    assert cells["passes"].sum() == pytest.approx(sum(cell.work for cell in plan.cells))
    tasks = cells.groupby(["variant", "training", "seed", "task"])
    assert len(tasks) == len([group for group in _grouped(plan.cells) if group[0].kind != "data"])
    chains = [
        cell.work
        + max(sum(c.work for c in group) for group in _grouped(plan.cells) if group[0].needs == cell.key)
        for cell in plan.cells
        if cell.kind == "train"
    ]
    assert scale(cells).chain == pytest.approx(max(chains))


def test_more_workers_help_until_the_longest_chain_is_all_there_is() -> None:
    assert [Scale(100.0, 20.0).passes(workers) for workers in (1, 4, 5, 50)] == [100, 25, 20, 20]
    assert Scale(100.0, 20.0).useful == 5


def test_sizes_are_the_published_ones() -> None:
    roct = DatasetSettings(name="roct", split_policy="released")
    assert split_sizes(roct) == {"train": 83484, "val": 32, "test": 968}
    chest = DatasetSettings(name="chest_xray", split_policy="paper")
    assert split_sizes(chest) == {"train": 4099, "val": 878, "test": 879}
    octdl = DatasetSettings(name="octdl4", split_policy="patient")
    assert sum(split_sizes(octdl).values()) == 1231 + 147 + 155 + 332
    with pytest.raises(InputError, match="it is unknown how many images 'phantom_oct' has"):
        split_sizes(DatasetSettings(name="phantom_oct"))


def test_cells_at_work_at_a_time_are_their_seconds_over_the_time_in_which_any_was() -> None:
    ends = {"10:00:10": 10.0, "10:00:08": 4.0, "10:00:40": 10.0, "10:00:45": 10.0}  # 0-10, 4-8, 30-40, 35-45
    rows = [{"finished": f"2026-11-26T{end}+00:00", "seconds": seconds} for end, seconds in ends.items()]
    assert wall_time.at_once(rows) == pytest.approx(34 / 25)


def test_the_formula_predicts_a_published_run_from_a_part_of_it() -> None:
    """Every second model from the others, and the attacks from the trainings; both ways, within 30 %.

    Of the attacks those that always take all their steps: the formula counts the others as if every image resisted.
    Only for smoke: it ran undisturbed. Other profiles ran beside other work and with pauses, which their seconds hold;
    the page says for each how far the formula is off.
    """
    cells = cost_measured.in_order(Report.load("smoke", RESULTS))
    trained, steady = cells["section"] == "train", cells["part"].isin(["FGSM", "PGD", "BIM"])
    assert sum(len(half) for half in cost_measured.halves(cells)) == len(cells)
    for one, other in (cost_measured.halves(cells), (cells[trained], cells[steady])):
        assert cost_measured.predicted(one, other) == pytest.approx(1, abs=cost_scaling.AGREEMENT)
        assert cost_measured.predicted(other, one) == pytest.approx(1, abs=cost_scaling.AGREEMENT)


def test_the_pages_hold_shares_that_add_up_and_the_verdict(tmp_path: Path) -> None:
    report = Report.load("cpu", write_run(tmp_path, "cpu", small_run("chest_xray")))
    frame = cost_measured.table(report).frame
    for share in ("estimated (% of work)", "actual (% of time)"):
        assert frame[share].astype(float).sum() == pytest.approx(100, abs=1)
    assert frame["cells"].astype(int).sum() == len(report.records) - 1
    names = ("throughput", "full_size", "limits", "storage", "effort", "engine", "passes")
    pages = cost_scaling.pages([report], tmp_path)
    assert set(pages) == {f"{name}.md" for name in names}
    assert pages["engine.md"] == cost_scaling.NOTHING
    assert "2 datasets × 7 models × 3 seeds" in pages["full_size.md"]


def test_hours_by_hand() -> None:
    """ROCT's trainings: 100 epochs; 83,484 and 32 images; three seeds of five adversarial models and two clean ones."""
    clean = 1.8 * 83484 + 0.4 * 32
    adversarial = clean + 0.35 * 83484 * (0.75 * 40 + 1.8) + 0.7 * 32 * 0.75 * 40
    load = cost_scaling.full_paper()
    cells = load.cells[(load.cells["dataset"] == "roct") & (load.cells["section"] == "train")]
    assert len(cells) == 21
    assert cells["passes"].sum() == pytest.approx(3 * 100 * (5 * adversarial + 2 * clean))
