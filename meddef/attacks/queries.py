"""Query a model without letting it change its input images.

``x.sub_(0.5)`` in a forward pass, a first layer with ``inplace=True``, ``x.data``: such a model changes the images of
its caller and of the attack, which then compares, projects and evaluates other images. An attack detects this at a
forward pass, and restarts with a model that gets copies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.errors import InputError

_REFUSALS = ("leaf Variable that requires grad", "Inplace update to inference tensor")  # autograd's, in place


class WritesIntoInput(InputError):
    """The model changed its input images."""

    def __init__(self) -> None:
        super().__init__("the model writes into its input: let its forward pass begin with x = x.clone()")


def ask(model: nn.Module, x: Tensor, *, first: bool = False) -> object:
    """The output of ``model`` for ``x`` (N, C, H, W), which it must not change.

    A change counted by PyTorch is always detected, at no cost. With ``first``, once per call of an attack, values are
    compared too, which reveals changes that bypass the counter (``x.data``, NumPy), and restored.

    Raises:
        WritesIntoInput: it changed.
    """
    before = x.detach().clone() if first else None
    version = None if x.is_inference() else x._version
    try:
        answer: object = model(x)
    except RuntimeError as error:
        if not isinstance(model, Copying) and any(refusal in str(error) for refusal in _REFUSALS):
            raise WritesIntoInput from error
        raise
    if before is not None and not torch.equal(x.detach(), before):
        x.data.copy_(before)
        raise WritesIntoInput
    if version is not None and x._version != version:
        raise WritesIntoInput
    return answer


class Copying(nn.Module):
    """The model on copies of images (N, C, H, W), which it may change."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = getattr(model, "training", False)  # so that nothing is switched that need not be

    def forward(self, x: Tensor) -> object:
        return self.model(x.clone())
