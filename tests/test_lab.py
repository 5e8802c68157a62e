"""The laboratory: each switch does what it says, tables are put together from columns, signatures are counted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from meddef.attacks import bim, fgsm, pgd
from meddef.data import ImageSet, Splits
from meddef.laboratory import broken, experiment, signatures
from meddef.laboratory.broken import Switches, craft
from meddef.laboratory.defects import BY_NAME, COLUMNS, DEFECTS
from meddef.laboratory.models import Subject, network
from meddef.laboratory.signatures import EpsilonTable, shares, similarity
from meddef.laboratory.tables import Case, assemble, cases, of_the_paper, read, recorded
from meddef.models import Normalized
from meddef.printed.published import ATTACKS, EPSILONS, Published

EPS = 0.05
MEAN, STD = 0.4, 0.25


def model(seed: int = 0) -> Normalized:
    torch.manual_seed(seed)
    return Normalized(network(2), MEAN, STD).eval()


def batch(n: int = 7, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, 32, 32, generator=generator), torch.arange(n).remainder(3).clamp(max=1)


def pixels(standardised: Tensor) -> Tensor:
    return standardised * STD + MEAN


def made(attack: str = "bim", eps: float = EPS, **switches: bool) -> Tensor:
    return craft(model(), *batch(), attack=attack, eps=eps, switches=Switches(**switches))


def loss(standardised: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(model().network(standardised), labels)


@pytest.mark.parametrize("attack", ["fgsm", "bim", "pgd"])
def test_without_a_switch_the_attacks_are_those_of_the_package(attack: str) -> None:
    settings = {"eps": EPS, "step_size": broken.STEP * EPS, "steps": broken.STEPS}
    sound = {
        "fgsm": lambda: fgsm(model(), *batch(), eps=EPS),
        "bim": lambda: bim(model(), *batch(), **settings),
        "pgd": lambda: pgd(model(), *batch(), generator=torch.Generator().manual_seed(0), **settings),
    }[attack]()
    apart = (
        pixels(made(attack)) - sound
    ).abs() > 1e-5  # the sign of a gradient near zero may differ by rounding
    assert apart.double().mean() < 0.01


def test_clamping_standardised_images_loses_what_lies_below_the_mean() -> None:
    found = made(clamp_normalised=True)
    assert found.min() == 0
    assert found.max() <= 1


def test_eps_in_standardised_units_is_smaller_in_pixels() -> None:
    change = (pixels(made(eps_normalised=True)) - batch()[0]).abs().max().item()
    assert change == pytest.approx(EPS * STD, rel=1e-3)


def test_descending_lowers_the_loss_and_ascending_raises_it() -> None:
    images, labels = batch()
    before = loss((images - MEAN) / STD, labels)
    assert loss(made(descend=True), labels) < before < loss(made(), labels)


def test_one_label_pushes_every_image_from_the_rarest_class() -> None:
    images, labels = batch()
    rarest = torch.full_like(labels, 0)  # of 0 1 1 0 1 1 0, class 0 has three
    start = (images - MEAN) / STD
    found = made(one_label=True)
    assert loss(found, rarest) > loss(start, rarest)
    assert loss(found, 1 - rarest) < loss(start, 1 - rarest)


@pytest.mark.parametrize("eps", [0.05, 0.1])
def test_a_short_reach_is_the_same_number_of_pixels_at_every_eps(eps: float) -> None:
    images, _ = batch()
    steps = broken.SHORT_STEPS * broken.SHORT_STEP
    bim = pixels(made("bim", eps, short_reach=True))
    assert (bim - images).abs().max().item() == pytest.approx(steps, rel=1e-4)
    noise = 2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) - 1
    start = (images + eps * noise).clamp(0, 1)
    pgd = pixels(made("pgd", eps, short_reach=True))
    assert (pgd - start).abs().max().item() == pytest.approx(steps, rel=1e-4)
    assert torch.equal(made("fgsm", eps, short_reach=True), made("fgsm", eps))


def test_training_mode_is_seen_by_the_attack_alone() -> None:
    trained = model().train()
    found = craft(trained, *batch(), attack="fgsm", eps=EPS, switches=Switches(train_mode=True))
    assert not torch.equal(found, made("fgsm"))
    assert set(experiment.SWITCHES) == set(Switches.__dataclass_fields__)


def image_set(n: int, seed: int) -> ImageSet:
    generator = np.random.default_rng(seed)
    grey = generator.integers(0, 256, (n, 32, 32), dtype=np.uint8)
    labels = (np.arange(n) % 3 > 0).astype(np.int64)
    return ImageSet(grey, labels, tuple(map(str, range(n))), tuple(map(str, range(n))))


@pytest.fixture(scope="module")
def records() -> list[dict]:
    """Every defect on an untrained model and nine images, batches of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "BATCH", 4)
        patch.setitem(experiment.JSMA, "max_steps", 4)
        splits = SimpleNamespace(test=image_set(9, 0), train=image_set(12, 1))
        bench = experiment.Bench(splits, Subject("s", model(), model(1), model(2)))  # type: ignore[arg-type]
        return [
            experiment._record("d", "s", defect, attack, eps, right)
            for defect in BY_NAME
            for attack, eps, right in bench.table(defect)
        ]


