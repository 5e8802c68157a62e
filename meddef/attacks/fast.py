"""Where an attack takes its gradients from: the model itself, a faster copy of it, or bfloat16 arithmetic.

Gradients that are only nearly the model's find other images, and may fool the model less often. How much less was
measured: see the cost page of the book.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from meddef.attacks import contract
from meddef.attacks.capture import kept
from meddef.attacks.first_layer import FirstLayer, pays
from meddef.attacks.shadow import shadow_of
from meddef.errors import InputError

PRECISIONS = ("float32", "bf16")
_FEW = 16  # positions


def gradient_source(
    model: nn.Module, images: Tensor, *, fast: bool, precision: str, once: bool = False
) -> nn.Module:
    """The model, or a stand-in whose gradients are nearly the same and cheaper.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W); the first is used to check the stand-in.
        fast: take a private copy with every BatchNorm folded into its convolution, channels-last where that pays, the
            gradient of the first layer computed as in ``meddef.attacks.first_layer`` (on a GPU: a
            ``meddef.attacks.shadow``); for its gain and its loss in attack success see the cost page.
        precision: "float32" leaves the arithmetic alone; "bf16" runs the forward pass under bfloat16 autocast, which
            pays on CPUs with avx512_bf16 and on GPUs, and costs time elsewhere; for both see the cost page.

        once: it is for a single gradient, for which a copy made for a GPU would not pay.

    Raises:
        InputError: unknown precision; ``torch.fx`` cannot trace the model, or the copy's logits differ from its.
    """
    contract.check_choice(precision, PRECISIONS, "precision")
    if images.device.type == "cuda" and (fast or precision == "bf16") and not once:
        dtype = torch.bfloat16 if precision == "bf16" else None
        if (quick := shadow_of(model, images, fold=fast, dtype=dtype)) is not None:
            return quick
    source = _folded(model, images) if fast else model
    if precision == "float32":
        return source
    if fast:
        for module in source.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)  # as autocast would, once rather than in every step
    return kept(model, ("autocast", fast), lambda: _InBfloat16(source).eval())


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
        folded = fuse(model).requires_grad_(False)  # fuse copies first
    except (fx.proxy.TraceError, TypeError, NotImplementedError) as error:
        raise InputError(f"fast=True cannot trace this model ({error}); leave fast out") from error
    some = images[:1]
    with torch.no_grad(), _positions(folded) as positions:
        if not torch.allclose(model(some), folded(some), rtol=1e-3, atol=1e-3):
            raise InputError("fast=True changes this model's logits (BatchNorm folding); leave fast out")
    for name, count in positions.items():
        convolution = cast(nn.Conv2d, folded.get_submodule(name))
        folded.set_submodule(name, _laid_out(convolution, few=count <= _FEW))
    return folded


def _laid_out(convolution: nn.Conv2d, *, few: bool) -> nn.Module:
    quick = _Plain(convolution) if few else convolution.to(memory_format=torch.channels_last)
    return FirstLayer(convolution, quick) if pays(convolution) else quick


@contextmanager
def _positions(model: nn.Module) -> Iterator[dict[str, int]]:
    """Fills a dictionary: name of each convolution that runs -> height times width of its last output."""
    found: dict[str, int] = {}

    def note(name: str, output: Tensor) -> None:
        found[name] = output[0, 0].numel()

    hooks = [
        module.register_forward_hook(lambda module, given, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if type(module) is nn.Conv2d
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class _Plain(nn.Module):
    """A convolution that is not channels-last: with few positions its time goes into reordering the weights, which
    is quicker so."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution.to(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.contiguous())
