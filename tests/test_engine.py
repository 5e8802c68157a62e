"""The engine: keys, resuming, parallel runs, failures. One tiny profile on phantoms at 32 px."""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_profile import TINY, WITHOUT_MAPS

import meddef.evaluation.cells as cells
from meddef.errors import InputError
from meddef.evaluation import run
from meddef.evaluation.cell import Cell
from meddef.evaluation.executor import InlineExecutor, make_executor
from meddef.evaluation.plan import SECTIONS, Plan, RunOptions, make_plan
from meddef.evaluation.run import CellsFailed, missing, run_plan
from meddef.evaluation.status import run_status
from meddef.evaluation.task import Task, run_task
from meddef.records import CellResult, Record, RecordStore
from meddef.results_version import RESULTS_VERSION
from meddef.settings import GridSettings, Profile, SaliencySettings, load_profile

UNATTACKED = ("data", "train phantom_oct resnet18", "attack phantom_oct resnet18 clean")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    path.write_text(TINY)
    return load_profile(str(path))


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def unbroken(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, RunOptions]:
    options = RunOptions(tmp_path_factory.mktemp("unbroken") / "tiny")
    plan = make_plan(profile, options)
    run_plan(plan, options, InlineExecutor(), inside=False)
    return plan, options


@pytest.fixture
def without_maps(tmp_path: Path) -> Plan:
    (tmp_path / "tiny.yaml").write_text(WITHOUT_MAPS)
    return make_plan(load_profile(str(tmp_path / "tiny.yaml")), RunOptions(tmp_path / "tiny"))


def exported(options: RunOptions) -> bytes:
    return (options.folder / "records.jsonl").read_bytes()


def records(plan: Plan, options: RunOptions) -> list[Record]:
    found = RecordStore(options.folder).collect(cell.key for cell in plan.cells)
    assert len(found) == len(plan.cells)
    return found


def test_every_cell_leaves_a_record_with_counts_that_add_up(unbroken: tuple[Plan, RunOptions]) -> None:
    plan, options = unbroken
    records = RecordStore(options.folder).collect(cell.key for cell in plan.cells)
    assert len(records) == len(plan.cells) == 1 + 2 * (1 + 1 + 1 + 4 + 2 * 2 + 1)
    for record in records:
        if record["kind"] == "attack":
            pairs = list(zip(record["labels"], record["before"], record["after"], strict=True))
            assert record["n"] == len(pairs)
            assert record["correct_before"] == sum(label == b for label, b, _ in pairs)
            assert record["correct_after"] == sum(label == a for label, _, a in pairs)
            assert record["flipped"] == sum(label == b != a for label, b, a in pairs)
            assert record["linf"] <= (record["eps"] or 0) + 1e-7
    rates = {
        r["prune_rate"]: r["sparsity"] for r in records if r["kind"] == "attack" and r["grid"] == "pruning"
    }
    assert rates[0.0] < 1e-3
    assert rates[0.5] == pytest.approx(0.5, abs=1e-6)


