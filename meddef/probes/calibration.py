"""Confidence against accuracy, on clean images and under PGD.

Confidence is the largest probability of the softmax; the Brier score of an image is the squared distance of its
probabilities from the true class's (Brier 1950; 0 to 2). Confidences and predictions give the expected calibration
error, ``meddef.statistics.calibration_error`` (Guo et al. 2017, "On calibration of modern neural networks").
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from meddef.probes.attacking import attacked, logits_of
from meddef.settings import ModelProbe


def measure(
    model: nn.Module, images: Tensor, labels: Tensor, rule: ModelProbe, drawn: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """ "confidence", "right" (0 or 1) and "brier", (N,) each, before and, with " attacked", after PGD."""
    before = scores(logits_of(model, images), labels)
    after = scores(logits_of(model, attacked(model, images, labels, rule)), labels)
    return before | {f"{name} attacked": values for name, values in after.items()}


def scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of logits (N, K) and labels (N,)."""
    probabilities = logits.double().softmax(1)
    confidence, answers = probabilities.max(1)
    brier = (probabilities - F.one_hot(labels, probabilities.shape[1])).square().sum(1)
    return {"confidence": confidence, "right": (answers == labels).double(), "brier": brier}
