"""Where an attack takes its gradients from: the model itself, a faster copy of it, or bfloat16 arithmetic.

Gradients that are only nearly the model's find other images, and may fool the model less often. How much less was
measured: see the cost page of the book.
"""

import copy

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from meddef.attacks import contract
from meddef.attacks.first_layer import FirstLayer, pays
from meddef.errors import InputError

PRECISIONS = ("float32", "bf16")


def gradient_source(model: nn.Module, images: Tensor, *, fast: bool, precision: str) -> nn.Module:
    """The model, or a stand-in whose gradients are nearly the same and cheaper.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W); the first two are used to check the stand-in.
        fast: take a private copy with every BatchNorm folded into its convolution, channels-last, the gradient of the
            first layer computed as in ``meddef.attacks.first_layer``; for its gain and its loss in attack success see
            the cost page.
        precision: "float32" leaves the arithmetic alone; "bf16" runs the forward pass under bfloat16 autocast, which
            pays on CPUs with avx512_bf16 and on GPUs, and costs time elsewhere; for both see the cost page.

    Raises:
        InputError: unknown precision; ``torch.fx`` cannot trace the model, or the copy's logits differ from its.
    """
    contract.check_choice(precision, PRECISIONS, "precision")
    source = _folded(model, images) if fast else model
    if precision == "float32":
        return source
    if fast:
        for module in source.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)  # as autocast would, once rather than in every step
    return _InBfloat16(source).eval()


def layout(images: Tensor, fast: bool) -> Tensor:
    """The memory format the source is fastest in."""
    return images.contiguous(memory_format=torch.channels_last) if fast and images.ndim == 4 else images


class _InBfloat16(nn.Module):
    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.source(x).float()


def _folded(model: nn.Module, images: Tensor) -> nn.Module:
    try:
        folded = fuse(copy.deepcopy(model)).requires_grad_(False).to(memory_format=torch.channels_last)
    except (fx.proxy.TraceError, TypeError, NotImplementedError) as error:
        raise InputError(f"fast=True cannot trace this model ({error}); leave fast out") from error
    for name, module in list(folded.named_modules()):
        if isinstance(module, nn.Conv2d) and pays(module):
            folded.set_submodule(name, FirstLayer(module))
    some = images[:2]
    with torch.no_grad():
        if not torch.allclose(model(some), folded(layout(some, True)), rtol=1e-3, atol=1e-3):
            raise InputError("fast=True changes this model's logits (BatchNorm folding); leave fast out")
    return folded
