"""The source of an attack's gradients: the model itself, a faster copy, or bfloat16 arithmetic.

Approximate gradients find other examples, and may succeed less often. The loss was measured: see the book's cost page.
"""

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.capture import kept
from meddef.attacks.half_precision import InHalf
from meddef.attacks.shadow import shadow_of
from meddef.attacks.surrogate import Surrogate
from meddef.errors import InputError

PRECISIONS = ("float32", "bf16")


def gradient_source(
    model: nn.Module, images: Tensor, *, fast: bool, precision: str, once: bool = False
) -> nn.Module:
    """The model, or a surrogate with nearly the same, cheaper gradients.

    Args:
        model: in evaluation mode.
        images: (N, C, H, W); the first is used to check the surrogate.
        fast: use a cheaper private copy, see ``meddef.attacks.surrogate`` (on a GPU: ``meddef.attacks.shadow``); for
            its speed and loss in success rate see the cost page.
        precision: "float32" leaves the arithmetic alone; "bf16" runs the forward pass under bfloat16 autocast, which is
            faster on GPUs and on some CPUs, and far slower on others, whatever their instructions are called: time a
            step in both (``meddef estimate`` does); see the cost page.

        once: only a single gradient is needed, for which a copy on a GPU does not pay off.

    Raises:
        InputError: unknown precision, or bf16 for images that are not float32; the model cannot be copied, ``torch.fx``
            cannot trace it, its copy fails or has other logits.
    """
    contract.check_choice(precision, PRECISIONS, "precision")
    if precision == "bf16" and (images.dtype != torch.float32 or isinstance(model, InHalf)):
        given = model.dtype if isinstance(model, InHalf) else images.dtype
        raise InputError(
            f"precision='bf16' is for images and models in float32, got {given}: leave precision out"
        )
    if images.device.type == "cuda" and (fast or precision == "bf16") and not once:
        dtype = torch.bfloat16 if precision == "bf16" else None
        if (quick := shadow_of(model, images, fold=fast, dtype=dtype)) is not None:
            return quick
    if fast:
        return Surrogate(model, images, half=precision == "bf16")
    return model if precision == "float32" else kept(model, "autocast", lambda: _InBfloat16(model).eval())


def layout(images: Tensor, fast: bool) -> Tensor:
    """The fastest memory format of the source."""
    return images.contiguous(memory_format=torch.channels_last) if fast and images.ndim == 4 else images


class _InBfloat16(nn.Module):
    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> object:
        with torch.autocast(x.device.type, torch.bfloat16):
            answer = self.source(x)
        return answer.float() if isinstance(answer, Tensor) and answer.is_floating_point() else answer
