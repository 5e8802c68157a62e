"""A number that moves needs a new version of its domain; a rewrite that moves none needs nothing."""

import ast
import json
from pathlib import Path

import pytest
import torch
from golden import DOMAINS, PLACE, Digits, compute

import meddef.evaluation.cells as cells
from meddef.attacks.balls import LinfBall
from meddef.results_version import RESULTS_VERSION, versions

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
    """The key does not look at the code; the golden cell does, and finds the same digits."""
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
