"""The readings of the paper that are compared: models changed from the outside, and the page made from records."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from meddef.laboratory.decisions import BUDGETS, TRAINED, attacked
from meddef.models import MedDef
from meddef.paper import DECISIONS, PROTOCOL
from meddef.report import decisions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def networks() -> dict[str, MedDef]:
    found = {}
    for name, (change, dropout) in TRAINED.items():
        torch.manual_seed(0)
        found[name] = MedDef(("afd", "mfe", "msf"), 2, dropout=dropout, pretrained=False)
        change(found[name])
    return found


def test_every_reading_has_as_many_parameters_and_the_same_starting_weights(networks: dict) -> None:
    taken = sorted(networks["taken"].state_dict().items(), key=lambda item: item[1].numel())
    for network in networks.values():
        other = sorted(network.state_dict().items(), key=lambda item: item[1].numel())
        assert [value.shape for _, value in other] == [value.shape for _, value in taken]
    for name in ("omega", "afd_order"):
        same = {k: v for k, v in networks[name].state_dict().items() if "gate.0" not in k}
        known = networks["taken"].state_dict()
        assert all(torch.equal(value, known[key]) for key, value in same.items())


def test_the_readings_compute_what_they_say(networks: dict) -> None:
    x = torch.randn(2, 512, 2, 2, generator=torch.Generator().manual_seed(0))
    module = networks["omega"].defense.eval()
    with torch.no_grad():
        fused = module.fusion(torch.cat([part(x) for part in module.components.values()], dim=1))
        assert torch.equal(module(x), x + fused * module.channel_attention(fused))
        assert not torch.equal(module(x), x + fused * module.channel_attention(x))
    gate = networks["afd_order"].defense.components["afd"].gate[0].eval()
    convolution, relu, norm = gate
    assert torch.equal(gate(x), norm(relu(convolution(x))))
    assert [type(part).__name__ for part in gate] == ["Conv2d", "ReLU", "BatchNorm2d"]
    assert float(networks["dropout"].fusion[2].p) == 0.2


@pytest.mark.parametrize("unit", [1.0, 0.2])
@pytest.mark.parametrize("eps", BUDGETS)
def test_pgd_of_the_decisions_can_cross_the_ball(
    eps: float, unit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, float] = {}

    def pgd(model: object, images: torch.Tensor, labels: torch.Tensor, **settings: float) -> torch.Tensor:
        given.update(settings)
        return images

    batch = (torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64))
    monkeypatch.setattr("meddef.laboratory.decisions.pgd", pgd)
    monkeypatch.setattr("meddef.laboratory.decisions._batches", lambda splits: [batch])
    attacked(SimpleNamespace(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), 0, eps, unit)
    assert given["eps"] == eps * unit
    assert given["steps"] * given["step_size"] >= 2 * given["eps"]


def test_every_decision_names_places_of_the_paper_and_a_known_measurement() -> None:
    places = (
        set(PROTOCOL["sections"]) | {f"table{n}" for n in range(1, 6)} | {f"fig{n}" for n in range(1, 18)}
    )
    assert len({d["id"] for d in DECISIONS}) == len(DECISIONS)
    assert {place for d in DECISIONS for place in d["places"]} <= places
    assert {d["measured"] for d in DECISIONS if "measured" in d} == {
        *(set(TRAINED) - {"taken"}), "pruning", "epsilon_space",
    }  # fmt: skip


def record(choice: str, after: str, **changes: object) -> dict:
    base = {
        "decision": "omega", "dataset": "phantom_oct", "seed": 0, "choice": choice, "attack": "pgd", "eps": 0.05,
        "prune_rate": 0.0, "n": 40, "right": after.count("0"), "labels": "0" * 40, "after": after,
        "data_fingerprint": "x",
    }  # fmt: skip
    return base | changes


def test_differences_are_other_minus_taken_on_the_same_images() -> None:
    records = [record("taken", "0" * 30 + "1" * 10), record("other", "0" * 10 + "1" * 30)]
    found = decisions.effects(records)["omega"]["phantom_oct"]["pgd", 0.05, 0.0]
    assert found.value == -50.0
    assert found.these_differ
    assert not found.is_clear
    row = decisions.table(records).frame.iloc[0]
    assert (row["taken (%)"].split("\n")[0], row["other (%)"].split("\n")[0]) == ("75.0", "25.0")
    assert row["p, corrected"].endswith("\nthese two\ntrainings differ")
    assert "these trainings differ in 1 of 1 conditions" in decisions.listing(records)
    assert "no verdict on a reading follows" in decisions.summary(records)


def test_with_three_trainings_of_each_reading_a_verdict_follows() -> None:
    records = [
        record(choice, "0" * right + "1" * (40 - right), seed=seed)
        for choice, counts in (("taken", (30, 31, 32)), ("other", (10, 11, 12)))
        for seed, right in enumerate(counts)
    ]
    found = decisions.effects(records)["omega"]["phantom_oct"]["pgd", 0.05, 0.0]
    assert (found.value, found.groups, found.verdict) == (-50.0, 2, "clear")
    assert "clear in 1 of 1 conditions" in decisions.listing(records)
    assert "no verdict" not in decisions.summary(records)


def test_readings_of_one_trained_model_are_paired_within_a_training() -> None:
    """How weights are pruned and what ε means are asked of the same weights; the rest is trained anew."""
    assert set(decisions.ONE_TRAINING) == {d["measured"] for d in DECISIONS if "measured" in d} - set(TRAINED)
    records = [record(c, "0" * 20 + "1" * 20, decision="pruning") for c in ("taken", "other")]
    assert decisions.effects(records)["pruning"]["phantom_oct"]["pgd", 0.05, 0.0].groups == 1


def test_the_page_says_so_where_nothing_was_measured(tmp_path: Path) -> None:
    pages = decisions.decisions_page(tmp_path)
    assert pages["decisions_measured.md"].startswith("The readings were not run")
    assert pages["decisions.md"].count("Not measured.") == len(DECISIONS)
    assert pages["decisions.md"].count("\n## ") == len(DECISIONS) - 1


@pytest.mark.skipif(not (ROOT / decisions.FOLDER).is_dir(), reason="results/decisions/ is not there")
def test_published_measurements_cover_every_decision_that_claims_one() -> None:
    page = decisions.decisions_page(ROOT)
    wanted = sum("measured" in d for d in DECISIONS)
    assert page["decisions.md"].count("Measured. ") == wanted
    assert "python -m meddef.laboratory.decisions" in page["decisions_measured.md"]


def test_the_page_does_without_torch() -> None:
    code = "import sys, meddef.report.decisions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_conditions_in_which_neither_reading_beats_one_answer_are_counted() -> None:
    """Of 40 images 30 show one class: 20 and 25 right are no more than that, 35 are."""
    labels = "0" * 30 + "1" * 10
    answers = {20: "0" * 20 + "1" * 10 + "0" * 10, 25: "0" * 25 + "1" * 5 + "0" * 10, 35: "0" * 35 + "1" * 5}

    def pair(taken: int, other: int, eps: float) -> list[dict]:
        made = {"labels": labels, "eps": eps}
        return [
            record("taken", answers[taken], right=taken, **made),
            record("other", answers[other], right=other, **made),
        ]

    low, high = pair(20, 25, 0.05), pair(20, 35, 0.1)
    assert "In 1 of the 2 conditions below neither reading" in decisions.summary([*low, *high])
    assert "neither reading" not in decisions.summary(high)
    row = decisions.table([*low, *high]).frame.iloc[0]
    assert row["constant classifier (%)"] == "75.0\nbalanced 50.0"
