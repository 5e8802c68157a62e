"""Runs a cell of kind "probe": its images, batch by batch, and its record."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from meddef.data import CARDS, Preprocessing, load_splits
from meddef.data.source_phantom import FAMILY, draw_phantom_split
from meddef.data.splits import Splits
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import head, test_order
from meddef.evaluation.plan import RunOptions
from meddef.image_size import sides
from meddef.probes import pixels
from meddef.probes.registry import PROBES
from meddef.records import CLASS_CHARACTERS, Record
from meddef.settings import training_name

SIGNIFICANT = 4  # digits kept of a number
CHANGES: dict[str, dict[str, Any]] = {
    "letter removed": {"letter": "removed"},
    "letter moved": {"letter": "moved"},
    "lesion removed": {"healthy": True},
}


def run_probe(cell: Cell, train: Cell, splits: Splits, model: nn.Module) -> list[Record]:
    """One probe of one model: one number or None per image under each name in "measures"."""
    settings, test = cell.settings, splits.test
    probe = PROBES[settings["probe"]]
    rule = probe.rule.model_validate(settings["rule"])
    drawn = _drawn(settings["probe"], splits)
    order = test_order(test, len(test))
    if "mask" in drawn:
        order = order[drawn["mask"][order].any(axis=(1, 2))]
    order = order[: rule.images]
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    parts, told = [], set[str]()
    for start in range(0, len(order), settings["batch_size"]):
        rows = order[start : start + settings["batch_size"]]
        images, labels = test.batch(rows)
        known = {name: torch.from_numpy(each[rows]).to(settings["device"]) for name, each in drawn.items()}
        images = images.to(settings["device"], memory_format=layout)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = probe.measure(model, images, labels.to(settings["device"]), rule, known)
        told |= {f"{each.category.__name__}: {each.message}" for each in caught}
        parts.append({name: values.double().cpu().numpy() for name, values in found.items()})
    measures = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    model_of = {
        "variant": settings["variant"],
        "training": training_name(train.settings["training"]),
        "seed": settings["seed"],
    }
    return [_record(cell, splits, order, measures, model_of) | {"warnings": sorted(told)}]


def probe_images(cell: Cell, splits: Splits, options: RunOptions) -> list[Record]:
    """Pixels of test images before and after preprocessing; for phantoms, which need none, that of the dataset they
    replace."""
    rows = test_order(splits.test, min(cell.settings["rule"]["images"], len(splits.test)))
    after, masks = splits.test.images[rows], None
    if cell.dataset in FAMILY:
        before, steps = after, CARDS[CARDS[cell.dataset].stands_for or cell.dataset].preprocessing
        after = np.stack([steps.apply(image, image.shape[:2]) for image in before])
        masks = _draw(splits).masks[rows]
    else:
        before = _unprepared(cell, options).test.images[rows]
    return [_record(cell, splits, rows, pixels.measure(before, after, masks), {})]


def _unprepared(cell: Cell, options: RunOptions) -> Splits:
    """The same images, only resized."""
    given = cell.settings["settings"]
    return load_splits(
        cell.dataset,
        image_size=cell.settings["image_size"],
        channels=given.get("channels"),
        split_policy=given["split_policy"],
        seed=given["split_seed"],
        preprocessing=Preprocessing(min_max=False),
        data_dir=options.data_dir,
        skip_unreadable=options.skip_unreadable,
        progress=False,
    )


def _record(
    cell: Cell, splits: Splits, rows: np.ndarray, measures: Mapping[str, np.ndarray], model: Record
) -> Record:
    digits = np.array(list(CLASS_CHARACTERS))
    return {
        **head(cell, "probe"),
        "probe": cell.settings["probe"],
        **model,
        "settings": cell.settings["rule"],
        "n": len(rows),
        "labels": "".join(digits[splits.test.labels[rows]]),
        "measures": {name: [_kept(value) for value in values] for name, values in measures.items()},
        "data_fingerprint": splits.fingerprint,
    }


def _kept(value: float) -> float | None:
    """Four digits, a whole number without a point; None where there is no number."""
    if not np.isfinite(value):
        return None
    rounded = float(f"{value:.{SIGNIFICANT}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _drawn(name: str, splits: Splits) -> dict[str, np.ndarray]:
    """The test-image data a probe needs, (N, H, W) each, by name; empty for most."""
    if name == "regions":
        return {"mask": _draw(splits).masks}
    if name != "shortcuts":
        return {}
    assert splits.origin is not None
    steps, size = Preprocessing.model_validate(splits.origin.preprocessing), splits.origin.image_size
    changes = {
        what: np.stack([steps.apply(image, size) for image in _draw(splits, **given).images])
        for what, given in CHANGES.items()
        if "letter" not in given or FAMILY[splits.dataset] == "xray"
    }
    return changes


def _draw(splits: Splits, **given: Any) -> Any:
    """The test phantoms as they were drawn, or with the changes of ``given``."""
    origin = splits.origin
    assert origin is not None
    return draw_phantom_split(
        splits.dataset,
        "test",
        image_size=sides(origin.image_size)[0],
        seed=origin.split_seed,
        sizes=origin.sizes,
        **given,
    )
