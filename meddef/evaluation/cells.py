"""Running one cell: from its settings to its records."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks import ATTACKS
from meddef.attacks.capture import climbing
from meddef.data import CARDS
from meddef.data.images import ImageSet
from meddef.data.source_phantom import FAMILY, draw_phantom_split
from meddef.data.splits import Splits
from meddef.evaluation.attack_checkpoint import Unfinished, place
from meddef.evaluation.cell import Cell
from meddef.evaluation.judge import Attack
from meddef.evaluation.metrics import Evaluation, evaluate
from meddef.evaluation.weights_header import describe
from meddef.models import build_model
from meddef.progress import progress_bar
from meddef.pruning import prune_l1_grid, sparsity
from meddef.records import CLASS_CHARACTERS, Record
from meddef.settings import SaliencySettings, TrainingSettings, training_name
from meddef.training import load_weights, train

TEST_ORDER_SEED = 0


def model_folder(run_folder: Path, train_key: str) -> Path:
    """Where the weights and checkpoints of a training cell live."""
    return run_folder / "models" / train_key


def run_data(cell: Cell, splits: Splits) -> list[Record]:
    """Counts, statistics and findings of one dataset."""
    counts = {
        name: dict(
            zip(splits.classes, np.bincount(part.labels, minlength=len(splits.classes)).tolist(), strict=True)
        )
        for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test))
    }
    record = {
        **head(cell, "data"),
        "classes": list(splits.classes),
        **{k: v for k, v in cell.settings["settings"].items() if k != "name"},
        "image_size": cell.settings["image_size"],
        "counts": counts,
        "mean": splits.mean,
        "std": splits.std,
        "fingerprint": splits.fingerprint,
        "report": splits.report,
    }
    return [record]


def run_train(cell: Cell, splits: Splits, run_folder: Path, *, progress: bool) -> list[Record]:
    """Train one model (resuming where a killed run stopped) and record its history."""
    return [train_model(cell, splits, run_folder, progress=progress)[0]]


def train_model(
    cell: Cell,
    splits: Splits,
    run_folder: Path,
    *,
    progress: bool,
    look: Callable[[int, nn.Module], Mapping[str, Any]] | None = None,
) -> tuple[Record, nn.Module]:
    """The record of a training and its model, with the weights of the best epoch; ``look`` as ``train`` takes it."""
    settings = TrainingSettings.model_validate(cell.settings["training"])
    variant, seed, device = cell.settings["variant"], cell.settings["seed"], cell.settings["device"]
    torch.manual_seed(seed)
    model = build_model(
        variant, len(splits.classes), mean=splits.mean, std=splits.std,
        dropout=settings.dropout, pretrained=settings.pretrained, channels=splits.channels,
    )  # fmt: skip
    state = train(
        model, splits.train, splits.val, settings,
        seed=seed, folder=model_folder(run_folder, cell.key), device=device, label=cell.label, progress=progress,
        about=describe(splits, variant=variant, seed=seed, training=cell.settings["training"]), look=look,
    )  # fmt: skip
    record = {
        **head(cell, cell.kind),
        "variant": variant,
        "training": settings.name,
        "seed": seed,
        "epochs": settings.epochs,
        "settings": settings.model_dump(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "best_epoch": state.best_epoch,
        "history": state.history,
        "data_fingerprint": splits.fingerprint,
    }
    return record, model


def load_trained(
    train: Cell, splits: Splits, run_folder: Path, rates: Sequence[float], scope: str
) -> Iterator[nn.Module]:
    """The model of a training cell, pruned at each of ``rates`` in turn, in evaluation mode."""
    settings = TrainingSettings.model_validate(train.settings["training"])
    model: nn.Module = build_model(
        train.settings["variant"],
        len(splits.classes),
        mean=splits.mean,
        std=splits.std,
        dropout=settings.dropout,
        channels=splits.channels,
    )
    load_weights(model_folder(run_folder, train.key) / "best.safetensors", model)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model = model.to(train.settings["device"]).to(memory_format=layout).eval()
    yield from prune_l1_grid(model, rates, scope=scope) if any(rates) else [model]


def run_attack(
    cell: Cell,
    train: Cell,
    splits: Splits,
    model: nn.Module,
    run_folder: Path,
    *,
    progress: bool,
    attack: Attack | None = None,
) -> list[Record]:
    """One attack on one model at one epsilon (resuming a killed run); ``attack`` overrides that of the cell's
    settings."""
    settings = cell.settings
    attack = attack or bound_attack(settings)
    outcome, warned = _evaluate_in_memory(model, splits.test, cell, run_folder, attack, progress=progress)
    counts = outcome.counts
    record = {
        **head(cell, "attack"),
        **{k: settings[k] for k in ("grid", "variant", "seed", "prune_rate", "prune_scope", "attack", "eps")},
        "training": training_name(train.settings["training"]),
        "sparsity": sparsity(model),
        "settings": settings["attack_settings"],
        "n": counts.n,
        "correct_before": counts.correct_before,
        "correct_after": counts.correct_after,
        "flipped": counts.flipped,
        "classes": list(splits.classes),
        **predictions(outcome),
        "linf": outcome.linf,
        "l0": outcome.l0,
        "warnings": warned,
        "data_fingerprint": splits.fingerprint,
    }
    return [record]


def _evaluate_in_memory(
    model: nn.Module,
    test: ImageSet,
    cell: Cell,
    run_folder: Path,
    attack: Attack | None,
    *,
    progress: bool,
) -> tuple[Evaluation, list[str]]:
    """Evaluate in batches of the requested size, halved until they fit into memory.

    Returns the outcome and the warnings that were given, each once.
    """
    size = cell.settings["batch_size"]
    labels = test.labels[test_order(test, cell.settings["images"])]
    notes: set[str] = set()
    while True:
        done = Unfinished(place(run_folder, cell.key), size, labels)
        try:
            _attack_the_rest(done, model, test, cell, attack, progress=progress)
            return done.finish(), sorted(notes | done.warnings)
        except RuntimeError as error:
            if size == 1 or not _is_out_of_memory(error):
                raise
            size //= 2
        notes.add(f"UserWarning: out of memory: attacked in batches of {size} images")


def _attack_the_rest(
    done: Unfinished,
    model: nn.Module,
    test: ImageSet,
    cell: Cell,
    attack: Attack | None,
    *,
    progress: bool,
) -> None:
    settings = cell.settings
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    loader = batches(test, settings["images"], done.size, settings["device"], layout)
    with (
        climbing(settings["device"]),
        progress_bar(settings["images"], cell.label, unit="image", enabled=progress) as bar,
    ):
        for number, batch in enumerate(loader):
            if number >= len(done.parts):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    part = evaluate(model, [batch], attack)
                done.add(part, (f"{w.category.__name__}: {w.message}" for w in caught))
            bar.update(len(batch[1]))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def run_saliency(cell: Cell, train: Cell, splits: Splits, model: nn.Module) -> list[Record]:
    """Grad-CAM of one model on test images; for phantoms, with known lesions, some maps are kept."""
    from meddef.saliency import measure_saliency  # scipy.stats: a second at the start of every other process

    settings, drawn = cell.settings, cell.dataset in FAMILY
    rule = SaliencySettings.model_validate({name: settings[name] for name in SaliencySettings.model_fields})
    masks = _lesions(cell, splits) if drawn else None
    found = measure_saliency(model, splits.test, masks, rule, device=settings["device"], keep_maps=drawn)
    record = {
        **head(cell, "saliency"),
        "variant": settings["variant"],
        "training": training_name(train.settings["training"]),
        "seed": settings["seed"],
        "settings": rule.model_dump(),
        "n": len(found["images"]),
        **found,
        "data_fingerprint": splits.fingerprint,
    }
    return [record]


def _lesions(cell: Cell, splits: Splits) -> np.ndarray:
    """Where the lesions of the test phantoms are, bool (N, H, H)."""
    size, settings = splits.test.images.shape[-1], cell.settings
    return draw_phantom_split(
        cell.dataset, "test", image_size=size, seed=settings["split_seed"], sizes=settings["sizes"]
    ).masks


def head(cell: Cell, kind: str) -> Record:
    """The common fields of all records."""
    card = CARDS[cell.dataset]
    return {"kind": kind, "dataset": cell.dataset, "title": card.title, "stands_for": card.stands_for}


def bound_attack(settings: Any) -> partial[Tensor] | None:
    """The attack of a cell's settings, with its options; None for "clean"."""
    if settings["attack"] == "clean":
        return None
    attack, keywords = ATTACKS[settings["attack"]], dict(settings["attack_settings"])
    if settings["eps"] is not None:
        keywords["eps"] = settings["eps"]
    if "seed" in signature(attack.func).parameters:
        keywords["seed"] = settings["seed"]
    return partial(attack, **keywords)


def test_order(test: ImageSet, images: int) -> np.ndarray:
    """Indices of the evaluated images: the first ``images`` of a seeded order."""
    return np.random.default_rng(TEST_ORDER_SEED).permutation(len(test))[:images]


def batches(
    test: ImageSet,
    images: int,
    batch_size: int,
    device: str,
    layout: torch.memory_format = torch.channels_last,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The first ``images`` of a seeded order of the test split: a smaller grid sees a subset of a larger one's."""
    order = test_order(test, images)
    for start in range(0, len(order), batch_size):
        part, labels = test.batch(order[start : start + batch_size])
        yield part.to(device, memory_format=layout), labels.to(device)


def predictions(outcome: Evaluation) -> dict[str, str]:
    """One character per image and row, so that paired comparisons stay possible: class 0 is "0", class 10 is "a"."""
    digits = np.array(list(CLASS_CHARACTERS))
    rows = (("labels", outcome.labels), ("before", outcome.before), ("after", outcome.after))
    return {name: "".join(digits[values]) for name, values in rows}
