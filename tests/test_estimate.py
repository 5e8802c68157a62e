"""The estimate of time before a run: work in passes, each at the speed of its precision."""

import pytest

from meddef.evaluation import estimate
from meddef.evaluation.cell import Cell
from meddef.settings import load_profile

TRAIN = Cell("train", "chest_xray", {"training": {"precision": "bf16"}}, work=300.0)
ATTACK = Cell("attack", "chest_xray", {"attack_settings": {"precision": "float32"}}, work=100.0)
DATA = Cell("data", "chest_xray", {"settings": {"name": "chest_xray"}}, work=7.0)


def test_each_cell_counts_at_the_speed_of_its_precision() -> None:
    assert [cell.precision for cell in (TRAIN, ATTACK, DATA)] == ["bf16", "float32", "float32"]
    per_pass = {"bf16": 0.5, "float32": 0.1}
    assert estimate.estimate_seconds([TRAIN, ATTACK, DATA], per_pass, jobs=2) == pytest.approx(
        (300 * 0.5 + 107 * 0.1) / 2
    )


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
