"""Cells of defences, universal perturbations and transfer: in the plan, run, resumed, refused. Phantoms at 32 px."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_profile import TINY

from meddef.errors import InputError
from meddef.evaluation import run
from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import Plan, RunOptions, make_plan
from meddef.evaluation.rivals import CONTROL
from meddef.evaluation.run import CellsFailed, missing, run_plan
from meddef.evaluation.task import Task
from meddef.records import RecordStore
from meddef.settings import Profile, load_profile
from meddef.smoke_test import trial

RIVALS = """
defenses:
  images: 4
  eps: [8/255]
  attacks: {pgd: {steps: 3}}
  fit_images: 8
  choices:
    bits: {defense: bit_depth, trainings: [clean]}
    pca: {defense: pca, settings: {components: 4}, trainings: [clean]}
    smooth:
      defense: smoothing
      settings: {samples: 8, draws: 2}
      trainings: [noise_25]
      certify: {images: 3, chosen_from: 8, samples: 16, alpha: 0.1, radii: [0.25], steps: 3}
universal: {images: 8, eps: [0.05], fit_images: 8, epochs: 3, trainings: [clean]}
transfer: {images: 8, eps: [8/255], attacks: {pgd: {steps: 3}}}
"""
SMALL = """
name: tiny
description: a test
image_size: 32
datasets:
  - {name: phantom_oct, split_policy: released, sizes: {train: 16, val: 8, test: 12}}
