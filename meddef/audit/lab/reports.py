"""Robustness reports: of the laboratory's models, sound and with a planted defect, and of a profile's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks import pgd
from meddef.audit.lab.experiment import BATCH, load
from meddef.audit.lab.models import subjects
from meddef.audit.robustness import BUDGETS, Item, robustness_report
from meddef.evaluation.cells import batches, load_trained
from meddef.evaluation.plan import Cell, RunOptions, make_plan, splits_of
from meddef.records import Record
from meddef.report import model_label
from meddef.settings import Profile

EPS = 0.03


class Altered(nn.Module):
    """A model with something done to its input and its logits."""

    def __init__(
        self,
        model: nn.Module,
        before: Callable[[Tensor], Tensor] | None = None,
        after: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x if self.before is None else self.before(x))
        return logits if self.after is None else self.after(logits)


def rounded(x: Tensor) -> Tensor:
    """Sixteen grey levels: almost everywhere flat."""
    return (x * 15).round() / 15


def noisy(logits: Tensor) -> Tensor:
    """Fresh noise at every call."""
    return logits + torch.randn_like(logits)


def one_class(logits: Tensor) -> Tensor:
    """Always the second class."""
    return logits * 0 + nn.functional.one_hot(torch.tensor(1), logits.shape[1])


def timid(model: nn.Module, images: Tensor, labels: Tensor, *, eps: float) -> Tensor:
    """PGD with one step of a twentieth of eps."""
    return pgd(model, images, labels, eps=eps, step_size=eps / 20, steps=1, random_start=False)


def run(dataset: str, *, data_dir: Path | None = None) -> Iterator[Record]:
    """One record an item: kind "robustness", source_of_models, dataset, model, eps, and the fields of an ``Item``."""
    splits = load(dataset, data_dir)
    images = splits.test.batch(np.arange(len(splits.test)))
    loader = list(zip(*(part.split(BATCH) for part in images), strict=True))
    with TemporaryDirectory() as folder:
        undefended, defended = (subject.model for subject in subjects(splits, Path(folder)))
    models: dict[str, tuple[nn.Module, Callable[..., Tensor] | None]] = {
        "undefended": (undefended, None),
        "adversarially trained": (defended, None),
        "input rounded": (Altered(undefended, before=rounded), None),
        "logits × 10,000": (Altered(undefended, after=partial(torch.mul, other=1e4)), None),
        "noise in the logits": (Altered(undefended, after=noisy), None),
        "collapsed to a class": (Altered(undefended, after=one_class), None),
        "timid attack": (defended, timid),
    }
    for name, (model, attack) in models.items():
        torch.manual_seed(0)
        items = robustness_report(model, loader, eps=EPS, attack=attack, twin=undefended)
        yield from _records("laboratory", dataset, name, items)


def of_profile(profile: Profile, options: RunOptions) -> Iterator[Record]:
    """The same for the trained models of a profile's first seed; a model's twin is its variant trained cleanly, if any.

    Raises:
        InputError: a model has no weights in the folder of the run.
    """
    cells = [cell for cell in make_plan(profile, options).cells if cell.kind == "train"]
    cells = [cell for cell in cells if cell.settings["seed"] == profile.seeds[0]]
    for dataset in profile.datasets:
        splits = splits_of(dataset, profile, options)
        own = {_key(cell): cell for cell in cells if cell.dataset == dataset.name}
        models = {
            key: next(load_trained(cell, splits, options.folder, [0.0], "global"))
            for key, cell in own.items()
        }
        layout = torch.channels_last if profile.training.channels_last else torch.contiguous_format
        loader = list(batches(splits.test, BUDGETS["quick"].images, BATCH, options.device, layout))
        for (variant, training), model in models.items():
            twin = models.get((variant, "clean")) if training == "adversarial" else None
            items = robustness_report(model, loader, eps=EPS, twin=twin)
            yield from _records(
                f"profile {profile.name}", dataset.name, model_label(variant, training), items
            )


def _key(cell: Cell) -> tuple[str, str]:
    return cell.settings["variant"], "adversarial" if cell.settings["training"]["adversarial"] else "clean"


def _records(source: str, dataset: str, model: str, items: Iterable[Item]) -> Iterator[Record]:
    head = {"kind": "robustness", "source_of_models": source, "dataset": dataset, "model": model, "eps": EPS}
    return ({**head, **item.as_dict()} for item in items)
