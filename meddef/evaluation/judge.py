"""One batch: predictions before and after the attack, with every result checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.targets import true_classes
from meddef.errors import InputError
from meddef.module_state import as_found

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
Targets = int | Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Judged:
    """Of a batch, int64 (N,) on its device: labels, predictions before and after, targets if any.

    ``scores_before`` and ``scores_after`` are the softmax of the logits, float32 (N, K); ``l2`` the Euclidean length of
    each change, float64 (N,).
    """

    labels: Tensor
    before: Tensor
    after: Tensor
    scores_before: Tensor
    scores_after: Tensor
    l2: Tensor
    num_classes: int
    targets: Tensor | None = None


def judge(
    model: nn.Module, images: Tensor, labels: Tensor, attack: Attack | None, targets: Targets | None
) -> tuple[Judged, float, int]:
    """The predictions, the largest change of a pixel, and the largest number of changed features of an image.

    Args:
        model: in evaluation mode, which is restored if an attack changes it.
        images, labels: as ``checked_batches`` gives them; they are never modified, whatever model and attack do.
        attack, targets: as for ``meddef.evaluation.evaluate``.

    Raises:
        InputError: outputs that are not finite logits for every label's class, an attack that returns no images.
    """
    clean_logits = logits_for(model, images, labels)
    if _check_clean(clean_logits, labels) and attack is not None:
        contract.warn_of_probabilities()
    aims = None if targets is None else _aims(targets, clean_logits, labels)
    attacked = images.detach()
    if attack is not None:
        with (
            torch.inference_mode(False),
            as_found(model),
            true_classes(images.detach(), labels if aims is None else None),
        ):
            attacked = attack(model, attacked.clone(), (labels if aims is None else aims).clone())
        attacked = _images_like(attacked, images)
    with contract.fresh_chance(images.device):
        attacked_logits = logits_for(model, attacked, labels)
    change = (attacked - images.detach()).abs().flatten(1)
    finite = torch.isfinite(attacked_logits)
    ends = torch.stack(attacked.aminmax()).nan_to_num(nan=torch.inf)
    low, high, answered, largest, features = _numbers(
        *ends, finite.all(), change.max(), (change > 0).sum(1).max()
    )
    if not 0 <= low <= high <= 1:
        raise _bad_pixels(attacked, low, high)
    if not answered:
        raise contract.bad_logits(finite)
    classes = clean_logits.shape[1]
    before, after = clean_logits.argmax(1), attacked_logits.argmax(1)
    scores = _probabilities(clean_logits), _probabilities(attacked_logits)
    lengths = torch.linalg.vector_norm(change.double(), dim=1)
    return Judged(labels, before, after, *scores, lengths, classes, aims), largest, int(features)


def _probabilities(logits: Tensor) -> Tensor:
    """Softmax of logits (N, K), float32."""
    return logits.double().softmax(1).float()


def _numbers(*values: Tensor) -> list[float]:
    """Scalars of one device as numbers, with one wait for it."""
    numbers: list[float] = torch.stack([value.double() for value in values]).tolist()
    return numbers


def _check_clean(logits: Tensor, labels: Tensor) -> bool:
    """Refuse non-finite outputs for clean images, and labels without a class in the model.

    Returns:
        Whether they look like probabilities.
    """
    finite = torch.isfinite(logits)
    answered, highest, probable = _numbers(finite.all(), labels.max(), contract.probable(logits))
    if not answered:
        raise contract.bad_logits(finite)
    if highest >= logits.shape[1]:
        raise InputError(f"label {highest:.0f} is out of range: the model has {logits.shape[1]} classes")
    return bool(probable)


def logits_for(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Logits (N, K) for a copy of ``images``.

    Raises:
        InputError: the output is not logits, or the model does not accept the images' dtype.
    """
    with torch.no_grad():
        try:
            answer = model(images.detach().clone())
        except RuntimeError as error:
            formats = {p.dtype for p in model.parameters() if p.is_floating_point()}
            if not formats or images.dtype in formats:
                raise
            its = " and ".join(sorted(map(str, formats)))
            raise InputError(
                f"the images are {images.dtype}, the model's parameters {its}: use images.to(...) or model.to(...)"
            ) from error
        return contract.check_logits_shape(answer, len(labels), -1).clone()  # a model may reuse its output


def _aims(targets: Targets, logits: Tensor, labels: Tensor) -> Tensor:
    """The target classes (N,), int64, from the clean logits (N, K)."""
    if isinstance(targets, int):
        aims = torch.full_like(labels, targets)
    else:
        aims = contract.check_labels(targets(logits.clone(), labels.clone()), labels, "targets").clone()
    if int(aims.max()) >= logits.shape[1] or int(aims.min()) < 0:
        raise InputError(
            f"targets must be classes from 0 to {logits.shape[1] - 1}, got {aims.unique().tolist()}"
        )
    return aims


def _images_like(found: object, images: Tensor) -> Tensor:
    """The result of an attack, refused unless it is a valid version of ``images``."""
    if not isinstance(found, Tensor):
        raise InputError(
            f"the attack must return a tensor of images {tuple(images.shape)}, got {type(found).__name__}: "
            "give a function that returns the attacked images alone"
        )
    if found.shape != images.shape:
        raise InputError(f"the attack returned {tuple(found.shape)} for images {tuple(images.shape)}")
    if (found.dtype, found.device) != (images.dtype, images.device):
        raise InputError(
            f"the attack returned {found.dtype} on {found.device} for images of {images.dtype} on {images.device}: "
            "let it return found.to(images)"
        )
    return found.detach()


def _bad_pixels(attacked: Tensor, low: float, high: float) -> InputError:
    if not bool((finite := torch.isfinite(attacked)).all()):
        return InputError(f"the attack returned NaN or infinite pixels in image {contract.first_bad(finite)}")
    beyond = max(-low, high - 1)
    return InputError(
        f"the attack returned pixels {beyond:.3g} outside [0, 1]: let it return found.clamp(0, 1)"
    )