variants: [resnet18]
noisy: {resnet18: [noise_25]}
seeds: [3]
training: {epochs: 1, batch_size: 8}
grids: {}
"""


def profile(text: str, folder: Path) -> Profile:
    (folder / "tiny.yaml").write_text(text)
    return load_profile(str(folder / "tiny.yaml"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, RunOptions]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("rivals")
    options = RunOptions(folder / "run")
    plan = make_plan(profile(SMALL + RIVALS, folder), options)
    run_plan(plan, options, InlineExecutor(), inside=False)
    return plan, options


def of(done: tuple[Plan, RunOptions], kind: str) -> list[dict[str, Any]]:
    plan, options = done
    return [r for r in RecordStore(options.folder).collect(c.key for c in plan.cells) if r["kind"] == kind]


def test_other_cells_keep_their_keys(tmp_path: Path) -> None:
    options = RunOptions(tmp_path)
    plain = [cell.key for cell in make_plan(profile(TINY, tmp_path), options).cells]
    more = make_plan(profile(TINY + "noisy: {resnet18: [noise_12]}\n" + RIVALS, tmp_path), options).cells
    assert set(plain) < {cell.key for cell in more}
    assert len({cell.key for cell in more}) == len(more)


def test_every_attacker_leaves_a_record_whose_counts_add_up(done: tuple[Plan, RunOptions]) -> None:
    found = [r for r in of(done, "defense") if r["attacker"] != "certificate"]
    assert sorted((r["defense"], r["attacker"], r["training"]) for r in found) == sorted([
        *((d, a, "clean") for d in ("bits", "pca") for a in ("naive", "adaptive", "transfer")),
        *(("smooth", a, "noise_25") for a in ("naive", "adaptive", "transfer")),
        ("smooth", "adaptive", "noise_25"),  # L2
    ])  # fmt: skip
    for record in found:
        triples = list(zip(record["labels"], record["before"], record["after"], strict=True))
        assert record["correct_after"] == sum(label == after for label, _, after in triples)
        assert record["linf"] <= 8 / 255 + 1e-7 or record["settings"]["norm"] == "l2"
        told = any("ZeroGradientWarning" in warning for warning in record["warnings"])
        assert told == (record["attacker"] == "naive" and record["defense"] != "smooth")
    clean = {d: {r["before"] for r in found if r["defense"] == d and r["n"] == 4} for d in ("bits", "pca")}
    assert {len(answers) for answers in clean.values()} == {1}  # the same system, whoever attacks it


def test_certificates_are_recorded_an_image(done: tuple[Plan, RunOptions]) -> None:
    (record,) = (r for r in of(done, "defense") if r["attacker"] == "certificate")
    assert record["n"] == len(record["labels"]) == len(record["certified"]) == len(record["radius"]) == 3
    assert set(record["certified"]) <= set("0123-")
    assert all(
        (radius > 0) == (answer != "-")
        for radius, answer in zip(record["radius"], record["certified"], strict=True)
    )
    assert record["settings"] == {"chosen_from": 8, "samples": 16, "alpha": 0.1}
    assert record["defense_settings"]["seed"] == 3


def test_a_universal_perturbation_stands_beside_random_signs(done: tuple[Plan, RunOptions]) -> None:
    found = {r["method"]: r for r in of(done, "universal")}
    assert set(found) == {"sgd", CONTROL}
    for record in found.values():
        assert record["fooled"] == sum(b != a for b, a in zip(record["before"], record["after"], strict=True))
        assert record["linf"] <= 0.05 + 1e-7
    assert found["sgd"]["before"] == found[CONTROL]["before"]


def test_every_model_is_a_source_and_a_target(done: tuple[Plan, RunOptions]) -> None:
    found = {(r["source_training"], r["training"]): r for r in of(done, "transfer")}
    names = ("clean", "noise_25")
    assert set(found) == {(source, target) for source in names for target in names}
    for target in names:
        assert len({found[source, target]["before"] for source in names}) == 1
    (white,) = (c for c in done[0].cells if c.kind == "transfer" and c.needs == done[0].cells[1].key)
    assert white.requires[0] == white.needs
    assert set(white.requires) == {cell.key for cell in done[0].cells if cell.kind == "train"}


def test_a_run_that_lost_cells_ends_where_the_unbroken_one_ended(
    done: tuple[Plan, RunOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, options = done
    before = (options.folder / "records.jsonl").read_bytes()
    store = RecordStore(options.folder)
    assert missing(plan, store) == []
    lost = [cell for cell in plan.cells if cell.kind in ("transfer", "universal")]
    lost += [c for c in plan.cells if c.settings.get("attacker") in ("certificate", "adaptive")]
    for cell in lost:
        store.forget(cell.key)
    asked: list[str] = []
    task = run.run_task
    monkeypatch.setattr(run, "run_task", lambda t: (asked.extend(c.key for c in t.cells), task(t)))
    run_plan(plan, options, InlineExecutor(), inside=False)
    assert sorted(asked) == sorted(cell.key for cell in lost)
    assert (options.folder / "records.jsonl").read_bytes() == before


def test_a_transfer_waits_for_all_its_models_and_fails_with_any(
    done: tuple[Plan, RunOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = done
    order: list[str] = []

    def recorded(task: Task) -> None:
        order.append(task.cells[0].key)
        if order[-1] == fails:
            raise ArithmeticError("planted")

    monkeypatch.setattr(run, "run_task", recorded)
    trains = [cell.key for cell in plan.cells if cell.kind == "train"]
    for number, fails in enumerate([None, *trains]):
        order.clear()
        options = RunOptions(tmp_path / str(number))
        if fails is None:
            run_plan(plan, options, InlineExecutor(), inside=False, at_once=1, export=False)
        else:
            with pytest.raises(CellsFailed, match="its model was not trained: planted") as failure:
                run_plan(plan, options, InlineExecutor(), inside=False, at_once=1, export=False)
            assert str(failure.value).count("transfer phantom_oct") == 1  # both sources share a label
        for cell in plan.cells:
            blocked = fails in cell.requires
            assert (cell.key in order) != blocked
            assert blocked or all(order.index(key) < order.index(cell.key) for key in cell.requires)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("defense: bit_depth", "defense: bits", "unknown defence 'bits'"),
        ("components: 4", "component: 4", "takes no setting 'component'"),
        ("{defense: bit_depth, ", "{defense: bit_depth, certify: {}, ", "only smoothing is certified"),
        (
            "transfer: {images: 8, eps: [8/255], attacks: {pgd",
            "transfer: {attacks: {pdg",
            "unknown attack 'pdg'",
        ),
        (
            "{pgd: {steps: 3}}\n  fit",
            "{pgd: {steps: 3, step_size: 0.001}}\n  fit",
            "defenses: pgd cannot reach",
        ),
        ("noisy: {resnet18", "noisy: {resnet19", "unknown variant 'resnet19'"),
        ("choices:", "choice:", "defenses.choices: Field required"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (SMALL + RIVALS).replace(old, new)
    assert text != SMALL + RIVALS
    with pytest.raises(InputError, match=message) as failure:
        make_plan(profile(text, tmp_path), RunOptions(tmp_path))
    assert "\n" not in str(failure.value)


def test_a_trial_keeps_them_small(tmp_path: Path) -> None:
    small = trial(profile(SMALL + RIVALS, tmp_path))
    cells = make_plan(small, RunOptions(tmp_path)).cells
    assert {cell.kind for cell in cells} == {"data", "train", "attack", "defense", "universal", "transfer"}
    for cell in cells:
        if cell.kind in ("defense", "universal", "transfer"):
            assert cell.settings["images"] == 2
            numbers = json.loads(
                json.dumps([cell.settings["attack_settings"], cell.settings.get("defense_settings", {})])
            )
            assert all(
                part.get(k, 2) == 2 for part in numbers for k in ("steps", "samples", "draws", "chosen_from")
            )
