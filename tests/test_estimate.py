"""The estimate of time before a run: work in passes, each at the speed of its precision."""

from dataclasses import replace

import pytest

from meddef.evaluation import estimate
from meddef.evaluation.cell import Cell
from meddef.settings import load_profile

TRAIN = Cell("train", "chest_xray", {"training": {"precision": "bf16"}}, work=300.0)
UNPRUNED = {"prune_scope": "global", "prune_rate": 0.0}
ATTACK = Cell("attack", "chest_xray", {"attack_settings": {"precision": "float32"}, **UNPRUNED}, work=100.0)
DATA = Cell("data", "chest_xray", {"settings": {"name": "chest_xray"}}, work=7.0)


def test_each_cell_counts_at_the_speed_of_its_precision() -> None:
    assert [cell.precision for cell in (TRAIN, ATTACK, DATA)] == ["bf16", "float32", "float32"]
    per_pass = {"bf16": 0.5, "float32": 0.1}
    constant = 3 * (estimate.TASK_SECONDS + estimate.CELL_SECONDS)
    found = estimate.estimate_seconds([TRAIN, ATTACK, DATA], per_pass, jobs=1)
    assert found == pytest.approx(300 * 0.5 + 107 * 0.1 + constant)


def test_a_small_run_costs_its_start_and_no_run_is_shorter_than_a_training_and_the_attacks_on_its_model() -> (
    None
):
    per_pass = {"bf16": 0.1, "float32": 0.1}
    attacks = [replace(ATTACK, needs=TRAIN.key, settings={**ATTACK.settings, "eps": eps}) for eps in range(4)]
    once, each = estimate.TASK_SECONDS, estimate.CELL_SECONDS
    chain = (once + each + 30) + (once + 4 * (each + 10))
    for jobs in (1, 2, 8):  # nothing to share
        assert estimate.estimate_seconds([TRAIN, *attacks], per_pass, jobs) == pytest.approx(chain)
    others = [replace(TRAIN, settings={**TRAIN.settings, "seed": seed}) for seed in range(1, 9)]
    everything = [TRAIN, *attacks, *others]
    shared = (chain + 8 * (once + each + 30)) / 2
    found = estimate.estimate_seconds(everything, per_pass, 2, starts_workers=True)
    assert found == pytest.approx(estimate.START_SECONDS + shared)
    assert estimate.estimate_seconds([], per_pass, 2, starts_workers=True) == 0
    nothing = replace(DATA, work=0.0)
    assert estimate.estimate_seconds([nothing], per_pass, 1) == pytest.approx(once + each)


def test_only_the_precisions_that_are_asked_for_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    monkeypatch.setattr(
        estimate, "seconds_per_pass", lambda profile, device, precision: timed.append(precision) or 0.1
    )
    profile = load_profile("smoke")
    assert estimate.pass_seconds([ATTACK], profile, "cpu") == {"float32": 0.1}
    assert estimate.pass_seconds([TRAIN, ATTACK], profile, "cpu") == {"bf16": 0.1, "float32": 0.1}
    assert timed == ["float32", "bf16", "float32"]


@pytest.mark.parametrize(("bf16", "warns"), [(2.0, True), (0.05, False)])
def test_a_machine_where_bfloat16_does_not_pay_is_told(bf16: float, warns: bool) -> None:
    said = estimate.speed({"float32": 0.1, "bf16": bf16})
    assert "10 passes per second measured here in float32" in said
    assert ("bf16 is slower here" in said) == warns


def test_a_pass_is_timed_in_either_precision() -> None:
    profile = load_profile("smoke").model_copy(update={"batch_size": 1, "image_size": 32})
    assert estimate.seconds_per_pass(profile, "cpu", "float32") > 0
    assert estimate.seconds_per_pass(profile, "cpu", "bf16") > 0


def test_workers_of_one_machine_share_its_gpu_and_those_of_a_cluster_do_not() -> None:
    assert [estimate.sharing(8, device, None) for device in ("cpu", "cuda", "cuda:1")] == [8, 1, 1]
    assert estimate.sharing(8, "cuda", "tcp://host:8786") == 8
