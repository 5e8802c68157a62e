"""A number that moves needs a new version of its domain; a rewrite that moves none needs nothing."""

import ast
import importlib
import json
from pathlib import Path

import pytest
import torch
from golden import DOMAINS, PLACE, Digits, compute

import meddef.evaluation.cells as cells
from meddef.attacks import reach
from meddef.attacks.balls import L2Ball, LinfBall
from meddef.results_version import MODULES, NO_RESULTS, RESULTS_VERSION, versions

STORED = json.loads(PLACE.read_text(encoding="utf-8"))
PACKAGE = Path(cells.__file__).parents[1]


def moved(domain: str, digits: Digits) -> list[str]:
    """Names of the digits that are not those stored: more than processors differ, which is the fifth digit or so."""
    stored = STORED[domain]["digits"]
    close = {
        k: v == pytest.approx(stored.get(k), rel=1e-3, abs=1e-6) for k, v in digits.items() if k in stored
    }
    return [name for name in {**stored, **digits} if not close.get(name, False)]


@pytest.mark.parametrize("domain", DOMAINS)
def test_digits_move_only_with_a_new_version(domain: str) -> None:
    remedy = "then run 'python -m tests.golden'"
    assert STORED[domain]["version"] == RESULTS_VERSION[domain], f"{domain} has a new version: {remedy}"
    assert not moved(domain, compute(domain)), (
        f"results of {domain} moved: raise RESULTS_VERSION['{domain}'], {remedy}"
    )


def test_every_domain_has_a_golden_cell() -> None:
    assert set(DOMAINS) == set(RESULTS_VERSION) == set(STORED)
    with pytest.raises(KeyError):
        versions("attack")


def test_every_module_belongs_to_domains_or_moves_no_result() -> None:
    there = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    there -= {"__init__", "__main__"}
    listed = [*RESULTS_VERSION, *MODULES, *NO_RESULTS]
    assert sorted(listed) == sorted(there)  # each once
    assert {domain for domains in MODULES.values() for domain in domains} <= set(RESULTS_VERSION)


def test_another_order_of_test_images_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "TEST_ORDER_SEED", cells.TEST_ORDER_SEED + 1)
    assert moved("evaluation", compute("evaluation"))


def test_a_step_in_the_wrong_direction_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    step = LinfBall.step
    monkeypatch.setattr(LinfBall, "step", lambda self, x, gradient, size: step(self, x, -gradient, size))
    found = moved("attacks", compute("attacks"))
    assert {"bim loss", "pgd loss", "apgd loss"} <= set(found)
    assert "fab loss" not in found


def test_renaming_a_local_variable_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is independent of the code; the golden cell is not, and gives the same values."""
    source = (PACKAGE / "attacks" / "losses.py").read_text(encoding="utf-8")
    assert "ordered" in source
    namespace: dict[str, object] = {"__name__": "renamed"}
    exec(compile(ast.parse(source.replace("ordered", "descending")), "losses.py", "exec"), namespace)
    monkeypatch.setattr("meddef.attacks.losses.dlr", namespace["dlr"])
    assert not moved("attacks", compute("attacks"))


def test_digits_do_not_depend_on_who_computed_before() -> None:
    torch.manual_seed(123)
    torch.rand(10)
    assert not moved("models", compute("models"))


@pytest.mark.parametrize(
    ("domain", "place", "value"),
    [
        ("training", "meddef.training.epoch.VALIDATION_EPSILON", 0.02),
        ("training", "meddef.training.epoch.class_weights", lambda labels: torch.ones(4)),
        ("training", "meddef.training.augmentation.SHIFT_DIVISOR", 8),
        ("training", "meddef.training.trainer.ease_if_degraded", lambda *given: None),
        ("training", "meddef.training.schedule.AGGRESSIVE_EPOCHS", 20),
        ("training", "meddef.training.schedule.STEP_CAP", 0.002),
        ("attacks", "meddef.attacks.apgd.MOMENTUM", 0.8),
        ("audit", "meddef.statistics.CONFIDENCE", 0.99),
        ("attacks", "meddef.attacks.reach.REACH", 3.0),
        ("attacks", "meddef.attacks.reach.PAPER_STEP", 0.012),
    ],
)
def test_a_constant_of_a_rule_is_noticed(
    domain: str, place: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = place.rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, value)
    if place.endswith("PAPER_STEP"):  # bound as a default when the function was made
        monkeypatch.setitem(reach.step_size.__kwdefaults__, "paper_step", value)
    assert moved(domain, compute(domain))


def test_another_seed_of_an_attack_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = cells.bound_attack
    monkeypatch.setattr(cells, "bound_attack", lambda settings: bound({**settings, "seed": 0}))
    assert moved("evaluation", compute("evaluation")) == ["noise of the seed"]


def test_l2_in_the_wrong_direction_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    step = L2Ball.step
    monkeypatch.setattr(L2Ball, "step", lambda self, x, gradient, size: step(self, x, -gradient, size))
    assert {name.split(",")[0] for name in moved("attacks", compute("attacks"))} == {"pgd l2 loss"}
