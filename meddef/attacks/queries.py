"""Asking a model for its answer without letting it change the images it is asked about.

``x.sub_(0.5)`` in a forward pass, a first layer with ``inplace=True``, ``x.data``: such a model changes the images of
its caller and of the attack, which then compares, projects and judges something else. An attack notices it when the
model answers, and starts again with a model that is given copies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddef.errors import InputError

_REFUSALS = ("leaf Variable that requires grad", "Inplace update to inference tensor")  # autograd's, in place


class WritesIntoInput(InputError):
    """The model changed the images that it was given."""

    def __init__(self) -> None:
        super().__init__("the model writes into its input: let its forward pass begin with x = x.clone()")


def ask(model: nn.Module, x: Tensor, *, first: bool = False) -> object:
    """What ``model`` returns for ``x`` (N, C, H, W), which it must not change.

    A change that PyTorch counts is always noticed, and costs nothing to notice. With ``first``, once in a call of an
    attack, values are compared too, which shows what goes past the counter (``x.data``, NumPy), and put back.

    Raises:
        WritesIntoInput: it did.
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
    """The model, given copies of images (N, C, H, W), which it may change."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = getattr(model, "training", False)  # so that nothing is switched that need not be

    def forward(self, x: Tensor) -> object:
        return self.model(x.clone())
