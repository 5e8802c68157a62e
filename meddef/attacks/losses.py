"""The attack's objective: one number per image, larger the closer the model is to misclassification."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from meddef.attacks import contract
from meddef.errors import InputError

LOSSES = ("ce", "margin", "dlr")
Loss = str | Callable[[Tensor, Tensor], Tensor]
"""One of ``LOSSES``, or a function (logits (N, K), labels (N,)) -> (N,), larger the further answers are from labels."""


def check_loss(loss: Loss) -> None:
    """Refuse what is neither a name nor a function."""
    if not callable(loss):
        contract.check_choice(loss, LOSSES, "loss")


def own_loss(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
    """What the caller's function gives, (N,).

    Raises:
        InputError: it is not one number an image.
    """
    value = loss(logits, labels)
    if not isinstance(value, Tensor) or value.shape != labels.shape or not value.is_floating_point():
        got = (
            f"{value.dtype} of shape {tuple(value.shape)}"
            if isinstance(value, Tensor)
            else type(value).__name__
        )
        raise InputError(
            f"loss=... must return one floating-point number an image, shape ({len(labels)},), got {got}: of a loss of "
            "torch take reduction='none'"
        )
    return value


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max over j != y of z_j, minus z_y: above 0 where y is not predicted (Carlini & Wagner 2017).

    Args:
        logits: (N, K).
        labels: (N,), int64.

    Returns:
        (N,)
    """
    own = labels[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return logits.masked_fill(own, -torch.inf).amax(1) - logits.masked_fill(~own, 0).sum(
        1
    )  # reads nothing on the host


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio, the margin over z_(1) - z_(3) (Croce & Hein 2020, equation 6); needs K >= 3."""
    if logits.shape[1] < 3:
        raise InputError("the dlr loss needs at least 3 classes (first minus third logit); use loss='margin'")
    ordered = logits.sort(dim=1, descending=True).values
    return margin(logits, labels) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


def cross_entropy(logits: Tensor, labels: Tensor, *, look: bool = True) -> Tensor:
    """Cross-entropy, with a gradient that keeps its direction however confident the prediction is.

    16 logits ahead (float64: 36) the label's probability rounds to 1 and its part of the gradient to 0; 104 ahead the
    rest as well. There this is the machine epsilon times the logarithm of the odds of the others: below 0 and below
    what does not round, in the order of cross-entropy and with its gradient up to a factor.

    Args:
        logits: (N, K).
        labels: (N,), int64.
        look: on a CPU, spare the rest where nothing rounds; False reads nothing on the host.

    Returns:
        (N,)
    """
    value = F.cross_entropy(logits, labels, reduction="none")
    eps = torch.finfo(value.dtype).eps
    lost = value.detach() <= eps
    if look and value.device.type == "cpu" and not bool(lost.any()):
        return value
    own = labels[:, None] == torch.arange(logits.shape[1], device=logits.device)
    odds = logits.masked_fill(own, -torch.inf).logsumexp(1) - logits.masked_fill(~own, 0).sum(1)
    return torch.where(lost, eps * odds, value)


@dataclass(frozen=True)
class Objective:
    """The success criterion and the loss to ascend.

    labels (N,) are the true classes or, if targeted, the target classes; highest is the largest of them. A recorded
    objective computes its loss without reading values on the host.
    """

    labels: Tensor
    loss_name: Loss = "ce"
    targeted: bool = False
    highest: int = -1
    recorded: bool = False

    def __post_init__(self) -> None:
        check_loss(self.loss_name)
        if self.highest < 0 and len(self.labels):
            object.__setattr__(self, "highest", int(self.labels.max()))

    def loss(self, logits: Tensor) -> Tensor:
        """(N,), to be maximised."""
        if callable(self.loss_name):
            value = own_loss(self.loss_name, logits, self.labels)
        elif self.loss_name == "ce":
            value = cross_entropy(logits, self.labels, look=not self.recorded)
        else:
            value = (margin if self.loss_name == "margin" else dlr)(logits, self.labels)
        return -value if self.targeted else value

    def fooled(self, logits: Tensor) -> Tensor:
        """(N,), bool: the prediction is not the true class or, if targeted, is the target."""
        return (logits.argmax(1) == self.labels) == self.targeted

    def select(self, index: Tensor) -> "Objective":
        return replace(self, labels=self.labels[index])
