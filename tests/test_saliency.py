"""Saliency measures by hand: toy models whose pixels' worth is known, maps whose likeness is known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from report_records import data_record, provenance, saliency_record
from tiny_profile import TINY
from torch import Tensor, nn

from meddef.data.images import ImageSet
from meddef.data.splits import Splits
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import run_saliency
from meddef.evaluation.plan import RunOptions, make_plan
from meddef.figures import saliency as figures
from meddef.models import build_model
from meddef.report import saliency
from meddef.report.report import Report
from meddef.report.saliency_measures import estimates
from meddef.saliency import blurred, class_means, rank_correlation, removal_area, top_overlap
from meddef.saliency.maps import random_maps
from meddef.saliency.measure import measure_saliency
from meddef.settings import SaliencyAttackSettings, SaliencySettings, load_profile

WORTH = np.array([4.0, 3.0, -2.0, 1.0])
FAST = SaliencySettings(
    images=12, layer="layer2", removal_steps=2, pgd=SaliencyAttackSettings(steps=1, step_size=0.1)
)


class Worth(nn.Module):
    """Logits (0, sum of worth times pixel) of images (N, 1, 2, 2)."""

    def forward(self, images: Tensor) -> Tensor:
        score = images.flatten(1) @ torch.tensor(WORTH, dtype=images.dtype)
        return torch.stack([torch.zeros_like(score), score], dim=1)


def area(order: tuple[int, ...], *, insert: bool = False) -> float:
    """Deletion or insertion of a white 2 x 2 image against a black one, a pixel a step, in ``order``."""
    heat = np.zeros(4)
    heat[list(order)] = [4, 3, 2, 1]
    white, black = torch.ones(1, 1, 2, 2, dtype=torch.float64), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    start, end = (black, white) if insert else (white, black)
    return float(removal_area(Worth(), start, end, heat.reshape(1, 2, 2), torch.tensor([1]), steps=4)[0])


def test_deletion_and_insertion_by_hand() -> None:
    sigmoid = lambda score: 1 / (1 + np.exp(-score))  # noqa: E731
    # white: 4 + 3 - 2 + 1 = 6; pixel by pixel gone: 2, -1, -2, 0 (the last two in the order worth 1, then -2)
    points = sigmoid(np.array([6, 2, -1, -2, 0.0]))
    assert area((0, 1, 3, 2)) == pytest.approx((points[0] / 2 + points[1:4].sum() + points[4] / 2) / 4)
    points = sigmoid(np.array([0, 4, 7, 8, 6.0]))
    assert area((0, 1, 3, 2), insert=True) == pytest.approx(
        (points[0] / 2 + points[1:4].sum() + points[4] / 2) / 4
    )


def test_the_order_of_worth_has_least_deletion_and_most_insertion() -> None:
    orders = list(itertools.permutations(range(4)))
    best = (0, 1, 3, 2)
    assert min(orders, key=area) == best
    assert max(orders, key=lambda order: area(order, insert=True)) == best
    # what is deleted last is inserted first in the reverse order
    assert area(best) == pytest.approx(area(best[::-1], insert=True))


def test_blur_takes_detail_and_keeps_the_mean() -> None:
    images = torch.zeros(1, 3, 40, 40)
    images[..., 18:22, 18:22] = 1
    soft = blurred(images)
    assert soft.shape == images.shape
    assert float(soft.max()) < 0.2
    assert float(soft.mean()) == pytest.approx(float(images.mean()), rel=1e-3)


def test_agreement_of_a_map_with_itself_with_its_reverse_and_with_noise() -> None:
    heat = np.random.default_rng(0).random((64, 64))
    shuffled = np.random.default_rng(1).permutation(heat.ravel()).reshape(64, 64)
    assert rank_correlation(heat, heat**3) == pytest.approx(1)
    assert rank_correlation(heat, -heat) == pytest.approx(-1)
    assert abs(rank_correlation(heat, shuffled)) < 0.05
    assert top_overlap(heat, heat**3) == 1
    assert top_overlap(heat, -heat) == 0
    assert top_overlap(heat, shuffled) == pytest.approx(0.04 / 0.36, abs=0.03)  # two fifths at random
    assert np.isnan(rank_correlation(heat, np.zeros((64, 64))))
    assert np.isnan(top_overlap(np.ones((64, 64)), heat))


def test_random_maps_are_as_coarse_as_the_layer() -> None:
    coarse, fine = (random_maps(20, 64, layer=layer, seed=0) for layer in ("layer4", "layer2"))
    assert coarse.shape == (20, 64, 64)
    assert np.abs(np.diff(coarse)).mean() < np.abs(np.diff(fine)).mean() / 3
    assert not np.array_equal(coarse[0], coarse[1])


def test_class_means_by_hand_and_none_of_few_images() -> None:
    heats = np.stack([np.full((32, 32), value, dtype=np.float32) for value in np.linspace(0, 1, 9)])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    (mean,) = class_means(heats, labels)
    assert (mean["label"], mean["n"]) == (0, 5)
    np.testing.assert_allclose(mean["map"], np.full((16, 16), 0.25))


def some_images(count: int, classes: int) -> ImageSet:
    grey = np.random.default_rng(0).integers(0, 256, (count, 32, 32), dtype=np.uint8)
    names = tuple(map(str, range(count)))
    return ImageSet(grey, np.arange(count, dtype=np.int64) % classes, names, names)


def test_what_is_kept_of_images_without_known_lesion() -> None:
    torch.manual_seed(0)
    found = measure_saliency(build_model("resnet18", 2).eval(), some_images(14, 2), None, FAST)
    assert len(found["images"]) == 12
    assert [row["label"] for row in found["images"]] == [0, 1] * 6
    assert [(row["label"], row["n"]) for row in found["class_maps"]] == [(0, 6), (1, 6)]
    for row in found["images"]:
        assert row["energy_in_lesion"] is row["pointing_hit"] is row["lesion_share"] is None
        assert all(value is None or isinstance(value, int | float) for value in row.values())
        assert -1 <= row["correlation"] <= 1


def test_a_step_size_that_is_left_out_is_that_of_the_rule() -> None:
    """Two steps: 2.5 ε / 2, so the rows are those of a step of 0.0625."""
    torch.manual_seed(0)
    model, images = build_model("resnet18", 2).eval(), some_images(6, 2)

    def rows(**pgd: float) -> list[dict[str, object]]:
        settings = FAST.model_copy(update={"pgd": SaliencyAttackSettings.model_validate({"steps": 2, **pgd})})
        return measure_saliency(model, images, None, settings)["images"]

    assert rows() == rows(step_size=0.0625) != rows(step_size=0.05)


def real_cell(tmp_path: Path) -> tuple[Cell, Cell]:
    """A saliency cell of the tiny profile, and the training it needs, as if their images were X-rays."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    plan = make_plan(load_profile(str(tmp_path / "tiny.yaml")), RunOptions(tmp_path))
    cells = [cell for cell in plan.cells if cell.kind == "saliency"]
    train = next(cell for cell in plan.cells if cell.key == cells[0].needs)
    return Cell("saliency", "chest_xray", cells[0].settings, cells[0].needs), train


