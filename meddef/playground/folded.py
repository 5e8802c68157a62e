"""The browser version of the network: BatchNorm folded into convolutions, resampling as matrices, half precision."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from meddef.models import MSF, DefenseModule, Normalized
from meddef.playground.model import NarrowMedDef

FEATURES = 4
"""Edge of the DefenseModule's feature map at 64 px."""


class FixedMSF(MSF):
    """MSF for features of 4 x 4: pooling and upsampling as matrices, whose derivatives are matrices again."""

    def __init__(self, block: MSF) -> None:
        nn.Module.__init__(self)
        self.scales, self.fusion = block.scales, block.fusion
        for size in self.SCALES:
            pool = F.adaptive_avg_pool1d(torch.eye(FEATURES)[None], size)[0].T  # (s, 4)
            grow = F.interpolate(torch.eye(size)[None], size=FEATURES, mode="linear")[0].T  # (4, s)
            self.register_buffer(f"pool{size}", pool.contiguous())
            self.register_buffer(f"grow{size}", grow.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        levels = [x]
        for size, transform in zip(self.SCALES, self.scales, strict=True):
            pool, grow = self.get_buffer(f"pool{size}"), self.get_buffer(f"grow{size}")
            levels.append(grow @ transform(pool @ x @ pool.T) @ grow.T)
        return self.fusion(torch.cat(levels, dim=1))


class Folded(nn.Module):
    """Images (N, 1, 64, 64) in [0, 1] to logits (N, K), as ``model`` in evaluation mode up to rounding.

    Weights are those of ``model`` rounded to float16, in float32 arithmetic.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Normalized) -> None:
        super().__init__()
        network = copy.deepcopy(model.network).eval().to(memory_format=torch.contiguous_format)
        assert isinstance(network, NarrowMedDef)
        defense = network.late[1]
        assert isinstance(defense, DefenseModule)
        msf = defense.components["msf"]
        assert isinstance(msf, MSF)
        defense.components["msf"] = FixedMSF(msf)
        self.early, self.late = fuse(network.early.eval()), fuse(network.late.eval())
        self.attention, self.fusion, self.head = network.attention, network.fusion, network.head
        self.register_buffer("mean", model.mean.clone())
        self.register_buffer("std", model.std.clone())
        for tensor in self.state_dict().values():
            tensor.copy_(tensor.half())
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Grad-CAM's feature maps, (N, 32, 8, 8)."""
        return self.early((images - self.mean) / self.std)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (N, K) from ``features``."""
        return NarrowMedDef.classify(self, features)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))
