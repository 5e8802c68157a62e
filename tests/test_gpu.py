"""On a machine with a CUDA GPU: the attacks, the trainer and the engine keep their promises there too."""

import copy
from pathlib import Path

import pytest
import torch
from attack_models import (
    EPS,
    IN_EPS_BALL,
    QUICK,
    answers,
    assert_within,
    attack,
    cnn,
    images,
    labels_of,
    stripes,
    trained,
)
from tiny_profile import WITHOUT_MAPS

from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import RunOptions, make_plan
from meddef.evaluation.run import run_plan
from meddef.records import Record
from meddef.settings import load_profile

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")


@pytest.mark.parametrize("name", QUICK)
def test_an_attack_stays_on_the_gpu_and_in_its_bounds(name: str) -> None:
    model, x = cnn().cuda(), images().cuda()
    state = torch.cuda.get_rng_state()
    adv = attack(name, model, x, labels_of(model, x))
    assert adv.device == x.device
    assert torch.equal(torch.cuda.get_rng_state(), state)
    if name in IN_EPS_BALL:
        assert_within(adv, x, EPS)


@pytest.mark.parametrize("name", QUICK)
def test_an_attack_fools_on_the_gpu_what_it_fools_on_the_cpu(name: str) -> None:
    model, (x, labels) = trained(4), stripes(64, 4, 28, seed=1)
    there = attack(name, copy.deepcopy(model).cuda(), x.cuda(), labels.cuda()).cpu()
    here = attack(name, model, x, labels)
    fooled = [int((answers(model, adv) != labels).sum()) for adv in (there, here)]
    assert abs(fooled[0] - fooled[1]) <= 2


def test_a_profile_runs_twice_alike(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(WITHOUT_MAPS)
    profile = load_profile(str(tmp_path / "tiny.yaml"))

    def records(name: str) -> list[Record]:
        options = RunOptions(tmp_path / name, device="cuda")
        return run_plan(make_plan(profile, options), options, InlineExecutor(), inside=False)

    once, twice = records("once"), records("twice")
    assert len(once) == len(twice)
    outcome = [[record.get("after") for record in run] for run in (once, twice)]
    assert outcome[0] == outcome[1]
