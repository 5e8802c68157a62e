"""The ensemble beside the public AutoAttack: budgets against the code, the record, and what the page makes of it."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_models import cnn, images, labels_of
from torch import Tensor, nn

from meddef.attacks import ensemble
from meddef.attacks.ensemble import in_turn, members
from meddef.book import autoattack as page
from meddef.data import CARDS
from meddef.settings import load_profile
from tests.bench import autoattack as bench
from tests.bench import autoattack_missed, peers
from tests.bench.public_autoattack import budget, standard
from tests.bench.workload import bands, defended

ROOT = Path(__file__).resolve().parents[1]
RECORD = json.loads((ROOT / page.PLACE).read_text(encoding="utf-8"))
STANDARD = {  # section 5 of Croce & Hein 2020, and nine targets as in its later version
    "apgd-ce": {"steps": 100, "restarts": 1},
    "apgd-t": {"steps": 100, "restarts": 1, "targets": 9},
    "fab-t": {"steps": 100, "restarts": 1, "targets": 9},
    "square": {"queries": 5000, "restarts": 1},
}
needs_peer = pytest.mark.skipif(peers.load("pyautoattack") is None, reason="pyautoattack is not installed")


# Who fooled an image


def nudge(model: nn.Module, x: Tensor, labels: Tensor, *, which: int, **_: object) -> Tensor:
    """Fools ``sum > 0`` on images whose first pixel is ``which``."""
    return torch.where(x[:, :1, :1, :1] == which, -x, x)


class Positive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([-total, total], 1)


def test_each_image_names_the_first_that_fooled_it() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None, None].expand(4, 1, 2, 2).clone()
    labels = torch.tensor([1, 1, 1, 0])
    order = {
        "one": partial(nudge, which=2),
        "other": partial(nudge, which=1),
        "again": partial(nudge, which=2),
    }
    adv, by = in_turn(Positive(), x, labels, lambda _: order, radius=torch.ones(4))
    assert by.tolist() == [2, 1, -1, 0]
    assert (adv.flatten(1).sum(1) > 0).tolist() == [False, False, True, True]


@pytest.mark.parametrize("classes", [2, 4])
def test_the_ensemble_is_its_members_in_turn(classes: int) -> None:
    model, x = cnn(3, classes), images(8)
    labels = labels_of(model, x)
    labels[0] = (labels[0] + 1) % classes
    few = partial(members, steps=4, queries=6)
    adv, by = in_turn(model, x, labels, few, radius=torch.full((8,), 0.02), seed=3)
    assert torch.equal(adv, ensemble(model, x, labels, eps=0.02, steps=4, queries=6, seed=3))
    assert torch.equal(model.eval()(adv).argmax(1) != labels, by >= 0)
    assert by[0] == 0


# Budgets


class Resists(nn.Module):
    """Right wherever it looks, with a gradient; counts the images it sees."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.seen = classes, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        others = x.flatten(1).sum(1, keepdim=True) * torch.linspace(0.01, 0.02, self.classes - 1)
        return torch.cat([torch.full((len(x), 1), 50.0), others], 1)


@pytest.mark.parametrize(
    "row", [row for row in RECORD["budgets"] if row["who"] in ("default", "first_edition")], ids=str
)
def test_an_image_that_resists_costs_what_the_table_says(row: dict[str, Any]) -> None:
    attacks, _ = bench.ensembles()[row["who"]]
    model = Resists(row["classes"]).eval()
    attack = attacks(row["classes"])[row["member"]]
    attack(model, torch.rand(1, 1, 4, 4), torch.tensor([0]), eps=torch.tensor([0.01]))
    targets = row["classes"] - 1 if row.get("targets", 0) is None else max(row.get("targets", 0), 1)
    passes = {"fab": 2}.get(row["member"], 1) * row.get("steps", row.get("queries")) * targets
    assert (
        0 <= model.seen - passes <= targets + 2
    )  # a check at the start of each run, and one for the targets


@pytest.mark.parametrize("who", ["default", "first_edition"])
def test_the_recorded_budgets_are_those_of_the_code(who: str) -> None:
    recorded = [row for row in RECORD["budgets"] if row["who"] == who]
    assert recorded == bench.budgets_of(who, bench.ensembles()[who][0]), (
        "run python -m tests.bench.autoattack"
    )


