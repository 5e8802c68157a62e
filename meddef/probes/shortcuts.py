"""Does a model rely on shortcuts? Phantoms of the same patient with one thing changed.

Of each phantom (``meddef.data.draw_phantoms``) the letter at the side of the X-ray is removed or moved to the other
side, the lesion is removed, and the outer tenth of the image is blanked with its mean. A model without shortcuts
(Geirhos et al. 2020, "Shortcut learning in deep neural networks"; on letters DeGrave et al. 2021, "AI for radiographic
COVID-19 detection selects shortcuts over signal") changes its prediction with the lesion and not with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from meddef.probes.attacking import logits_of
from meddef.saliency.place import border_mask
from meddef.settings import ShortcutsProbe


def measure(
    model: nn.Module, images: Tensor, labels: Tensor, rule: ShortcutsProbe, drawn: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """1 where the prediction changes, (N,): "border" and each name of ``drawn``, which holds the changed images (N, H,
    W), uint8. NaN where nothing could be changed."""
    before = logits_of(model, images).argmax(1)
    grey = {name: each[:, None].to(images).div(255).expand_as(images) for name, each in drawn.items()}
    changed = grey | {"border": without_border(images)}
    return {name: _moved(model, images, each, before) for name, each in changed.items()}


def _moved(model: nn.Module, images: Tensor, changed: Tensor, before: Tensor) -> Tensor:
    answers = logits_of(model, changed.contiguous(memory_format=torch.channels_last)).argmax(1)
    same = (changed == images).flatten(1).all(1)
    return (answers != before).float().masked_fill(same, torch.nan)


def without_border(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with the outer tenth set to its mean, per image and channel."""
    border = torch.from_numpy(border_mask(images.shape[2:])).to(images.device)
    mean = (images * border).sum((2, 3), keepdim=True) / border.sum()
    return torch.where(border, mean, images)
