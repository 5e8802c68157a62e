"""Cells of kind "probe": planned, run, resumed, shown in the status; no key of another cell changes."""

from pathlib import Path

import pytest
from tiny_profile import TINY

from meddef.errors import InputError
from meddef.evaluation.cell import Cell
from meddef.evaluation.checks import check_profile
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.run import missing, run_plan
from meddef.evaluation.status import run_status
from meddef.models import KNOWN_VARIANTS, components_of
from meddef.probes.registry import PROBES
from meddef.records import RecordStore, load_provenance, load_records
from meddef.report.cost_measured import effort
from meddef.report.cost_planned import planned
from meddef.report.report import Report
from meddef.results_version import RESULTS_VERSION
from meddef.settings import WITHOUT_DEFENSE, ProbesSettings, Profile, load_profile
from meddef.smoke_test import trial

FEW = {"images": 4, "steps": 2}
PROBED = ProbesSettings.model_validate({
    "images": {"images": 6}, "components": FEW, "bands": {**FEW, "factors": [1, 8]}, "regions": FEW, "calibration": FEW,
    "visibility": {**FEW, "variants": ["resnet18"], "attacks": {"fgsm": {}}}, "shortcuts": {"images": 5},
})  # fmt: skip


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    path.write_text(TINY)
    plain = load_profile(str(path))
    training = plain.training.model_copy(update={"epochs": 1})
    return plain.model_copy(update={"probes": PROBED, "grids": {}, "saliency": None, "training": training})


@pytest.fixture(scope="module")
def unbroken(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, RunOptions]:
    options = RunOptions(tmp_path_factory.mktemp("runs") / profile.name)
    plan = make_plan(profile, options)
    run_plan(plan, options, InlineExecutor(), inside=False)
    return plan, options


def probes_of(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells if cell.kind == "probe"]


def test_there_is_a_probe_for_every_setting_and_a_version_of_their_results() -> None:
    assert {"images", *PROBES} == set(ProbesSettings.model_fields)
    for name, probe in PROBES.items():
        assert ProbesSettings.model_validate({name: {}}).chosen() == {name: probe.rule()}
    assert RESULTS_VERSION["probes"] == 1


def test_variants_without_a_defense_module_are_those_that_say_so() -> None:
    assert {name for name in KNOWN_VARIANTS if components_of(name) is None} == set(WITHOUT_DEFENSE)


def test_other_cells_keep_their_keys(profile: Profile, tmp_path: Path) -> None:
    options = RunOptions(tmp_path)
    without = make_plan(profile.model_copy(update={"probes": ProbesSettings()}), options)
    plan = make_plan(profile, options)
    assert not probes_of(without)
    assert {cell.key for cell in without.cells} == {c.key for c in plan.cells} - {
        c.key for c in probes_of(plan)
    }