def cell(records: list[dict], defect: str, attack: str, eps: float) -> dict:
    (found,) = [r for r in records if (r["defect"], r["attack"], r["eps"]) == (defect, attack, eps)]
    return found


def test_of_real_images_some_are_taken_at_random_and_keep_their_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = image_set(60, 2)
    asked = {}

    def loaded(name: str, **settings: object) -> Splits:
        asked.update(settings)
        return Splits(name, ("a", "b"), whole, whole, whole, 0.5, 0.2, "f", {})

    monkeypatch.setattr(experiment, "load_splits", loaded)
    monkeypatch.setattr(experiment, "REAL_SIZES", {"train": 50, "val": 40, "test": 90})
    splits = experiment.load("chest_xray", None)
    assert asked["sizes"] is None
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [50, 40, 60]
    for row, name in enumerate(splits.train.names):
        assert np.array_equal(splits.train.images[row], whole.images[int(name)])
        assert splits.train.labels[row] == whole.labels[int(name)]
    assert splits.train.names != whole.names[:50]


def test_every_defect_records_the_columns_it_changes(records: list[dict]) -> None:
    for defect in DEFECTS:
        columns = {record["attack"] for record in records if record["defect"] == defect.name}
        assert columns == set(defect.columns)
    assert {r["attack"] for r in records if r["defect"] == "sound"} == {"clean", *COLUMNS}


def test_what_needs_no_model_is_known_by_hand(records: list[dict]) -> None:
    assert cell(records, "collapse", "pgd", 0.05)["right"] == 6  # six of nine are of class 1
    clean = cell(records, "sound", "clean", 0.0)
    assert cell(records, "exception", "bim", 0.1)["right"] == clean["right"]
    assert len({cell(records, "sound", "jsma", eps)["right"] for eps in EPSILONS}) == 1
    averaged = cell(records, "batch_average", "fgsm", 0.05)
    assert averaged["right"] is None


def test_batches_count_alike_in_an_average_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "BATCH", 4)
    right = np.array([1, 1, 1, 1, 0], dtype=bool)
    assert experiment._record("d", "m", "batch_average", "fgsm", 0.1, right)["accuracy"] == "50.00"
    assert experiment._record("d", "m", "sound", "fgsm", 0.1, right)["accuracy"] == "80.00"


def test_a_case_takes_each_column_from_its_defect(records: list[dict]) -> None:
    case = Case((("pgd", "exception"), ("jsma", "sign_steps_as_jsma")), "")
    table = assemble(records, "d", "s", case)
    assert table.column("pgd") == [float(cell(records, "sound", "clean", 0.0)["accuracy"])] * 3
    steps = [float(cell(records, "sign_steps_as_jsma", "jsma", eps)["accuracy"]) for eps in EPSILONS]
    assert table.column("jsma") == steps
    assert table.column("bim") == [float(cell(records, "sound", "bim", eps)["accuracy"]) for eps in EPSILONS]
    assert (table.n, table.prior) == (9, 66.67)
    labels = [case.label for case in cases()]
    assert len(labels) == len(set(labels))