def test_the_public_budget_is_that_of_its_paper_and_ours_can_have_it() -> None:
    theirs = {row["member"]: row for row in RECORD["budgets"] if row["who"] == "autoattack"}
    shared = {name: {key: row[key] for key in STANDARD[name]} for name, row in theirs.items()}
    assert shared == STANDARD
    ours = {(row["classes"], row["member"]): row for row in RECORD["budgets"] if row["who"] == "same_budget"}
    assert {row["steps"] for (_, name), row in ours.items() if name not in ("pgd", "square")} == {100}
    assert {ours[classes, "square"]["queries"] for classes in (2, 4)} == {5000}


def test_the_profiles_take_the_default_which_missed_no_image() -> None:
    default = {
        row["member"]: row for row in RECORD["budgets"] if (row["who"], row["classes"]) == ("default", 2)
    }
    size = {"steps": default["apgd_margin"]["steps"], "queries": default["square"]["queries"]}
    for name in ("cpu", "cpu_oct", "cpu_patient", "gpu"):
        given = load_profile(name).grids["ensemble"].attacks["ensemble"]
        assert {key: given[key] for key in size} == size


def test_the_table_of_budgets_says_them_in_words() -> None:
    frame = page.budgets(RECORD["budgets"]).frame.set_index(["classes", "attack"])
    two, more = (frame.loc[group] for group in ("two classes", "four classes or more"))
    assert more.loc["APGD, targeted"].tolist() == [
        "100 steps × 9 targets (DLR)",
        "100 steps × (K\u00a0−\u00a01) targets (DLR)",
        "50 steps × (K\u00a0−\u00a01) targets (DLR)",
    ]
    assert more.loc["FAB"].tolist()[:2] == ["100 steps × 9 targets", "20 steps × (K\u00a0−\u00a01) targets"]
    assert two.loc["APGD"].tolist()[:2] == ["100 steps (cross-entropy)", "100 steps (margin)"]
    assert two.loc["Square"].tolist() == ["5,000 queries", "1,000 queries", "500 queries"]
    assert two.loc["PGD from the image"].tolist() == ["–", "10 steps", "10 steps"]
    assert "APGD, targeted" not in two.index
    again = [{**row, "restarts": 5} if row["member"] == "fab-t" else row for row in RECORD["budgets"]]
    assert "No restarts" in page.budgets(RECORD["budgets"]).caption
    assert "up to 5 times" in page.budgets(again).caption


# The record


@pytest.mark.parametrize("condition", page.conditions(RECORD["rows"]), ids=str)
def test_every_contestant_judged_the_same_images(condition: tuple[str, float]) -> None:
    rows = page.conditions(RECORD["rows"])[condition]
    assert set(rows) == set(page.WHO)
    assert len({(r["n"], r["labels"], r["classes"], r["data_fingerprint"]) for r in rows.values()}) == 1
    assert len({tuple(c == "0" for c in r["by"]) for r in rows.values()}) == 1
    for row in rows.values():
        assert row["dataset"] in CARDS
        assert len(row["by"]) == len(row["labels"]) == row["n"] >= 32
        assert set(row["by"]) <= {"-", *map(str, range(len(row["members"]) + 1))}
        assert 0 < row["linf"] <= row["eps"] + 1e-6
        assert row["seconds"] > 0


def test_the_record_says_where_it_comes_from() -> None:
    origin = RECORD["provenance"]
    assert origin["versions"]["pyautoattack"] == "0.2.0"
    assert not origin["dirty"]
    assert 8 / 255 in {row["eps"] for row in RECORD["rows"]}
    assert {row["classes"] for row in RECORD["rows"]} == {2, 4}


def test_the_images_looked_into_are_those_that_were_missed() -> None:
    looked = json.loads((ROOT / page.MISSED).read_text(encoding="utf-8"))["rows"]
    found = autoattack_missed.missed(RECORD["rows"])
    missed = {(row["dataset"], row["eps"], place) for row, places in found for place in places}
    assert {(row["dataset"], row["eps"], row["image"]) for row in looked} == missed
    assert all(0 <= row["fallen"] <= row["starts"] for row in looked)
    steps = {row["who"]: row["steps"] for row in RECORD["budgets"] if row["member"] == "apgd_margin"}
    assert all(row["steps"] == steps[row["who"]] for row in looked)


