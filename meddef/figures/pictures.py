"""Images of phantoms: samples, preprocessing step by step, saliency. Images of patients are never drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes

from meddef.data import CARDS, Preprocessing
from meddef.data.phantom import Phantoms
from meddef.data.source_phantom import FAMILY, draw_phantom_split
from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.image_size import Size
from meddef.records import Record
from meddef.report.labels import short_label
from meddef.report.report import Dataset, Report

A_CLASS = 4
MEASURES = (
    "index", "label", "prediction", "energy_in_lesion", "lesion_share", "pointing_hit", "border_share",
)  # fmt: skip
NO_PHANTOMS = "This profile uses no phantoms; images of patients are not shown."


def phantoms_of(dataset: Dataset, split: str = "test") -> Phantoms:
    """The phantoms of one split, redrawn from the data record: the images the models saw, before preprocessing."""
    record = dataset.record
    return draw_phantom_split(
        dataset.name, split,
        image_size=record["image_size"], seed=record["split_seed"], sizes=record.get("sizes"),
    )  # fmt: skip


def stages(preprocessing: Preprocessing, image: np.ndarray, size: Size) -> dict[str, np.ndarray]:
    """``image`` after each step that is on, uint8, by the step's name."""
    done = Preprocessing(pad=preprocessing.pad, min_max=False)
    found = {"padded, resized": done.apply(image, size)}
    for field, name in _STEPS.items():
        setting = getattr(preprocessing, field)
        if setting:
            done = done.model_copy(update={field: setting})
            found[name] = done.apply(image, size)
    return found


_STEPS = {"denoise": "denoised", "min_max": "min-max", "clahe": "CLAHE", "brightness": "brightness"}


def _papers(dataset: Dataset) -> Preprocessing:
    """The paper's preprocessing for the dataset that phantoms replace; training uses fewer steps."""
    return CARDS[dataset.twin or dataset.name].preprocessing


def _phantom_datasets(report: Report) -> list[Dataset]:
    return [dataset for dataset in report.datasets if dataset.name in FAMILY]


@styled
def samples(report: Report) -> SvgFigure:
    """Test phantoms of every class as drawn, with the outline of the lesion in the second half."""
    datasets = _phantom_datasets(report)
    if not datasets:
        return style.message(NO_PHANTOMS)
    rows = [(dataset, label) for dataset in datasets for label in range(len(dataset.classes))]
    figure, axes = style.grid(len(rows), 2 * A_CLASS, width=0.92, height=0.95)
    drawn = {dataset.name: phantoms_of(dataset) for dataset in datasets}
    shown: list[dict[str, Any]] = []
    for row, (dataset, label) in zip(axes, rows, strict=True):
        phantoms = drawn[dataset.name]
        chosen = np.flatnonzero(phantoms.labels == label)[:A_CLASS]
        for panel in row:
            _bare(panel)
        for k, index in enumerate(chosen):
            _image(row[k], phantoms.images[index])
            _image(row[A_CLASS + k], phantoms.images[index], phantoms.masks[index])
            share = 100 * phantoms.masks[index].mean()
            shown.append(
                _pixels(dataset, dataset.classes[label], index, phantoms.images[index])
                | {"lesion (%)": share}
            )
        row[0].set_ylabel(dataset.classes[label], fontsize=8)
    sizes = " and ".join(f"{dataset.size('test'):,}" for dataset in datasets)
    figure.suptitle(
        f"as drawn (left) and with the outline of the lesion (right); "
        f"the first {A_CLASS} per class of n = {sizes} test images",
        fontsize=9,
    )
    return figure.showing(report, pd.DataFrame(shown), _data_records(datasets))


def _data_records(datasets: Sequence[Dataset]) -> list[Record]:
    return [dataset.record for dataset in datasets]


def _pixels(dataset: Dataset, label: str, index: int, image: np.ndarray) -> dict[str, Any]:
    """The table entries of an image (H, W) of grey levels: identity, mean, spread and digest."""
    return {
        "dataset": dataset.name,
        "class": label,
        "index": int(index),
        "mean": float(image.mean()),
        "std": float(image.std()),
        "sha256": hashlib.sha256(image.tobytes()).hexdigest()[:16],
    }