def table(clean: float = 90, n: int = 100, prior: float = 70, **columns: list[float]) -> EpsilonTable:
    """A sound-looking table with some columns replaced."""
    usual = {"fgsm": [80, 60, 40], "pgd": [78, 40, 10], "bim": [78, 41, 11], "jsma": [50, 50, 50]} | columns
    printed = {
        (attack, eps): f"{value:.2f}"
        for attack in ATTACKS
        for eps, value in zip(EPSILONS, usual[attack], strict=True)
    }
    return EpsilonTable(f"{clean:.2f}", printed, n, prior)


def shown(table: EpsilonTable) -> set[str]:
    return {signature.__name__ for signature in signatures.SIGNATURES if signature(table)}


SOUND = {"bim_falls", "bim_below_fgsm"}


@pytest.mark.parametrize(
    ("columns", "more", "fewer"),
    [
        ({}, set(), set()),
        ({"pgd": [78, 85, 89]}, {"pgd_rises", "pgd_above_fgsm", "bim_and_pgd_apart", "stops_falling"}, set()),
        ({"pgd": [91, 40, 10]}, {"pgd_above_clean", "bim_and_pgd_apart"}, set()),
        ({"jsma": [79, 61, 44]}, {"jsma_depends_on_epsilon", "jsma_follows_fgsm"}, set()),
        (
            {"bim": [90, 90, 90]},
            {"nothing_happens", "bim_and_pgd_apart", "stops_falling", "bim_above_fgsm"},
            SOUND,
        ),
        (
            {"pgd": [79, 76, 75], "bim": [79, 75, 75]},
            {"pgd_above_fgsm", "stops_falling", "bim_above_fgsm"},
            SOUND,
        ),
        ({"bim": [80, 65, 47]}, {"bim_and_pgd_apart", "bim_above_fgsm"}, {"bim_below_fgsm"}),
        ({"fgsm": [60, 9, 4], "pgd": [50, 9, 9], "bim": [50, 9, 9]}, set(), set()),
        ({"fgsm": [80, 70, 70], "jsma": [70, 70, 70]}, {"stops_at_the_prior"}, set()),
        ({"fgsm": [80.5, 60, 40]}, {"not_attainable"}, set()),
    ],
)
def test_signatures_by_hand(columns: dict, more: set[str], fewer: set[str]) -> None:
    assert shown(table(**columns)) == (SOUND | more) - fewer


def test_similarity_by_hand() -> None:
    rising = table(pgd=[78, 85, 89])
    assert similarity([table()], [table()]) == 1
    assert similarity([table()], [rising]) == pytest.approx(1 - 4 / 13)
    assert similarity([table(), rising], [rising]) == pytest.approx(1 - 2 / 13)
    assert similarity([table()], [rising], signatures.FIRST) == pytest.approx(1 - 3 / 11)


def test_the_paper_s_tables_show_what_they_print() -> None:
    paper = of_the_paper(Published())
    assert [len(own) for own in paper.values()] == [5, 5]
    assert paper["roct"][0].column("pgd") == [95.45, 100.0, 100.0]
    assert paper["roct"][0].n == 968
    names = [signature.__name__ for signature in signatures.SIGNATURES]
    roct = dict(zip(names, shares(paper["roct"]), strict=True))
    assert roct["bim_falls"] == 0.8  # the baseline's is 0.00 throughout
    assert roct["jsma_depends_on_epsilon"] == 1.0


def test_published_records_hold_every_cell(pytestconfig: pytest.Config) -> None:
    rows = read(Path(pytestconfig.rootpath))
    subjects = {(row["dataset"], row["model"]) for row in rows}
    expected = {("clean", 0.0)} | {(attack, eps) for attack in ATTACKS for eps in EPSILONS}
    for subject in subjects:
        own = [row for row in rows if (row["dataset"], row["model"]) == subject]
        assert {(r["attack"], r["eps"]) for r in own if r["defect"] == "sound"} == expected
        for name in {row["defect"] for row in own} - {"sound"}:
            columns = {(c, e) for c, e in expected if c in BY_NAME[name].columns}
            assert {(r["attack"], r["eps"]) for r in own if r["defect"] == name} == columns
    assert all(
        row["right"] is None or f"{100 * row['right'] / row['n']:.2f}" == row["accuracy"] for row in rows
    )


def test_published_records_hold_every_defect(pytestconfig: pytest.Config) -> None:
    rows = read(Path(pytestconfig.rootpath))
    assert [recorded(rows, dataset) for dataset in {row["dataset"] for row in rows}] == [set(BY_NAME)] * 3