def test_a_missed_image_is_one_that_autoattack_alone_fools() -> None:
    rows = [{**ROW, "by": "01-1-"}, {**ROW, **OURS, "who": "first_edition", "by": "0--11"}]
    assert [places for _, places in autoattack_missed.missed(rows)] == [[1]]


# The page

ROW = {
    "dataset": "phantom_xray", "variant": "resnet18", "training": "adversarial",
    "eps": 8 / 255, "n": 6, "classes": 2, "seconds": 5.0, "who": "autoattack",
    "members": ["apgd-ce", "fab-t", "square"], "by": "01-1-3",
}  # fmt: skip
OURS = {"members": ["pgd", "apgd_margin", "fab", "square"]}


def rows(default: str, same: str = "01-1-4") -> list[dict[str, Any]]:
    return [
        ROW,
        {**ROW, **OURS, "who": "default", "by": default},
        {**ROW, **OURS, "who": "same_budget", "by": same},
    ]


def test_differences_are_counted_image_by_image_and_both_ways() -> None:
    assert page.disagreements(ROW, rows("0--11-")[1]) == (2, 1)
    assert page.disagreements(ROW, rows("02-2-4")[1]) == (0, 0)  # another attack, the same verdict
    told = page.summary(rows("0--11-"))
    assert "6 verdicts in total" in told
    assert "ensemble by default misses 2 that AutoAttack fools and fools 1 that AutoAttack misses" in told
    assert "AutoAttack's budget misses 0 that AutoAttack fools and fools 0 " in told
    assert "at ε = 8/255" in told


def test_what_decides_on_missed_images_is_added_up() -> None:
    head = {"dataset": "phantom_xray", "eps": 0.05, "starts": 8}
    told = page.why_missed(
        [
            {**head, "image": image, "steps": steps, "fast": fast, "fallen": image + fast + steps // 50}
            for image in (1, 2)
            for steps in (50, 100)
            for fast in (True, False)
        ]
    )
    assert "settings (2)" in told
    assert (
        "with 50 steps the attack succeeds from 7 of 16 random starts with gradients of the faster copy and from 5"
        in told
    )
    assert "with 100 steps the attack succeeds from 9 of 16" in told


def test_the_table_counts_who_was_first() -> None:
    frame = page.comparison(rows("0--11-")).frame.set_index("attacks")
    assert frame["correct after"].to_dict() == {
        "AutoAttack, standard": 2, "ensemble with AutoAttack's budget": 2, "ensemble by default": 3,
    }  # fmt: skip
    assert frame["fooled by"].tolist() == [
        "APGD 2, Square 1",
        "PGD from the image 2, Square 1",
        "PGD from the image 2",
    ]
    assert frame["correct before"].tolist() == [5, 5, 5]


def test_the_page_says_so_where_nothing_was_measured(tmp_path: Path) -> None:
    assert set(page.autoattack_page(tmp_path).values()) == {page.NOTHING}
    made = page.autoattack_page(ROOT)
    included = (ROOT / "book" / "definitions.md").read_text(encoding="utf-8")
    assert all(f"_generated/{name}" in included for name in made)
    assert "pyautoattack 0.2.0" in made["autoattack.md"]


# The peer itself


@needs_peer
def test_the_recorded_public_budget_is_that_of_the_package() -> None:
    assert bench.budgets() == RECORD["budgets"]
    assert set(budget()) == set(STANDARD)


@needs_peer
def test_its_attacks_in_turn_are_its_standard_version() -> None:
    model = defended(4, 32, 40)
    x, labels = bands(16, 4, 32, seed=0)
    package = peers.load("pyautoattack")
    suite = package.AutoAttack(model, norm="Linf", eps=0.05, seed=0, version="standard", device="cpu")
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = 3
    suite.square.n_queries = 30

    def fewer_queries(classes: int) -> dict[str, Any]:
        attacks = standard(model, classes, 0.05)
        attacks["square"].args[0].n_queries = 30
        return attacks

    whole, _ = suite.run_standard_evaluation(x, labels)
    _, by = in_turn(model, x, labels, fewer_queries, radius=torch.full((16,), 0.05))
    fooled = model(whole).argmax(1) != labels
    assert 0 < fooled.sum() < 16
    assert torch.equal(fooled, by >= 0)