def test_records_of_real_images_hold_no_map_of_a_single_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cell, train = real_cell(tmp_path)
    images = some_images(12, 2)
    splits = Splits("chest_xray", ("NORMAL", "PNEUMONIA"), images, images, images, 0.5, 0.2, "f", {})
    (record,) = run_saliency(cell, train, splits, build_model("resnet18", 2).eval())
    assert record["n"] == 4
    assert record["class_maps"] == []  # two images per class
    nested = [value for row in record["images"] for value in row.values() if isinstance(value, list | dict)]
    assert nested == []
    assert record["settings"]["pgd"]["eps"] == 0.05


def test_every_setting_of_saliency_is_in_the_key(tmp_path: Path) -> None:
    def keys(line: str) -> set[str]:
        (tmp_path / "tiny.yaml").write_text(TINY.replace("saliency: {images: 4,", f"saliency: {{{line},"))
        plan = make_plan(load_profile(str(tmp_path / "tiny.yaml")), RunOptions(tmp_path))
        return {cell.key for cell in plan.cells if cell.kind == "saliency"}

    base, more = keys("images: 4"), keys("images: 5")
    (tmp_path / "tiny.yaml").write_text(TINY.replace("pgd: {steps: 2,", "pgd: {steps: 3,"))
    plan = make_plan(load_profile(str(tmp_path / "tiny.yaml")), RunOptions(tmp_path))
    stronger = {cell.key for cell in plan.cells if cell.kind == "saliency"}
    assert len(base) == len(more) == len(stronger) == 2
    assert not base & more
    assert not base & stronger


