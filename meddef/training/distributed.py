"""One training step of several processes that equals, within rounding, the step of one process on the whole batch.

``DistributedDataParallel`` sums the gradients. The other quantities that depend on the whole batch are handled here:
BatchNorm statistics and dropout masks. ``torch.nn.SyncBatchNorm`` runs on GPUs only; this BatchNorm runs wherever the
process group does, so that tests on CPUs cover GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from meddef.training.process_group import Team


@dataclass
class Batch:
    """The current batch: its length, and this process's rows."""

    length: int = 0
    mine: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))


class Together:
    """A model, and the forward and backward pass of this process's share of a training batch.

    With several processes, ``model`` is changed in place: each BatchNorm2d and Dropout below it is replaced by one that
    accounts for the whole batch in training. Names and tensors of its state are unchanged.
    """

    def __init__(self, model: nn.Module, team: Team) -> None:
        self.model, self.team, self.batch = model, team, Batch()
        self.forward = model
        if team.size > 1:
            _replace(model, team, self.batch)
            self.forward = DistributedDataParallel(model)

    def __call__(self, share: Tensor, *counts: int) -> Tensor:
        """Logits of ``share``: of this process's shares of ``counts[0]`` images, then of ``counts[1]``, and so on."""
        if self.team.size > 1:
            rows = torch.arange(sum(counts), device=share.device).split(list(counts))
            self.batch.mine = torch.cat([part[self.team.share(len(part))] for part in rows])
            self.batch.length = sum(counts)
        return self.forward(share)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the sum of every process's ``loss``; DistributedDataParallel alone takes their mean."""
        (loss * self.team.size).backward()


class _BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose batch is that of all processes: (N, C, H, W), N >= 0, to the same shape."""

    def __init__(self, norm: nn.BatchNorm2d, team: Team, batch: Batch) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.team, self.batch = team, batch

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = self.batch.length * x.shape[2] * x.shape[3]
        mean = _Sum.apply(values.sum((0, 2, 3)), self.team) / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3)), self.team) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _Dropout(nn.Dropout):
    """Dropout whose mask is drawn for the whole batch, as one process would, and cut to this process's rows."""

    def __init__(self, dropout: nn.Dropout, batch: Batch) -> None:
        super().__init__(dropout.p)
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = F.dropout(x.new_ones(self.batch.length, *x.shape[1:]), self.p)
        return x * mask[self.batch.mine]


class _Sum(torch.autograd.Function):
    """Sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, team: Team) -> Tensor:
        ctx.team = team
        return team.sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.team.sum(gradient), None


def _replace(model: nn.Module, team: Team, batch: Batch) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, _BatchNorm(module, team, batch))
        elif isinstance(module, nn.Dropout):
            model.set_submodule(name, _Dropout(module, batch))
