"""A private copy of a model with nearly the same, cheaper input gradients: traced once, refreshed in place.

Every BatchNorm is folded into the convolution before it, convolutions are channels-last where that pays, and the
gradient of the first layer is computed as in ``meddef.attacks.first_layer``. An attack makes one per call; adversarial
training keeps one and calls ``refresh`` before every attack.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef import small_maps
from meddef.attacks import contract
from meddef.attacks.batchnorm_folding import named_tensors, plain, refusing, without_batch_norm
from meddef.attacks.first_layer import FirstLayer, pays
from meddef.attacks.queries import ask
from meddef.errors import InputError

_FEW = 16  # positions
_TOLERANCE = 1e-3
_ROUGH = 0.1  # of logits in bfloat16, relative to each and to the largest


class Surrogate(nn.Module):
    """Images (N, C, H, W) to float32 logits (N, K), like ``model`` within rounding.

    Args:
        model: in evaluation mode; it is not changed.
        images: (N, C, H, W); the first is used to optimise the copy and to check it.
        half: compute in bfloat16; the weights of convolutions and linear layers are stored so, where autocast would
            convert them in every step.

    Raises:
        InputError: the model's output is not logits; it cannot be copied, ``torch.fx`` cannot trace it, the copy fails
            or its logits differ.
    """

    def __init__(self, model: nn.Module, images: Tensor, *, half: bool) -> None:
        super().__init__()
        with torch.no_grad():
            given = contract.check_output(ask(model, images[:1], first=True), 1)
        self.in_bfloat16 = half
        self._original = [model]  # in a list, so as not to be a submodule
        self.network, self._folded = without_batch_norm(model)
        self._first: dict[str, FirstLayer] = {}
        named = named_tensors(self.network)
        self._filled = {name: tensor for name, tensor in named.items() if tensor.is_floating_point()}
        with refusing("copy"):
            self.refresh()
            self._lay_out(given, images[:1])
        if half:
            for module in self.network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear | FirstLayer):
                    module.to(torch.bfloat16)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        with refusing("run"), torch.autocast(x.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            logits: Tensor = self.network(x)
        return logits.float() if self.in_bfloat16 else logits

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the model's current weights and statistics in place."""
        model = self._original[0]
        state = named_tensors(model)
        for name, norm_name in self._folded.items():
            scale, bias = _scale_and_bias(model.get_submodule(name), model.get_submodule(norm_name))
            weight, state[f"{name}.bias"] = state.pop(f"{name}.weight"), bias
            torch.mul(weight, scale, out=self._filled[f"{name}.weight"])
            if name in self._first:
                self._first[name].fill(weight * scale)
        names = [name for name in self._filled if name in state]
        torch._foreach_copy_([self._filled[name] for name in names], [state[name] for name in names])
        for name in self._first.keys() - self._folded.keys():
            self._first[name].fill(state[f"{name}.weight"])

    @torch.no_grad()
    def agrees(self, image: Tensor) -> bool:
        """Whether the logits of ``image`` (1, C, H, W) are the model's, in bfloat16 within what that rounds.

        This reveals changes that ``refresh`` misses (a number stored in a module, a value computed from buffers at
        tracing, a replaced module).
        """
        given, here = ask(self._original[0], image), self(image)
        given = contract.check_output(given, len(image))
        near = (
            (_TOLERANCE, _TOLERANCE) if not self.in_bfloat16 else (_ROUGH, _ROUGH * float(given.abs().max()))
        )
        return given.shape == here.shape and torch.allclose(given, here, *near)

    def _lay_out(self, given: Tensor, image: Tensor) -> None:
        """``given``: the model's logits for ``image`` (1, C, H, W)."""
        with torch.no_grad(), _positions(self.network) as positions:
            if not torch.allclose(given, self.network(image), rtol=_TOLERANCE, atol=_TOLERANCE):
                raise InputError("fast=True changes this model's logits (BatchNorm folding); leave fast out")
        for name, count in positions.items():
            convolution = cast(nn.Conv2d, self.network.get_submodule(name))
            quick: nn.Module = convolution.to(memory_format=torch.channels_last)
            if _is_linear(convolution):
                quick = _Pointwise(convolution)
            elif self.in_bfloat16 and count <= small_maps.FEW and image.device.type == "cpu":
                quick = _Product(convolution)
            elif convolution.groups == 1 and count <= _FEW:
                quick = _Contiguous(convolution)
            if pays(convolution):
                quick = self._first[name] = FirstLayer(convolution, quick)
            self.network.set_submodule(name, quick)


def _scale_and_bias(convolution: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The effect of a BatchNorm in evaluation mode on the convolution before it: factor (D, 1, 1, 1), bias (D,)."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    shift = 0 if convolution.bias is None else convolution.bias
    bias = (shift - norm.running_mean) * scale + (norm.bias if norm.affine else 0)
    return scale[:, None, None, None], bias


@contextmanager
def _positions(model: nn.Module) -> Iterator[dict[str, int]]:
    """Fills a dictionary: name of each convolution that runs -> height times width of its last output."""
    found: dict[str, int] = {}

    def note(name: str, output: Tensor) -> None:
        found[name] = output[0, 0].numel()

    hooks = [
        module.register_forward_hook(lambda module, given, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if type(module) is nn.Conv2d and plain(module)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _is_linear(convolution: nn.Conv2d) -> bool:
    """Whether each position is mapped by itself and by the same matrix."""
    alone = convolution.kernel_size == convolution.stride == (1, 1) and convolution.groups == 1
    return alone and convolution.padding in ((0, 0), "valid")


class _Pointwise(nn.Module):
    """A 1 x 1 convolution as the linear layer that it is: the matrix product takes its weights as they lie, the
    convolution would reorder them in every call. Its output is channels-last."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.convolution.weight.flatten(1), self.convolution.bias
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class _Product(nn.Module):
    """A convolution as ``meddef.small_maps`` computes it, where that applies."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        with small_maps.SmallMaps():
            found: Tensor = self.convolution(x)
        return found


class _Contiguous(nn.Module):
    """A convolution with few positions: its time goes into reordering the weights, which is quicker when they are not
    channels-last. Its output is, for the layers after it, and so is the gradient that it gives to those before."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution.to(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        laid_out = x.contiguous()
        if laid_out.requires_grad:
            laid_out.register_hook(_channels_last)
        return _channels_last(self.convolution(laid_out))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