@pytest.fixture(scope="module")
def report() -> Report:
    datasets = ("phantom_oct", "chest_xray")
    records = [saliency_record(dataset, "full", "adversarial") for dataset in datasets]
    return Report("tiny", [*map(data_record, datasets), *records], provenance())


def test_estimates_by_hand(report: Report) -> None:
    frame = estimates(report).set_index(["dataset", "measure"])
    deletion = frame.loc["phantom_oct", "deletion"]
    # -20 and -10 points: mean -15, standard error 5, t with one degree of freedom 12.706
    assert deletion["value"] == pytest.approx(-15)
    assert deletion["low"] == pytest.approx(-15 - 12.706 * 5, abs=0.01)
    assert deletion["high"] == pytest.approx(-15 + 12.706 * 5, abs=0.01)
    changed = frame.loc["phantom_oct", "changed"]
    assert (changed["n"], changed["value"]) == ("2", 50)
    kept, flipped = (frame.loc["phantom_oct", name] for name in ("correlation", "correlation, changed"))
    assert (kept["n"], kept["value"], kept["chance"]) == ("1", 0.8, 0.1)
    assert flipped["value"] == pytest.approx(-0.2)
    assert ("chest_xray", "energy") not in frame.index
    assert ("chest_xray", "border") in frame.index


def test_tables_and_sentences_say_where_no_lesion_is_known(report: Report) -> None:
    rows = saliency.places(report).frame.to_dict("records")
    assert [row["saliency in the lesion (%)"].split("\n")[0] for row in rows] == ["30.0", "–"]
    assert rows[1]["border's area (%)"] == "36.0"
    assert [row["n"] for row in rows] == ["2", "2"]
    assert [row["ρ, kept"] for row in saliency.agreement(report).frame.to_dict("records")] == [
        "0.80\nn = 1"
    ] * 2
    assert saliency.removal(report).frame["insertion less random (points)"].str.startswith("+10.0").all()
    text = str(saliency.findings(report))
    assert "Chest X-Ray, n = 2 images: no lesion mask is known" in text
    assert (
        "(for ROCT), n = 2 images: share of saliency in the lesion over the lesion's share of the area"
        in text
    )


def test_records_that_hold_places_alone_show_these_and_nothing_else() -> None:
    record = saliency_record("phantom_oct", "full", "adversarial")
    kept = (
        "index",
        "label",
        "prediction",
        "energy_in_lesion",
        "lesion_share",
        "pointing_hit",
        "border_share",
    )
    images = [{name: row[name] for name in kept} for row in record["images"]]
    old = {k: v for k, v in record.items() if k not in ("settings", "class_maps")} | {"images": images}
    report = Report("old", [data_record("phantom_oct"), old], provenance())
    assert set(estimates(report)["measure"]) == {"energy", "pointing", "border"}
    images[0].update(energy_in_lesion=float("nan"), border_share=float("nan"))  # a zero map
    assert saliency.places(report).frame["n"].to_list() == ["2\n1 non-zero"]
    assert saliency.removal(report).frame.empty
    assert saliency.agreement(report).frame.empty
    assert str(saliency.findings(report)).count("\n- ") == 0
    assert figures.measures(report).numbers is not None
    for draw in (figures.removal, figures.agreement, figures.class_means):
        assert draw(report).numbers is None
