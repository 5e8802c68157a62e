"""Clean training and the paper's adversarial training, one loop for both.

Source: the paper, Sections III-B "Adversarial Training" and IV-B. In every batch the first 35 % of the (shuffled)
images are also attacked with PGD; clean and adversarial images pass through the model together and the loss is
(1 - w) * clean + w * adversarial, with epsilon and w from the schedule. All randomness of an epoch derives from
(seed, epoch), so a run that resumes from a checkpoint ends where an unbroken run ends.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.atomic import write_text
from meddef.attacks.gradient import pgd
from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.progress import progress_bar
from meddef.settings import TrainingSettings
from meddef.training.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights
from meddef.training.schedule import STEP_CAP, STEP_DIVISOR, EpsilonSchedule

logger = logging.getLogger(__name__)
VALIDATION_EPSILON = (
    0.03  # the last phase's budget in every epoch, so that scores can be compared between epochs
)
SEED_STRIDE = 100_003  # more epochs than any run has, so that (seed, epoch) pairs never share random numbers


@dataclass
class TrainingState:
    """What changes from epoch to epoch beside the weights; kept in the checkpoint."""

    epoch: int = 0  # epochs done
    ease: float = 1.0
    below: int = 0  # consecutive epochs whose score lies below the best by more than the tolerance
    best_epoch: int = -1
    best_score: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    model: nn.Module,
    train_set: ImageSet,
    val_set: ImageSet,
    settings: TrainingSettings,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
    label: str = "train",
    progress: bool = True,
) -> TrainingState:
    """Train ``model`` in place; it ends with the weights of the best epoch.

    The best epoch is the one with the highest validation score: clean accuracy, or for adversarial training the mean
    of clean accuracy and accuracy under PGD at epsilon 0.03 on 70 % of the validation images. ``folder`` receives a
    checkpoint after every epoch, ``best.safetensors`` and ``metrics.jsonl``; a run found there is resumed.

    Raises:
        InputError: the loss is not finite (a smaller learning rate is the usual remedy).
    """
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model.to(device).to(memory_format=layout)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    checkpoint = folder / "checkpoint.safetensors"
    header = load_checkpoint(checkpoint, model, optimizer)
    state = TrainingState(**header) if header else TrainingState()
    if state.epoch:
        logger.info("%s: resuming after epoch %d", label, state.epoch)
    with progress_bar(settings.epochs, label, enabled=progress) as bar:
        bar.update(state.epoch)
        while state.epoch < settings.epochs:
            epoch = _Epoch(model, optimizer, settings, state, seed, device)
            row = {**epoch.plan(), **epoch.fit(train_set), **epoch.validate(val_set)}
            logger.info("%s: %s", label, row)
            state.history.append(row)
            if row["score"] > state.best_score:
                state.best_epoch, state.best_score = state.epoch, row["score"]
                save_weights(folder / "best.safetensors", model, epoch=state.epoch)
            ease_if_degraded(state, row["score"], settings)
            state.epoch += 1
            save_checkpoint(checkpoint, model, optimizer, **asdict(state))
            lines = "".join(json.dumps(entry) + "\n" for entry in state.history)
            write_text(folder / "metrics.jsonl", lines)
            bar.update()
            bar.set_postfix_str(f"score {row['score']:.3f}, best {state.best_score:.3f}")
    load_weights(folder / "best.safetensors", model)
    return state


def ease_if_degraded(state: TrainingState, score: float, settings: TrainingSettings) -> None:
    """The paper's "automatic safety adjustments when validation performance degraded", as a stated rule.

    After ``patience`` consecutive epochs whose score lies more than ``tolerance`` below the best, epsilon and the
    adversarial weight are multiplied by ``ease_factor`` from the next epoch on.
    """
    if settings.adversarial is None:
        return
    rule = settings.adversarial
    state.below = state.below + 1 if score < state.best_score - rule.tolerance else 0
    if state.below >= rule.patience:
        state.ease *= rule.ease_factor
        state.below = 0
        logger.info("validation degraded for %d epochs: easing to %.2f", rule.patience, state.ease)


def class_weights(labels: np.ndarray) -> Tensor:
    """Weights that give each class the same total, n / (K * n_class): int64 (N,) -> float32 (K,)."""
    counts = torch.bincount(torch.as_tensor(labels)).float()
    return counts.sum() / (len(counts) * counts)


class _Epoch:
    """One pass over the training images and one over the validation images."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainingSettings,
        state: TrainingState,
        seed: int,
        device: str,
    ) -> None:
        self.model, self.optimizer, self.settings, self.device = model, optimizer, settings, device
        self.number, self.ease = state.epoch, state.ease
        self.seed = seed * SEED_STRIDE + state.epoch
        self.schedule = EpsilonSchedule(settings.epochs, ease=state.ease)

    def plan(self) -> dict[str, Any]:
        """What the schedule says about this epoch; None for clean training."""
        names = ("phase", "epsilon", "step_size", "adversarial_weight")
        adversarial = self.settings.adversarial is not None
        values = {name: getattr(self.schedule, name)(self.number) if adversarial else None for name in names}
        return {"epoch": self.number, "ease": self.ease, **values}

    def fit(self, images: ImageSet) -> dict[str, Any]:
        """Train on every image once; returns mean losses and the accuracy on clean images as seen while training."""
        self.model.train()
        weights = class_weights(images.labels).to(self.device) if self.settings.class_weights else None
        generator = torch.Generator().manual_seed(self.seed)
        clean_loss = adversarial_loss = 0.0
        hits = seen = attacked = 0
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [self.device]):
            torch.manual_seed(self.seed)  # dropout
            for indices in torch.randperm(len(images), generator=generator).split(self.settings.batch_size):
                if len(indices) < 2:
                    continue  # BatchNorm needs two values a channel
                clean, labels = (part.to(self.device) for part in images.batch(indices))
                clean = self._augment(clean, generator)
                adversarial = self._attack_share(clean, labels, generator)
                parts = self._step(clean, adversarial, labels, weights)
                clean_loss += parts[0] * len(clean)
                adversarial_loss += parts[1] * len(adversarial)
                hits, seen, attacked = hits + parts[2], seen + len(clean), attacked + len(adversarial)
        return {
            "loss_clean": clean_loss / seen,
            "loss_adversarial": adversarial_loss / attacked if attacked else None,
            "train_accuracy": hits / seen,
        }

    def validate(self, images: ImageSet) -> dict[str, Any]:
        """Clean accuracy on all images; accuracy under PGD on a fixed, seeded 70 % of them; the score."""
        rule = self.settings.adversarial
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(images), generator=generator)
        attacked = round(rule.validation_share * len(images)) if rule else 0
        clean_hits = adversarial_hits = 0
        self.model.eval()
        for start in range(0, len(images), self.settings.batch_size):
            indices = order[start : start + self.settings.batch_size]
            clean, labels = (part.to(self.device) for part in images.batch(indices))
            clean_hits += self._hits(clean, labels)
            count = min(len(clean), attacked - start)
            if rule and count > 0:
                step = min(VALIDATION_EPSILON / STEP_DIVISOR, STEP_CAP)
                found = self._pgd(clean[:count], labels[:count], VALIDATION_EPSILON, step, generator)
                adversarial_hits += self._hits(found, labels[:count])
        clean_accuracy = clean_hits / len(images)
        if not attacked:
            return {"val_clean": clean_accuracy, "val_adversarial": None, "score": clean_accuracy}
        robust_accuracy = adversarial_hits / attacked
        score = (clean_accuracy + robust_accuracy) / 2
        return {"val_clean": clean_accuracy, "val_adversarial": robust_accuracy, "score": score}

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if self.settings.horizontal_flip:
            flip = torch.rand(len(images), generator=generator) < 0.5
            images[flip] = images[flip].flip(-1)
        return images

    def _attack_share(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """PGD versions of the first 35 % of the batch; none of it for clean training."""
        rule = self.settings.adversarial
        if rule is None:
            return images[:0]
        count = max(1, round(rule.train_share * len(images)))
        epsilon, step = self.schedule.epsilon(self.number), self.schedule.step_size(self.number)
        return self._pgd(images[:count], labels[:count], epsilon, step, generator)

    def _pgd(
        self, images: Tensor, labels: Tensor, eps: float, step: float, generator: torch.Generator
    ) -> Tensor:
        assert self.settings.adversarial is not None
        steps, precision = self.settings.adversarial.steps, self.settings.precision
        return pgd(
            self.model, images, labels,
            eps=eps, step_size=step, steps=steps, precision=precision, generator=generator,
        )  # fmt: skip

    def _step(
        self, clean: Tensor, adversarial: Tensor, labels: Tensor, weights: Tensor | None
    ) -> tuple[float, float, int]:
        """One optimizer step; returns the clean loss, the adversarial loss and the clean images got right."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            logits = self.model(torch.cat([clean, adversarial])).float()
        loss = loss_clean = F.cross_entropy(logits[: len(clean)], labels, weights)
        loss_adversarial = torch.zeros(())
        if len(adversarial):
            loss_adversarial = F.cross_entropy(logits[len(clean) :], labels[: len(adversarial)], weights)
            share = self.schedule.adversarial_weight(self.number)
            loss = (1 - share) * loss_clean + share * loss_adversarial
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} in epoch {self.number}: lower training.learning_rate"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        hits = int((logits[: len(clean)].argmax(1) == labels).sum())
        return loss_clean.item(), loss_adversarial.item(), hits

    def _hits(self, images: Tensor, labels: Tensor) -> int:
        with torch.no_grad():
            return int((self.model(images).argmax(1) == labels).sum())