def test_a_second_run_computes_nothing(
    unbroken: tuple[Plan, RunOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, options = unbroken
    before = exported(options)
    monkeypatch.setattr("meddef.evaluation.run.run_task", lambda task: pytest.fail("computed again"))
    run_plan(plan, options, InlineExecutor(), inside=False)
    assert exported(options) == before


def test_two_processes_give_the_same_records(
    without_maps: Plan, unbroken: tuple[Plan, RunOptions], tmp_path: Path
) -> None:
    options = RunOptions(tmp_path / "tiny")
    with make_executor(2) as (executor, _):
        run_plan(without_maps, options, executor, inside=False)
    assert records(without_maps, options) == records(without_maps, unbroken[1])


def test_a_model_is_attacked_before_the_next_is_trained(
    unbroken: tuple[Plan, RunOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run that is stopped leaves whole models; without ``at_once`` all trainings come first."""
    plan, _ = unbroken
    keys = [cell.key for cell in plan.cells if cell.kind == "train"]
    seen: list[Task] = []
    monkeypatch.setattr("meddef.evaluation.run.run_task", seen.append)

    def models(at_once: int | None) -> list[int]:
        seen.clear()
        options = RunOptions(tmp_path / str(at_once))
        run_plan(plan, options, InlineExecutor(), inside=False, at_once=at_once, export=False)
        firsts = [task.cells[0] for task in seen]
        return [keys.index(cell.needs or cell.key) for cell in firsts if cell.kind != "data"]

    assert models(1) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert models(None)[:2] == [0, 1]


def test_cells_of_a_long_task_are_reported_while_it_runs(
    unbroken: tuple[Plan, RunOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task of five attacks ends only when its first cell has been reported; then it fails, and loses the last."""
    plan, done = unbroken
    train = next(cell for cell in plan.cells if cell.kind == "train")
    attacks = [cell for cell in plan.cells if cell.needs == train.key and cell.section == "epsilon"]
    options = RunOptions(tmp_path / "tiny")
    reported = threading.Event()

    def slow(task: Task) -> None:
        for cell in task.cells[:-1]:
            result = RecordStore(done.folder).get(cell.key)
            assert result is not None
            RecordStore(options.folder).put(result)
            assert reported.wait(20)
        raise RuntimeError("the last one fails")

    monkeypatch.setattr("meddef.evaluation.run.run_task", slow)
    monkeypatch.setattr("meddef.evaluation.run.LOOK_SECONDS", 0.01)
    seen = []
    with ThreadPoolExecutor(1) as executor:
        for some, error in run._execute(plan, attacks, options, executor, inside=False, at_once=None):
            reported.set()
            seen.append((some, error))
    assert seen[0] == ((attacks[0],), None)
    assert [cell for some, _ in seen for cell in some] == attacks
    assert str(seen[-1][1]) == "the last one fails"
    assert attacks[-1] in seen[-1][0]


def test_a_cell_that_is_recorded_is_not_computed_again_by_a_repeated_task(
    unbroken: tuple[Plan, RunOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a worker died after it recorded some of its cells: the task is handed out again as a whole."""
    plan, options = unbroken
    train = next(cell for cell in plan.cells if cell.kind == "train")
    first, second = [c for c in plan.cells if c.needs == train.key and c.section == "epsilon"][:2]
    lost = RecordStore(options.folder).cells / f"{second.key}.json"
    kept = lost.read_bytes()
    lost.unlink()
    computed: list[str] = []
    monkeypatch.setattr(RecordStore, "put", lambda store, result: computed.append(result.key))
    run_task(Task((first, second), train, plan.profile, options, progress=False))
    lost.write_bytes(kept)
    assert computed == [second.key]


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_leaves_threads_and_determinism_as_it_found_them(
    unbroken: tuple[Plan, RunOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    def settings() -> tuple[int, bool, bool, bool]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
        )

    plan, _ = unbroken
    data = next(cell for cell in plan.cells if cell.kind == "data")
    inside = []

    def spy(cell: Cell, splits: object) -> list[Record]:
        inside.append(settings())
        if fails:
            raise InputError("planted")
        return []

    monkeypatch.setattr("meddef.evaluation.task.run_data", spy)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    before = settings()
    assert before == (2, False, False, False)
    task = Task((data,), None, plan.profile, RunOptions(tmp_path), progress=False)
    with pytest.raises(InputError, match="planted") if fails else nullcontext():
        run_task(task)
    assert inside == [(1, True, True, True)]
    assert settings() == before


@pytest.mark.fault(
    "a worker process is killed, as on memory exhaustion",
    "the run ends with an error; the next one resumes, with the records of an uninterrupted run",
    says="a worker process died (out of memory?): run again with fewer --jobs",
)
def test_a_killed_worker_process_is_named_and_the_run_goes_on(
    without_maps: Plan, unbroken: tuple[Plan, RunOptions], tmp_path: Path, says: str
) -> None:
    options = RunOptions(tmp_path / "tiny")

    def kill(executor: Executor) -> None:
        while not list(options.folder.rglob("checkpoint.safetensors")):
            time.sleep(0.02)
        os.kill(next(iter(executor._processes)), signal.SIGKILL)  # type: ignore[attr-defined]

    with make_executor(2) as (executor, _):
        killer = threading.Thread(target=kill, args=(executor,), daemon=True)
        killer.start()
        with pytest.raises(CellsFailed, match=re.escape(says)):
            run_plan(without_maps, options, executor, inside=False)
        killer.join(10)
    assert len(missing(without_maps, RecordStore(options.folder))) > 0
    run_plan(without_maps, options, InlineExecutor(), inside=False)
    assert records(without_maps, options) == records(without_maps, unbroken[1])


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import RunOptions, make_plan
from meddef.evaluation.run import run_plan
from meddef.settings import load_profile
options = RunOptions(Path(sys.argv[2]))
run_plan(make_plan(load_profile(sys.argv[1]), options), options, InlineExecutor(), inside=False)
"""


@pytest.mark.fault(
    "SIGKILL at three random moments in succession",
    "the next run resumes; its records are byte-identical to those of an uninterrupted run",
)
def test_killed_at_three_moments_and_resumed(
    without_maps: Plan, unbroken: tuple[Plan, RunOptions], tmp_path: Path
) -> None:
    """SIGKILL once something has been written, a random moment later; then let it finish."""
    options = RunOptions(tmp_path / "tiny")
    delays = random.Random(0)
    for patience in (1, 2, 8):  # files that appear before the kill
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "tiny.yaml"), str(options.folder)]
        present = count_files(options.folder)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and count_files(options.folder) < present + patience:
            time.sleep(0.02)
        time.sleep(delays.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    todo = missing(without_maps, RecordStore(options.folder))
    assert 0 < len(todo) < len(without_maps.cells)
    run_plan(without_maps, options, InlineExecutor(), inside=False)
    assert records(without_maps, options) == records(without_maps, unbroken[1])


def count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.suffix in (".json", ".safetensors"))


@pytest.mark.fault(
    "an attack raises an error",
    "its cells fail and are listed, nothing is counted as robust, all other cells are recorded",
    says="cells failed; run again to retry them",
)
def test_an_attack_that_raises_is_reported_and_the_rest_is_kept(
    unbroken: tuple[Plan, RunOptions], monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    plan, options = unbroken
    store = RecordStore(options.folder)
    victims = [
        c for c in plan.cells if c.settings.get("attack") == "fgsm" and c.settings["grid"] == "epsilon"
    ]
    kept = {key: path.read_bytes() for c in plan.cells if (path := store.cells / f"{(key := c.key)}.json")}
    for victim in victims:
        (store.cells / f"{victim.key}.json").unlink()

    def broken(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("no gradient today")

    monkeypatch.setitem(cells.ATTACKS, "fgsm", partial(broken))
    with pytest.raises(CellsFailed, match=r"fgsm 0\.05 0\.0: no gradient today") as failure:
        run_plan(plan, options, InlineExecutor(), inside=False)
    assert f"{len(victims)} {says}" in str(failure.value)
    assert {c.key for c in missing(plan, store)} == {c.key for c in victims}
    for key, content in kept.items():
        (store.cells / f"{key}.json").write_bytes(content)


@pytest.mark.fault(
    "a second run is started in the same folder",
    "the second is refused",
    says="another run works in",
)
def test_one_run_a_folder(unbroken: tuple[Plan, RunOptions], says: str) -> None:
    plan, options = unbroken
    with (options.folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=says):
            run_plan(plan, options, InlineExecutor(), inside=False)


def keys(profile: Profile) -> dict[str, str]:
    plan = make_plan(profile, RunOptions(Path("unused")))
    return {cell.label + cell.section: cell.key for cell in plan.cells}


def test_keys_hold_what_can_change_a_result_and_nothing_else(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = keys(profile)
    assert len(set(reference.values())) == len(reference)
    assert keys(profile.model_copy(update={"name": "other", "description": "other"})) == reference
    training = profile.training.model_copy(update={"weight_decay": 0.1})
    changed = keys(profile.model_copy(update={"training": training}))
    assert {k for k in reference if changed[k] == reference[k]} == {"data phantom_octdata"}
    grid = profile.grids["pruning"].model_copy(update={"scope": "layer"})
    changed = keys(profile.model_copy(update={"grids": profile.grids | {"pruning": grid}}))
    assert {k for k in reference if changed[k] != reference[k]} == {k for k in reference if "pruning" in k}


@pytest.mark.parametrize(
    ("domain", "unmoved"),
    [
        ("data", lambda label: not label.startswith(("data", "saliency"))),
        ("models", lambda label: label.startswith("data")),
        ("training", lambda label: label.startswith("data")),
        ("attacks", lambda label: label.startswith(UNATTACKED)),
        ("saliency", lambda label: not label.startswith("saliency")),
        ("evaluation", lambda label: label.startswith(("data", "train", "saliency"))),
        ("audit", lambda label: True),
        ("probes", lambda label: True),  # none is planned
    ],
)
def test_a_new_version_of_a_domain_makes_its_cells_stale_and_no_others(
    profile: Profile, domain: str, unmoved: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(profile)
    monkeypatch.setitem(RESULTS_VERSION, domain, RESULTS_VERSION[domain] + 1)
    after = keys(profile)
    assert {label for label in before if after[label] == before[label]} == set(filter(unmoved, before))


def test_sections_select_cells(unbroken: tuple[Plan, RunOptions]) -> None:
    plan, _ = unbroken
    for section, wanted in SECTIONS.items():
        assert {cell.section for cell in plan.only(section).cells} <= set(wanted)
    assert {cell.section for cell in plan.only("pruning").cells} == {"data", "train", "pruning"}
    with pytest.raises(InputError, match="unknown section 'tables'"):
        plan.only("tables")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("variants: [resnet19]", "unknown variant 'resnet19'"),
        (
            "grids: {epsilon: {variants: [plain_capacity], attacks: {fgsm: {}}}}",
            "profile 'tiny', grids.epsilon: 'plain_capacity' is not among the profile's variants",
        ),
        ("grids: {epsilon: {attacks: {mine: {}}}}", "unknown attack 'mine'"),
        ("grids: {epsilon: {attacks: {pgd: {step: 3}}}}", "attack 'pgd' takes no setting 'step'"),
        (
            "grids: {epsilon: {eps: [0.1], attacks: {bim: {steps: 9, step_size: 0.01}}}}",
            r"profile 'tiny', grids.epsilon: bim cannot reach its ε: 9 steps of 0.01 reach 0.09, and ε = 0.1 takes 0.1",
        ),
        (
            "grids: {epsilon: {eps: [0.1], attacks: {pgd: {steps: 10, step_size: 0.01}}}}",
            "pgd cannot reach its ε: 10 steps of 0.01 reach 0.1, and ε = 0.1 from a random start takes 0.2: use",
        ),
        (
            "saliency: {pgd: {steps: 5, step_size: 0.01}}",
            "profile 'tiny', saliency: pgd cannot reach its ε: .*, leave step_size out, or say allow_short_reach: true",
        ),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, change: str, message: str) -> None:
    key = change.split(":")[0]
    lines, skipping = [], False
    for line in TINY.splitlines():
        skipping = (skipping and line.startswith(" ")) or line.startswith(f"{key}:")
        if not skipping:
            lines.append(line)
    path = tmp_path / "bad.yaml"
    path.write_text("\n".join([*lines, change]))
    with pytest.raises(InputError, match=message):
        make_plan(load_profile(str(path)), RunOptions(tmp_path))


def test_a_step_size_that_is_left_out_is_set_for_each_epsilon_and_a_short_one_may_be_allowed(
    profile: Profile, tmp_path: Path
) -> None:
    """Two steps of the paper's .01 reach .02, so 2.5 ε / 2 is taken; forty reach .4, twice .05 and twice .10."""
    short = {"attacks": {"pgd": {"steps": 2, "step_size": 0.001}}, "allow_short_reach": True}
    left_out = {"attacks": {"pgd": {"steps": 2}, "bim": {}}}
    set_by_rule = {("pgd", 0.05): 0.0625, ("pgd", 0.1): 0.125, ("bim", 0.05): 0.01, ("bim", 0.1): 0.01}
    as_given = {("pgd", 0.05): 0.001, ("pgd", 0.1): 0.001}
    for given, expected in ((left_out, set_by_rule), (short, as_given)):
        grid = GridSettings.model_validate({"eps": [0.05, 0.1], **given})
        plan = make_plan(profile.model_copy(update={"grids": {"epsilon": grid}}), RunOptions(tmp_path))
        steps = {
            (cell.settings["attack"], cell.settings["eps"]): cell.settings["attack_settings"]["step_size"]
            for cell in plan.cells
            if cell.section == "epsilon" and cell.settings["attack"] != "clean"
        }
        assert steps == expected


@pytest.mark.parametrize(
    ("given", "step"),
    [
        ({}, 0.01),  # the paper's 40 steps
        ({"steps": 5}, 0.025),
        ({"steps": 5, "eps": 0.02}, 0.01),
        ({"steps": 6, "step_size": 0.02}, 0.02),
    ],
)
def test_the_step_size_of_saliency_is_set_by_the_same_rule(
    profile: Profile, given: dict[str, Any], step: float, tmp_path: Path
) -> None:
    """The key holds the number, so a profile that leaves it out has the cells of one that gives it."""
    whole = {"eps": 0.05, "steps": 40, **given, "step_size": step}
    cells = []
    for pgd in (given, whole):
        saliency = SaliencySettings.model_validate({"pgd": pgd})
        plan = make_plan(profile.model_copy(update={"saliency": saliency}), RunOptions(tmp_path))
        cells.append([cell for cell in plan.cells if cell.kind == "saliency"])
        assert all(cell.settings["pgd"] == whole for cell in cells[-1])
    assert [cell.key for cell in cells[0]] == [cell.key for cell in cells[1]] != []


def test_a_grid_may_be_for_some_seeds_only(profile: Profile, tmp_path: Path) -> None:
    grids = {**profile.grids, "pruning": profile.grids["pruning"].model_copy(update={"seeds": [1]})}
    plan = make_plan(profile.model_copy(update={"seeds": [0, 1], "grids": grids}), RunOptions(tmp_path))
    assert {cell.settings["seed"] for cell in plan.cells if cell.section == "pruning"} == {1}
    assert {cell.settings["seed"] for cell in plan.cells if cell.section == "epsilon"} == {0, 1}


def test_status_names_what_is_missing_damaged_and_stale(
    profile: Profile, unbroken: tuple[Plan, RunOptions], tmp_path: Path
) -> None:
    plan, options = unbroken
    folder = tmp_path / "tiny"
    shutil.copytree(options.folder, folder)
    attacks = [cell for cell in plan.cells if cell.section == "epsilon"]
    (folder / "cells" / f"{attacks[0].key}.json").unlink()
    (folder / "cells" / f"{attacks[1].key}.json").write_text("{")
    parts = {part.part: part for part in run_status(plan, folder).parts}
    assert (parts["epsilon"].missing, parts["epsilon"].damaged) == (1, 1)
    assert parts["epsilon"].done == len(attacks) - 2
    assert not any(part.stale for part in parts.values())

    longer = profile.training.model_copy(update={"epochs": 3})
    changed = make_plan(profile.model_copy(update={"training": longer}), options)
    stale = {part.part: dict(part.stale) for part in run_status(changed, options.folder).parts}
    assert stale["train"] == {"training.epochs": 2}
    assert stale["pruning"] == {"its model": 8}
    assert stale["data"] == {}


def test_status_counts_the_processors_that_cells_were_computed_with(
    unbroken: tuple[Plan, RunOptions], tmp_path: Path
) -> None:
    plan, options = unbroken
    shutil.copytree(options.folder / "cells", tmp_path / "cells")
    (here,) = run_status(plan, tmp_path).processors
    assert here.endswith(f", {torch.backends.cpu.get_cpu_capability()}")
    store = RecordStore(tmp_path)
    result = store.get(plan.cells[-1].key)
    assert result is not None
    hardware = result.provenance["hardware"] | {"cpu": "another", "instructions": "AVX512"}
    store.put(replace(result, provenance=result.provenance | {"hardware": hardware}))
    assert run_status(plan, tmp_path).processors == {here: len(plan.cells) - 1, "another, AVX512": 1}


def test_an_adopted_record_of_another_cell_is_computed_again(
    unbroken: tuple[Plan, RunOptions], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is adopted has no settings to compare with its key, but its records say what was asked."""
    plan, options = unbroken
    attack = next(cell for cell in plan.cells if cell.settings.get("attack") == "pgd")
    found = RecordStore(options.folder).get(attack.key)
    assert found is not None
    for change in ({}, {"attack": "fgsm"}, {"seed": 1}, {"eps": 0.5}, {"n": 7}, {"data_fingerprint": "0"}):
        records = [{**record, **change} for record in found.records]
        RecordStore(tmp_path).put(CellResult(attack.key, records, {}))
        lacking = {cell.key for cell in missing(plan, RecordStore(tmp_path))}
        assert (attack.key in lacking) is bool(change)
        assert all(f"{name} " in caplog.text for name in change)
        caplog.clear()


def test_status_sees_a_run_in_progress(unbroken: tuple[Plan, RunOptions]) -> None:
    plan, options = unbroken
    assert not run_status(plan, options.folder).running
    with (options.folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert run_status(plan, options.folder).running


def test_more_classes_than_a_record_can_write_are_refused(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record writes a class as one character, 0 to 9 and a to z."""
    from meddef.evaluation import plan as planning

    splits = planning.splits_of

    def many(*given: object, **named: object) -> object:
        return replace(splits(*given, **named), classes=tuple(f"class {i}" for i in range(37)))  # type: ignore[arg-type]

    monkeypatch.setattr(planning, "splits_of", many)
    with pytest.raises(InputError, match="has 37 classes, and records of a profile hold at most 36"):
        make_plan(profile, RunOptions(tmp_path))