@pytest.mark.parametrize("domain", ["probes", "evaluation", "training", "audit"])
def test_a_new_version_makes_the_right_probes_stale(
    profile: Profile, domain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunOptions(tmp_path)
    before = {cell.label: cell.key for cell in probes_of(make_plan(profile, options))}
    monkeypatch.setitem(RESULTS_VERSION, domain, RESULTS_VERSION[domain] + 1)
    after = {cell.label: cell.key for cell in probes_of(make_plan(profile, options))}
    moved = {label for label in before if before[label] != after[label]}
    pixels = {"probe phantom_oct images"}
    assert moved == {"audit": set(), "training": set(before) - pixels}.get(domain, set(before))


def test_each_model_is_probed_and_what_is_recorded_is_not_computed_again(
    unbroken: tuple[Plan, RunOptions],
) -> None:
    plan, options = unbroken
    records = load_records(options.folder.parent, plan.profile.name, kind="probe")
    found = {(record["probe"], record.get("variant")) for record in records}
    everyone = {
        (name, v) for name in ("bands", "regions", "calibration", "shortcuts") for v in plan.profile.variants
    }
    assert found == everyone | {("images", None), ("components", "no_afd_mfe"), ("visibility", "resnet18")}
    for record in records:
        assert len(record["labels"]) == record["n"]
        assert all(len(values) == record["n"] for values in record["measures"].values())
        assert record["data_fingerprint"]
    assert not missing(plan, RecordStore(options.folder))
    seconds = {
        row["key"]: row["seconds"] for row in load_provenance(options.folder.parent, plan.profile.name)
    }
    assert {cell.key for cell in probes_of(plan)} <= set(seconds)


def test_images_are_the_first_of_the_test_order_and_regions_those_with_a_lesion(
    unbroken: tuple[Plan, RunOptions],
) -> None:
    plan, options = unbroken
    records = load_records(options.folder.parent, plan.profile.name, kind="probe")
    labels = {record["probe"]: record["labels"] for record in records}
    assert labels["shortcuts"].startswith(labels["bands"])
    assert labels["bands"] == labels["calibration"] == labels["images"][:4]
    assert "3" not in labels["regions"]  # NORMAL
    shares = next(r["measures"]["lesion"] for r in records if r["probe"] == "regions")
    assert all(0 < share < 0.5 for share in shares)


def test_a_run_that_lost_a_probe_computes_that_one_alone(
    unbroken: tuple[Plan, RunOptions],
) -> None:
    plan, options = unbroken
    store, cell = RecordStore(options.folder), probes_of(plan)[1]
    before = store.get(cell.key)
    store.forget(cell.key)
    assert missing(plan, store) == [cell]
    assert {part.part: part.missing for part in run_status(plan, options.folder).parts}[cell.section] == 1
    run_plan(plan, options, InlineExecutor(), inside=False)
    after = store.get(cell.key)
    assert before
    assert after
    assert after.records == before.records


def test_status_says_what_of_a_probe_changed(profile: Profile, unbroken: tuple[Plan, RunOptions]) -> None:
    _, options = unbroken
    more = PROBED.model_copy(update={"bands": PROBED.bands and PROBED.bands.model_copy(update={"steps": 3})})
    changed = make_plan(profile.model_copy(update={"probes": more}), options)
    stale = {part.part: dict(part.stale) for part in run_status(changed, options.folder).parts}
    assert stale["probe bands"] == {"rule.steps": 2}
    assert stale["probe regions"] == {}


def test_the_estimate_counts_every_probe_of_a_model(
    profile: Profile, unbroken: tuple[Plan, RunOptions]
) -> None:
    plan, options = unbroken
    cells = planned(profile)
    ours = cells[cells["section"].str.startswith("probe")]
    work = {(c.section, c.settings["variant"]): c.work for c in probes_of(plan) if "variant" in c.settings}
    assert dict(zip(zip(ours["section"], ours["variant"], strict=True), ours["passes"], strict=True)) == work
    took = effort(Report.load(profile.name, options.folder.parent))
    took = took[took["section"] == "probe"]
    assert {(f"probe {r.part}", r.variant): r.passes for r in took.itertuples()} == pytest.approx(work)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": {"variants": ["full"]}}, "profile 'tiny', probes.bands: 'full' is not among"),
        ({"visibility": {"attacks": {"mine": {}}}}, "unknown attack 'mine'"),
        ({"visibility": {"attacks": {"pgd": {"step": 1}}}}, "attack 'pgd' takes no setting 'step'"),
        (
            {"visibility": {"attacks": {"pgd": {"step_size": 1e-4}}}},
            "probes.visibility: pgd cannot reach its ε: .*, leave step_size out$",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(
    profile: Profile, change: dict[str, object], message: str, tmp_path: Path
) -> None:
    bad = profile.model_copy(update={"probes": ProbesSettings.model_validate(change)})
    with pytest.raises(InputError, match=message):
        make_plan(bad, RunOptions(tmp_path))


def test_regions_of_real_images_are_refused() -> None:
    cpu = load_profile("cpu")
    with pytest.raises(
        InputError, match=r"probes\.shortcuts: it needs images whose lesions are known: phantoms"
    ):
        check_profile(cpu.model_copy(update={"probes": ProbesSettings.model_validate({"shortcuts": {}})}))


def test_a_trial_cuts_probes_too() -> None:
    cut = trial(load_profile("cpu")).probes.chosen()
    assert set(cut) == set(load_profile("cpu").probes.chosen()) != set()
    assert all(rule.images == 2 for rule in cut.values())
    assert cut["visibility"].attacks["jsma"]["max_steps"] == 2
