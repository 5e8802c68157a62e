"""Clean training, the paper's adversarial training and competing methods in one loop: epochs, checkpoints, best
weights.

Source: the paper, Sections III-B "Adversarial Training" and IV-B. In a process group of ``torch.distributed`` the
processes train one model together (see ``meddef.training.epoch``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from meddef.arithmetic import repeatable, without_tf32
from meddef.atomic import sha256_of, write_text
from meddef.attacks.capture import climbing
from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.progress import progress_bar
from meddef.settings import PAPERS_METHOD, TrainingSettings
from meddef.training.checkpoint import (
    check_savable,
    load_weights,
    read_checkpoint,
    read_header,
    restore,
    save_checkpoint,
    save_weights,
)
from meddef.training.distributed import Together
from meddef.training.epoch import Epoch
from meddef.training.frozen import check_trainable, frozen_digest
from meddef.training.gpu_resident import resident
from meddef.training.inner_attack import InnerAttack
from meddef.training.items import Items, trainable
from meddef.training.process_group import Team

logger = logging.getLogger(__name__)
BEST, CHECKPOINT = "best.safetensors", "checkpoint.safetensors"


@dataclass
class TrainingState:
    """The state besides the weights; kept in the checkpoint."""

    epoch: int = 0  # epochs done
    ease: float = 1.0
    below: int = 0  # consecutive epochs whose score lies below the best by more than the tolerance
    best_epoch: int = -1
    best_score: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)
    best: str = ""  # SHA-256 of best.safetensors; empty in checkpoints of earlier versions
    seconds: float = field(default=0.0, compare=False)  # of the epochs done, over all interruptions


def train(
    model: nn.Module,
    train_set: ImageSet | Dataset[Any],
    val_set: ImageSet | Dataset[Any],
    settings: TrainingSettings,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
    label: str = "train",
    progress: bool = True,
    about: Mapping[str, Any] | None = None,
    look: Callable[[int, nn.Module], Mapping[str, Any]] | None = None,
) -> TrainingState:
    """Train ``model`` in place; it ends with the weights of the best epoch.

    ``train_set`` and ``val_set`` are image sets, or any datasets of pairs (image (C, H, W) in [0, 1], class index); of
    the latter ``folder`` is told apart by the labels alone.

    The best epoch is the one with the highest validation score: clean accuracy, or for any adversarial training the
    mean of clean accuracy and accuracy under PGD at epsilon 0.03 on 70 % of the validation images. ``folder`` receives
    a checkpoint after every epoch, ``best.safetensors`` and ``metrics.jsonl``; the same run found there is resumed.
    ``about`` is written into the header of the weights, such as ``meddef.evaluation.describe`` of the data. ``look`` is
    called after each epoch with the number of epochs and the model; its result is kept in the history. Every epoch has
    its own random numbers, so that ``look`` does not affect training.

    Of several processes the first writes; all read ``folder``, so it must be on a shared disk. On a GPU, TF32 is off in
    training and convolutions are deterministic.

    Parameters that take no gradient (``requires_grad``) stay bit for bit, and so do the BatchNorm statistics of parts
    in which none takes any, see ``meddef.training.frozen``.

    Raises:
        InputError: no parameter takes a gradient; the loss or the logits are not finite (a smaller learning rate is the
            usual remedy); ``folder`` holds another training (settings, seed, images, frozen parameters) or one of
            another model; the processes do not find the same checkpoint; the model has a state that a file cannot hold.
    """
    check_savable(model)
    check_trainable(model)
    train_images, val_images = trainable(train_set, "train_set"), trainable(val_set, "val_set")
    team = Team.current()
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model.to(device).to(memory_format=layout)
    together = Together(model, team)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    rule = settings.adversarial
    attack = InnerAttack(model, rule.steps, settings.precision) if rule else None
    this = _identity(settings, seed, train_images, val_images)
    if digest := frozen_digest(model):
        this["frozen parameters"] = digest
    train_there, val_there = (resident(images, torch.device(device)) for images in (train_images, val_images))
    state = TrainingState()
    if (found := read_checkpoint(folder / CHECKPOINT)) is not None:
        tensors, header = found
        _refuse_another(folder, this, header.pop("run", this))  # earlier versions did not write it
        if (kept := _kept(folder, header)) is not None:
            restore(folder / CHECKPOINT, tensors, model, optimizer)
            state = kept
        del found, tensors
    if not team.agrees(state.epoch):
        raise InputError(
            f"the processes do not see the same {folder}: put it on a disk that all of them share"
        )
    if state.epoch:
        logger.info("%s: resuming after epoch %d", label, state.epoch)
    with (
        without_tf32(),
        repeatable(),
        climbing(device),
        progress_bar(settings.epochs, label, enabled=progress and team.leads) as bar,
    ):
        bar.update(state.epoch)
        while state.epoch < settings.epochs:
            started = perf_counter()
            epoch = Epoch(
                together, optimizer, attack, settings, state.epoch, state.ease, seed, torch.device(device)
            )
            row = {**epoch.plan(), **epoch.fit(train_there), **epoch.validate(val_there)}
            if look is not None:
                row |= look(state.epoch + 1, model)
            logger.info("%s: %s", label, row)
            state.history.append(row)
            if row["score"] > state.best_score:
                state.best_epoch, state.best_score = state.epoch, row["score"]
            ease_if_degraded(state, row["score"], settings)
            state.epoch += 1
            state.seconds += perf_counter() - started
            if team.leads:
                _keep(folder, model, optimizer, state, about or {}, this)
            bar.update()
            bar.set_postfix_str(f"score {row['score']:.3f}, best {state.best_score:.3f}")
    team.agrees(state.epoch)  # the first process has written the best weights
    if state.best and sha256_of(folder / BEST) != state.best:
        raise InputError(f"{folder / BEST} changed during the training: remove {folder} and train again")
    load_weights(folder / BEST, model)
    return state


def _kept(folder: Path, header: dict[str, Any]) -> TrainingState | None:
    """Where the checkpoint with this header left off; None (logged) where it cannot have, or has lost its best weights.

    A kill between the two files leaves the best weights of the epoch after the checkpoint, which is done again.
    """
    try:
        state = TrainingState(**header)
        scores = [row["score"] for row in state.history]
        if [row["epoch"] for row in state.history] != [*range(state.epoch)] or not state.epoch:
            raise ValueError(f"epoch {state.epoch} after {len(scores)} epochs")
        if state.best_score != max(scores) or scores.index(state.best_score) != state.best_epoch:
            raise ValueError(f"epoch {state.best_epoch} is not the best one")
        epoch = read_header(folder / BEST).get("epoch", state.best_epoch)
        if epoch != state.epoch and (
            epoch != state.best_epoch or state.best not in ("", sha256_of(folder / BEST))
        ):
            raise ValueError(f"the weights in {BEST} are others than those beside which it was written")
    except (OSError, TypeError, ValueError, LookupError) as error:
        logger.warning("%s is damaged (%s): training starts over", folder / CHECKPOINT, error)
        return None
    return state


def _identity(
    settings: TrainingSettings, seed: int, train_set: ImageSet | Items, val_set: ImageSet | Items
) -> dict[str, Any]:
    """The identity of a training in a folder, as JSON."""
    digest = hashlib.sha256()
    for images in (train_set, val_set):
        digest.update(np.ascontiguousarray(images.labels).tobytes() + "\0".join(images.names).encode())
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "images": {
            "train": len(train_set),
            "val": len(val_set),
            "file names and labels": digest.hexdigest()[:16],
        },
    }


def _refuse_another(folder: Path, this: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """``InputError`` that names the first difference where ``folder`` holds a training other than ``this``."""
    for part in {**found, **this}:
        there, wanted = found.get(part), this.get(part)
        if there == wanted:
            continue
        pairs = (
            [(name, there.get(name), value) for name, value in wanted.items()]
            if isinstance(there, dict) and isinstance(wanted, dict)
            else [(part, there, wanted)]
        )
        name, old, new = next(((n, a, b) for n, a, b in pairs if a != b), (part, there, wanted))
        raise InputError(
            f"{folder} contains another training ({name}: {old}, now {new}): give another folder, or delete this one"
        )


def _keep(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
    about: Mapping[str, Any],
    this: Mapping[str, Any],
) -> None:
    """Write the results of the finished epoch."""
    if state.best_epoch == state.epoch - 1:
        save_weights(folder / BEST, model, **(dict(about) | {"epoch": state.best_epoch}))
        state.best = sha256_of(folder / BEST)
    save_checkpoint(folder / CHECKPOINT, model, optimizer, **asdict(state), run=this)
    write_text(folder / "metrics.jsonl", "".join(json.dumps(entry) + "\n" for entry in state.history))


def ease_if_degraded(state: TrainingState, score: float, settings: TrainingSettings) -> None:
    """The paper's "automatic safety adjustments when validation performance degraded", as a stated rule.

    After ``patience`` consecutive epochs whose score lies more than ``tolerance`` below the best, epsilon and the
    adversarial weight are multiplied by ``ease_factor`` from the next epoch on. Competing methods keep their epsilon.
    """
    rule = settings.adversarial
    if rule is None or rule.method != PAPERS_METHOD:
        return
    state.below = state.below + 1 if score < state.best_score - rule.tolerance else 0
    if state.below >= rule.patience:
        state.ease *= rule.ease_factor
        state.below = 0
        logger.info("validation degraded for %d epochs: easing to %.2f", rule.patience, state.ease)
