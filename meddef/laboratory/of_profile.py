"""Robustness reports of the models that a profile has trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import torch

from meddef.errors import InputError
from meddef.evaluation.cell import Cell
from meddef.evaluation.cells import batches, load_trained, model_folder
from meddef.evaluation.plan import RunOptions, make_plan, splits_of
from meddef.laboratory.parts import Part
from meddef.laboratory.reports import BATCH, rows
from meddef.records import Record
from meddef.report.labels import model_label
from meddef.results_version import versions
from meddef.robustness import BUDGETS, robustness_report
from meddef.settings import AdversarialSettings, Profile, training_name
from meddef.training.schedule import schedule_of

Model = tuple[str, str]  # variant, training


def trained_epsilon(profile: Profile) -> float:
    """The final radius of the profile's adversarial training."""
    epochs, rule = profile.training.epochs, profile.training.adversarial
    return schedule_of(rule or AdversarialSettings(), epochs).epsilon(epochs - 1)


def parts(profile: Profile, options: RunOptions, *, radii: Sequence[float], budget: str) -> list[Part]:
    """One part for each model of the profile's first seed, on each of its datasets, at each radius.

    Raises:
        InputError: a model has no weights in the folder of the run.
    """
    cells = [cell for cell in make_plan(profile, options).cells if cell.kind == "train"]
    found = []
    for dataset in profile.datasets:
        own = {
            _model(cell): cell
            for cell in cells
            if (cell.dataset, cell.settings["seed"]) == (dataset.name, profile.seeds[0])
        }
        for model, cell in own.items():
            _check_weights(cell, profile, options)
            twin = twin_of(model, own)
            for eps in radii:
                run = partial(report, cell, twin, profile, options, eps=eps, budget=budget)
                content = {
                    "model": cell.key,
                    "twin": twin.key if twin else None,
                    "eps": eps,
                    "budget": asdict(BUDGETS[budget]),
                    "versions": versions("evaluation", "attacks", "audit"),
                }
                label = f"{dataset.name}, {model_label(*model)}, ε = {eps:.4g}"
                found.append(Part(f"robustness_{profile.name}", label, run, content))
    return found


def twin_of(model: Model, known: Mapping[Model, Cell]) -> Cell | None:
    """The undefended model beside ``model``: the same variant trained cleanly if it is defended by its training, else
    ResNet18 trained cleanly, which has no defence at all; None for that one."""
    variant, training = model
    candidates = [(variant, "clean")] if training != "clean" else []
    candidates += [("resnet18", "clean")]
    return next((known[twin] for twin in candidates if twin in known and twin != model), None)


def report(
    cell: Cell, twin: Cell | None, profile: Profile, options: RunOptions, *, eps: float, budget: str
) -> Iterable[Record]:
    """The records of one model, see ``meddef.laboratory.reports.rows``."""
    (dataset,) = (d for d in profile.datasets if d.name == cell.dataset)
    splits = splits_of(dataset, profile, options)
    nets = [next(load_trained(one, splits, options.folder, [0.0], "global")) for one in (cell, twin) if one]
    layout = torch.channels_last if profile.training.channels_last else torch.contiguous_format
    loader = batches(splits.test, BUDGETS[budget].images, BATCH, options.device, layout)
    undefended = nets[1] if twin else None
    items = robustness_report(nets[0], loader, eps=eps, budget=budget, twin=undefended)
    head = {
        "source_of_models": f"profile {profile.name}",
        "dataset": cell.dataset,
        "model": model_label(*_model(cell)),
        "twin": model_label(*_model(twin)) if twin else None,
        "eps": eps,
        "budget": budget,
        "seed": cell.settings["seed"],
    }
    return rows(head, items)


def _model(cell: Cell) -> Model:
    return cell.settings["variant"], training_name(cell.settings["training"])


def _check_weights(cell: Cell, profile: Profile, options: RunOptions) -> None:
    if not (model_folder(options.folder, cell.key) / "best.safetensors").is_file():
        raise InputError(
            f"{model_label(*_model(cell))} on {cell.dataset} has no weights in {options.folder}: run "
            f"'meddef reproduce --profile {profile.name}' first, or give its --runs-dir"
        )
