"""Models of one logit, and of one logit a label, as classifiers of two classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.errors import InputError


class Binary(nn.Module):
    """One logit z of ``model`` as the two logits (0, z): their softmax is the sigmoid of z, their cross-entropy the
    binary one, and class 1 is the answer where the sigmoid is above one half.

    Args:
        model: images (N, C, H, W) to logits (N, labels) or, with one label, (N,); it stays as it is.
        label: which of the logits, from 0.
        labels: how many there are.
    """

    def __init__(self, model: nn.Module, label: int = 0, labels: int = 1) -> None:
        super().__init__()
        if not 0 <= label < labels:
            raise InputError(f"label {label} is out of range: the model has {labels}")
        self.model, self.label, self.labels = model, label, labels
        self.training = model.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2).

        Raises:
            InputError: the model does not return ``labels`` logits an image.
        """
        z = self.model(images)
        if isinstance(z, Tensor) and z.shape not in (
            (len(images), self.labels),
            (len(images),) * (self.labels == 1),
        ):
            raise InputError(
                f"the model returned {tuple(z.shape)} for {len(images)} images and {self.labels} logits an image"
            )
        z = z.reshape(images.shape[0], -1)[:, self.label]  # also where torch.fx traces it
        return torch.stack([torch.zeros_like(z), z], 1)
