"""Logits, loss, input gradient and Grad-CAM of a model in one graph: forward and backward, traced together.

The graph differentiates J = CE(z, onehot) + weights . z with respect to the image, which serves every attack of the
playground: with ``weights`` zero it is the gradient of the loss (FGSM, PGD); with ``onehot`` zero it is that of any sum
of logits (JSMA), and the map is Grad-CAM of that sum (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from meddef.playground.folded import Folded
from meddef.playground.images import SIZE

INPUTS = ("image", "onehot", "weights")
OUTPUTS = ("logits", "loss", "gradient", "heat")


class GradientGraph(nn.Module):
    """(image (1, 1, 64, 64), onehot (1, K), weights (1, K)) -> logits (1, K), loss (1,), gradient (1, 1, 64, 64),
    heat (1, 8, 8); see the module's docstring."""

    def __init__(self, model: Folded) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, onehot: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        x = image.detach().requires_grad_()
        features = self.model.features(x)
        logits = self.model.classify(features)
        loss = -(onehot * logits.log_softmax(1)).sum(1)
        objective = (loss + (weights * logits).sum(1)).sum()
        gradient, towards = torch.autograd.grad(objective, [x, features])
        heat = (towards.mean((2, 3), keepdim=True) * features).sum(1).relu()
        return logits.detach(), loss.detach(), gradient, heat.detach()


def trace(model: Folded) -> GraphModule:
    """``GradientGraph`` of ``model``, forward and backward, as one graph of operations that ONNX has."""
    table = dict(torch._decomp.core_aten_decompositions())
    table[torch.ops.aten.convolution_backward.default] = _convolution_backward
    with sdpa_kernel(SDPBackend.MATH):
        return make_fx(GradientGraph(model), decomposition_table=table)(*example(model))


def example(model: Folded) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the right shapes."""
    num_classes = model.head.out_features
    return torch.full((1, 1, SIZE, SIZE), 0.5), torch.eye(num_classes)[:1], torch.zeros(1, num_classes)


def _convolution_backward(
    grad_output: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int] | None, stride: list[int],
    padding: list[int], dilation: list[int], transposed: bool, output_padding: list[int], groups: int,
    output_mask: list[bool],
) -> tuple[Tensor, None, None]:  # fmt: skip
    """The derivative of a convolution by its input is a transposed convolution; the weights are constants here."""
    assert list(output_mask) == [True, False, False]
    lost = [
        size - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, out, s, p, d, k in zip(
            x.shape[2:], grad_output.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]
    gradient = torch.ops.aten.convolution(
        grad_output, weight, None, stride, padding, dilation, True, lost, groups
    )
    return gradient, None, None
