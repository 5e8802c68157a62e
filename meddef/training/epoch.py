"""One epoch of training, clean or adversarial by one of ``meddef.training.methods``.

All randomness of an epoch derives from (seed, epoch), so a resumed run equals an uninterrupted one. Each of several
processes attacks and trains on its share of a batch. Order and dropout are drawn for the whole batch, and random starts
are derived from the images, so that the curve is the same, within rounding, for any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.settings import TrainingSettings
from meddef.small_maps import SmallMaps
from meddef.training.augmentation import augment
from meddef.training.distributed import Together
from meddef.training.frozen import frozen_norms
from meddef.training.gpu_resident import Resident
from meddef.training.inner_attack import InnerAttack, Search
from meddef.training.items import Items
from meddef.training.methods import objective
from meddef.training.objective import Passed
from meddef.training.schedule import training_step

VALIDATION_EPSILON = (
    0.03  # the last phase's budget in every epoch, so that scores can be compared between epochs
)
VALIDATION_SEED = 0
VALIDATION_BATCH = 128  # images; larger than a training batch, since it only affects time
SEED_STRIDE = 100_003  # more epochs than any run has, so that (seed, epoch) pairs never share random numbers


def class_weights(labels: np.ndarray) -> Tensor:
    """Weights that give each class the same total, n / (K * n_class): int64 (N,) -> float32 (K,).

    Raises:
        InputError: a class below the highest label has no image.
    """
    counts = torch.bincount(torch.as_tensor(labels)).float()
    if len(missing := (counts == 0).nonzero()):
        raise no_image(int(missing[0]))
    return counts.sum() / (len(counts) * counts)


def no_image(label: int) -> InputError:
    """The error for class weights where class ``label`` (from 0) has no training image."""
    return InputError(
        f"class_weights: class {label} (counted from 0) has no training image, so no weight: "
        "add images of it, take another split, or leave training.class_weights out"
    )


class Epoch:
    """One pass over the training images and one over the validation images."""

    def __init__(
        self,
        together: Together,
        optimizer: torch.optim.Optimizer,
        attack: InnerAttack | None,
        settings: TrainingSettings,
        number: int,
        ease: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.together, self.model, self.team = together, together.model, together.team
        self.optimizer, self.attack, self.settings, self.device = optimizer, attack, settings, device
        self.number, self.ease = number, ease
        self.seed = seed * SEED_STRIDE + number
        self.objective = objective(settings, number, ease)

    def plan(self) -> dict[str, Any]:
        """The method's settings of this epoch; None for clean training."""
        return {"epoch": self.number, "ease": self.ease, **self.objective.plan()}

    def fit(self, images: ImageSet | Items | Resident) -> dict[str, Any]:
        """Train on every image once; returns mean losses and the clean accuracy during training.

        Losses that the method does not use are None.
        """
        self.model.train()
        for layer in frozen_norms(self.model):
            layer.eval()
        if self.attack is not None:
            self.attack.new_epoch()
        weights = class_weights(images.labels).to(self.device) if self.settings.class_weights else None
        generator = torch.Generator().manual_seed(self.seed)
        sizes, parts = [], []  # the parts stay on the device until the epoch ends
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)  # dropout
            for indices in torch.randperm(len(images), generator=generator).split(self.settings.batch_size):
                if len(indices) < 2:
                    continue  # BatchNorm needs two values per channel
                clean, labels = images.batch(indices)
                clean = augment(clean, self.settings.augmentation, generator)
                adversarial = self._attack_share(clean, labels)
                share = clean[self.team.share(len(clean))] if self.objective.learns_clean else clean[:0]
                share = share.to(self.device)
                parts.append(self._step(share, adversarial, labels.to(self.device), weights))
                sizes.append(len(clean))
        if not sizes:
            raise InputError(f"{len(images)} training image: BatchNorm needs two or more in a batch")
        return self._summary(sizes, self.team.sum(torch.stack(parts).double()).tolist())

    def _summary(self, sizes: list[int], parts: list[list[float]]) -> dict[str, Any]:
        """Mean losses and accuracy of an epoch, from each batch's length, mean losses and hits."""
        attacked = [self.objective.attacked(size) for size in sizes]
        clean_loss = sum(part[0] * size for part, size in zip(parts, sizes, strict=True))
        adversarial_loss = sum(part[1] * size for part, size in zip(parts, attacked, strict=True))
        loss = (clean_loss + adversarial_loss) / sum(sizes)
        if not math.isfinite(loss):
            raise InputError(f"the loss is {loss} in epoch {self.number}: lower training.learning_rate")
        learns = self.objective.learns_clean
        return {
            "loss_clean": clean_loss / sum(sizes) if learns else None,
            "loss_adversarial": adversarial_loss / sum(attacked) if sum(attacked) else None,
            "train_accuracy": sum(int(part[2]) for part in parts) / sum(sizes) if learns else None,
        }

    def validate(self, images: ImageSet | Items | Resident) -> dict[str, Any]:
        """Clean accuracy on all images; accuracy under PGD on a fixed, seeded 70 % of them; the score."""
        rule = self.settings.adversarial
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(images), generator=generator)
        attacked = round(rule.validation_share * len(images)) if rule else 0
        hits = torch.zeros(
            (2, 2), dtype=torch.long, device=self.device
        )  # clean, adversarial: correct, non-finite
        self.model.eval()
        for start in range(0, len(images), VALIDATION_BATCH):
            indices = order[start : start + VALIDATION_BATCH]
            clean, labels = images.batch(indices)
            mine = self.team.share(len(clean))
            hits[0] += self._hits(clean[mine], labels[mine])
            count = min(len(clean), attacked - start)
            if rule and count > 0:
                step = training_step(VALIDATION_EPSILON, rule.steps)
                search = Search(VALIDATION_EPSILON, step, rule.steps)
                found = self._search(search, clean[:count], labels[:count], VALIDATION_SEED)
                hits[1] += self._hits(found, labels[self.team.share(count)])
        (clean_hits, lost), (adversarial_hits, lost_attacked) = self.team.sum(hits).tolist()
        if unanswered := lost + lost_attacked:
            raise InputError(
                f"epoch {self.number}: logits of {unanswered} validation images are not finite: "
                "lower training.learning_rate"
            )
        clean_accuracy = clean_hits / len(images)
        if not attacked:
            return {"val_clean": clean_accuracy, "val_adversarial": None, "score": clean_accuracy}
        robust_accuracy = adversarial_hits / attacked
        score = (clean_accuracy + robust_accuracy) / 2
        return {"val_clean": clean_accuracy, "val_adversarial": robust_accuracy, "score": score}

    def _attack_share(self, images: Tensor, labels: Tensor) -> Tensor:
        """Attacked versions of this process's share of a batch's attacked images."""
        if not (count := self.objective.attacked(len(images))):
            return images[:0].to(self.device)
        return self._search(self.objective.search(), images[:count], labels[:count], self.seed)

    def _search(self, search: Search, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Attacked versions of this process's share."""
        assert self.attack is not None
        mine = self.team.share(len(images))
        images, labels = images[mine].to(self.device), labels[mine].to(self.device)
        try:
            return self.attack(images, labels, seed=seed, **asdict(search))
        except InputError as error:  # weights that are no longer finite
            raise InputError(f"epoch {self.number}: {error}: lower training.learning_rate") from error

    def _step(self, clean: Tensor, adversarial: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """One optimizer step on this process's ``clean`` and ``adversarial`` images; ``labels`` are the whole batch's.

        Returns this process's part of the mean clean loss, of the mean adversarial loss and of the clean images got
        right, (3,).
        """
        attacked, learnt = self.objective.attacked(len(labels)), len(labels) * self.objective.learns_clean
        with self._arithmetic():
            logits = self.together(torch.cat([clean, adversarial]), learnt, attacked).float()
        if weights is not None and len(weights) < logits.shape[1]:
            raise no_image(len(weights))
        passed = Passed(logits[: len(clean)], logits[len(clean) :], labels, attacked, self.team, weights)
        loss, loss_clean, loss_adversarial = self.objective.loss(passed)
        self.optimizer.zero_grad()
        self.together.backward(loss)
        self.optimizer.step()
        hits = (passed.clean.argmax(1) == labels[self.team.share(learnt)]).sum()
        return torch.stack([loss_clean.detach(), loss_adversarial.detach(), hits.float()])

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """That of the forward pass of a step."""
        if self.settings.precision != "bf16":
            yield
            return
        with torch.autocast(self.device.type, torch.bfloat16), SmallMaps():
            yield

    def _hits(self, images: Tensor, labels: Tensor) -> Tensor:
        """Number of correct images, and of images with non-finite logits, (2,)."""
        with torch.no_grad():
            logits = self.model(images.to(self.device))
        right = logits.argmax(1) == labels.to(self.device)
        return torch.stack([right.sum(), (~torch.isfinite(logits).all(1)).sum()])