@styled
def preprocessing_steps(report: Report) -> SvgFigure:
    """One phantom of each class after each of the paper's preprocessing steps for the images it replaces."""
    datasets = _phantom_datasets(report)
    if not datasets:
        return style.message(NO_PHANTOMS)
    found = []
    for dataset in datasets:
        phantoms = phantoms_of(dataset)
        for label, name in enumerate(dataset.classes):
            index = int(np.flatnonzero(phantoms.labels == label)[0])
            image = phantoms.images[index]
            steps = stages(_papers(dataset), image, dataset.record["image_size"])
            found.append((dataset, name, index, {"as drawn": image} | steps))
    columns = max(len(steps) for *_, steps in found)
    figure, axes = style.grid(len(found), columns, width=1.3, height=1.4)
    shown: list[dict[str, Any]] = []
    above = None
    for row, (dataset, name, index, steps) in zip(axes, found, strict=True):
        for panel in row:
            _bare(panel)
        for panel, (step, picture) in zip(row, steps.items(), strict=False):
            _image(panel, picture)
            if dataset is not above:
                panel.set_title(step)
            shown.append(_pixels(dataset, name, index, picture) | {"step": step})
        row[0].set_ylabel(f"{dataset.title}\n{name}" if dataset is not above else name)
        above = dataset
    return figure.showing(report, pd.DataFrame(shown), _data_records(datasets))


@styled
def saliency(report: Report) -> SvgFigure:
    """Grad-CAM of every model on the recorded phantoms: saliency over the image, the lesion's outline in white."""
    rows = [(d, index) for d in _phantom_datasets(report) for index in _mapped(report.of("saliency", d.name))]
    if not rows:
        return style.message(
            "This profile holds no saliency maps of phantoms; those of single patients are not shown."
        )
    models = list(dict.fromkeys((r["variant"], r["training"]) for r in report.of("saliency")))
    figure, axes = style.grid(len(rows), len(models) + 1, width=1.22, height=1.25)
    drawn = {dataset.name: phantoms_of(dataset) for dataset, _ in rows}
    for row, (dataset, index) in zip(axes, rows, strict=True):
        phantoms = drawn[dataset.name]
        for panel in row:
            _bare(panel)
        _image(row[0], phantoms.images[index], phantoms.masks[index])
        row[0].set_ylabel(f"{dataset.classes[phantoms.labels[index]]}\n#{index}", fontsize=8)
        for panel, model in zip(row[1:], models, strict=True):
            heat = _map(report.of("saliency", dataset.name), model, index)
            if heat is not None:
                _image(panel, phantoms.images[index], phantoms.masks[index], heat)
    for panel, name in zip(axes[0], ["image", *(short_label(*model) for model in models)], strict=True):
        panel.set_title(name, fontsize=8)
    sizes = sorted({record["n"] for record in report.of("saliency")})
    figure.suptitle(f"the first of n = {' or '.join(map(str, sizes))} images with a lesion", fontsize=9)
    shown = [
        {
            "dataset": record["dataset"], "variant": record["variant"], "training": record["training"],
            "seed": record["seed"], **{name: image[name] for name in MEASURES},
        }
        for record in report.of("saliency")
        for image in record["images"]
        if "map" in image
    ]  # fmt: skip
    return figure.showing(
        report, pd.DataFrame(shown), [*report.of("saliency"), *_data_records([d for d, _ in rows])]
    )


def _mapped(records: list[Record]) -> list[int]:
    """Indices of the images whose map was kept."""
    return sorted({image["index"] for record in records for image in record["images"] if "map" in image})


def _map(records: list[Record], model: tuple[str, str], index: int) -> np.ndarray | None:
    for record in records:
        if (record["variant"], record["training"]) == model:
            for image in record["images"]:
                if image["index"] == index and "map" in image:
                    return np.asarray(image["map"], dtype=np.float32)
    return None


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(visible=False)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _image(panel: Axes, image: np.ndarray, mask: np.ndarray | None = None, heat: Any = None) -> None:
    panel.imshow(
        image if heat is None else _blend(image, heat), cmap="gray", vmin=0, vmax=255, interpolation="none"
    )
    if mask is not None and mask.any():
        colour = "#56B4E9" if heat is None else "white"
        panel.contour(mask, levels=[0.5], colors=colour, linewidths=1.0)


def _blend(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The grey image (H, W) under the saliency map, with opacity by saliency: uint8 (H, W, 3)."""
    height, width = image.shape
    smooth = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)[..., None]
    opacity = 0.15 + 0.5 * smooth
    colours = colormaps["inferno"](smooth[..., 0])[..., :3]
    return np.rint(255 * ((1 - opacity) * image[..., None] / 255 + opacity * colours)).astype(np.uint8)
