"""The contract of every attack: checked input, an unchanged model, verified logits."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from meddef.caller_warnings import warn
from meddef.errors import InputError
from meddef.module_state import evaluating

FORMATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


ROUNDING = 1e-3  # tolerance for rounding outside [0, 1]


class ZeroGradientWarning(UserWarning):
    """Some images have an input gradient that is exactly zero: a gradient attack cannot move them."""


class ProbabilitiesWarning(UserWarning):
    """A model returns probabilities instead of logits, which weakens attacks on it."""


def probable(logits: Tensor) -> Tensor:
    """Whether outputs (N, K) look like probabilities (they sum to 1, and images differ), a bool on their device."""
    off = (logits.sum(1) - 1).abs().max()
    return (logits.amin() >= 0) & (off <= ROUNDING) & (logits != logits[:1]).any()


def warn_of_probabilities() -> None:
    """``ProbabilitiesWarning`` where outputs are ``probable``."""
    warn(
        "the model's outputs sum to 1 for every image, like probabilities: after a softmax the gradient saturates, "
        "and attacks fail on images that are not robust; let forward() return the logits",
        ProbabilitiesWarning,
    )


def check_batch(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Refuse anything but a batch of images in [0, 1] with one class index each.

    Args:
        model: the classifier under attack; anything but an ``nn.Module`` is refused.
        images: (N, C, H, W), floating point, values in [0, 1].
        labels: (N,), integer class indices.

    Returns:
        The labels as int64 on the device of the images.

    Raises:
        InputError: one line that names the fault and the remedy.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"images must be a floating-point tensor in [0, 1], got {kind}; divide 8-bit by 255")
    if images.dtype not in FORMATS:
        raise InputError(f"images must be float32, float64, float16 or bfloat16, got {images.dtype}")
    if images.ndim < 2 or 0 in images.shape[1:]:
        raise InputError(f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}")
    if len(images):
        check_range(images.detach())
    return check_labels(labels, images, "labels")


def check_labels(labels: Tensor, images: Tensor, name: str) -> Tensor:
    """Class indices as int64, one for each of ``images``, on their device."""
    if not isinstance(labels, Tensor):
        remedy = (
            "wrap a dataset in torch.utils.data.DataLoader" if isinstance(labels, int) else "torch.as_tensor"
        )
        raise InputError(
            f"{name} must be a tensor of integer class indices, shape (N,), got {type(labels).__name__}: {remedy}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(
            f"{name} must be a tensor of integer class indices, shape (N,), got {labels.dtype}: {name}.long() if "
            "they are whole"
        )
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"{name} must have shape ({len(images)},), one per image; got {tuple(labels.shape)}{_way_out(labels, name)}"
        )
    with torch.inference_mode(False):  # a tensor made in inference mode cannot be kept for a backward pass
        labels = labels.to(images.device, torch.int64)
        labels = labels.clone() if labels.is_inference() else labels
    if len(labels) and int(labels.min()) < 0:
        raise InputError(
            f"{name} must be class indices from 0, got {int(labels.min())}: remove images without class"
        )
    return labels


def _way_out(labels: Tensor, name: str) -> str:
    """How to get class indices from labels of another shape, where this is clear."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return f": give {name}[:, 0]"
    if labels.ndim == 2:
        return f": if one class per image is marked, give {name}.argmax(1)"
    return ": wrap a dataset in torch.utils.data.DataLoader" if labels.ndim == 0 else ""


def check_range(images: Tensor) -> None:
    """Refuse NaN and values outside [0, 1], such as normalised or 0-255 input."""
    low, high = (float(end) for end in images.aminmax())
    if low != low or high != high:
        raise InputError(f"image {first_bad(torch.isfinite(images))} holds NaN; pixels must be in [0, 1]")
    beyond = max(-low, high - 1)
    if 0 < beyond <= ROUNDING:
        raise InputError(
            f"pixels must be in [0, 1], these lie outside by {beyond:.2g}, as after rounding: clamp(0, 1)"
        )
    if low < 0:
        raise InputError(f"pixels must be in [0, 1], got {low:.3g}: keep the normalisation inside the model")
    if high > 1:
        raise InputError(f"pixels must be in [0, 1], got {high:.3g}: divide 0-255 images by 255")


def first_bad(good: Tensor) -> int:
    """Index of the first image with any False in ``good`` (N, ...)."""
    return int((~good.reshape(len(good), -1)).any(1).nonzero()[0, 0])


def check_logits(logits: object, labels: Tensor) -> Tensor:
    """Refuse model output that is not finite (N, K) logits, K >= 2, with every label below K."""
    checked = check_logits_shape(logits, len(labels), int(labels.max()))
    check_finite(checked)
    return checked


def check_logits_shape(logits: object, count: int, highest: int) -> Tensor:
    """Refuse output that is not floating-point logits (count, K), K >= 2 and above ``highest``; reads no values."""
    if not isinstance(logits, Tensor):
        raise InputError(
            f"the model must return a tensor of logits (N, K), got {type(logits).__name__}: wrap it in a module whose "
            "forward returns the logits alone"
        )
    if logits.ndim != 2 or len(logits) != count or logits.shape[1] < 2 or not logits.is_floating_point():
        single = logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1)
        remedy = "; turn one logit z into two: meddef.models.Binary(model), or --activation sigmoid" * single
        raise InputError(
            f"the model must return floating-point logits ({count}, K) with K >= 2, "
            f"got {logits.dtype} of shape {tuple(logits.shape)}{remedy}"
        )
    if highest >= logits.shape[1]:
        raise InputError(f"label {highest} is out of range: the model has {logits.shape[1]} classes")
    return logits


def check_output(answer: object, count: int) -> Tensor:
    """Refuse output for ``count`` images that is not floating-point logits (count, K), regardless of the labels."""
    return check_logits_shape(answer, count, 0)


def check_finite(logits: Tensor) -> None:
    """Refuse logits (N, K) that are not finite."""
    if not bool((finite := torch.isfinite(logits)).all()):
        raise bad_logits(finite)


def bad_logits(finite: Tensor) -> InputError:
    """The refusal of logits of which ``finite`` (N, ...) says where they are finite."""
    return InputError(f"the model returned NaN or infinite logits for image {first_bad(finite)}")


def per_image(value: float | Tensor, images: Tensor, name: str, *, most: float = float("inf")) -> Tensor:
    """``value`` as float64 of shape (N, 1, ..., 1): one number for all, or a tensor (N,)."""
    if isinstance(value, list | tuple):
        raise InputError(
            f"{name} is a list, a grid that only fgsm accepts: give one number, or a tensor ({len(images)},) with one "
            "per image"
        )
    if not isinstance(value, Tensor) and np.asarray(value).dtype.kind not in "fiu":
        raise InputError(f"{name} must be a number or a tensor ({len(images)},), got {value!r}")
    given = value.detach() if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)
    if given.is_complex() or given.dtype == torch.bool:
        raise InputError(f"{name} must be a number or a tensor ({len(images)},), got {given.dtype}")
    given = given.to(images.device, torch.float64)
    if given.ndim > 0 and given.shape != images.shape[:1]:
        raise InputError(f"{name} must be a number or a tensor ({len(images)},), got {tuple(given.shape)}")
    if not bool(((given >= 0) & (given <= most) & torch.isfinite(given)).all()):
        raise InputError(f"{name} must be finite and from 0 to {most:g}, got {value}")
    return given.expand(len(images)).reshape(-1, *[1] * (images.ndim - 1))


def check_at_least(value: int, least: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_number(value: float, name: str, *, least: float, most: float = math.inf) -> None:
    number = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if not number or not least <= value <= most:
        extent = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise InputError(f"{name} must be a number {extent}, got {value!r}")


def check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


@contextmanager
def attacking(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode and gradients on; afterwards the model (``as_found``) and the global RNG are restored."""
    cuda = [device] if device.type == "cuda" else []
    with (
        evaluating(model),
        torch.random.fork_rng(devices=cuda),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        yield


@contextmanager
def fresh_chance(device: torch.device) -> Iterator[None]:
    """Random numbers that no attack has seen, derived from the global RNG, which is restored.

    An attack leaves the global RNG as it found it: without this, a random model that is asked about the result would
    draw what it drew in the attack's first pass, to which the result is fitted.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed = int(torch.randint(2**62, ()))
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class NoInputGradient(InputError):
    """A model through which no gradient comes back to the images."""


def input_gradient(objective: Tensor, images: Tensor, *, keep_graph: bool = False) -> Tensor:
    """d objective / d images, leaving every parameter's ``.grad`` alone; refused if it is missing or not finite."""
    gradient = unchecked_gradient(objective, images, keep_graph=keep_graph)
    check_gradient(gradient)
    return gradient


def unchecked_gradient(objective: Tensor, images: Tensor, *, keep_graph: bool = False) -> Tensor:
    """``input_gradient`` without reading its values; refused if it is missing."""
    gradient = None
    if objective.requires_grad:
        (gradient,) = torch.autograd.grad(objective, images, retain_graph=keep_graph, allow_unused=True)
    if gradient is None:
        raise NoInputGradient(
            "the model's output does not depend on its input: detach() or no_grad() inside the model?"
        )
    return gradient


def check_gradient(gradient: Tensor) -> None:
    """Refuse an input gradient (N, ...) that is not finite."""
    if not math.isfinite(float(gradient.sum())) and not bool((finite := torch.isfinite(gradient)).all()):
        raise bad_gradient(finite)


def check_first_gradient(gradient: Tensor) -> None:
    """``check_gradient`` and ``warn_if_zero``; on a GPU in one pass and with one wait for the device."""
    if gradient.device.type == "cpu":
        check_gradient(gradient)
        warn_if_zero(gradient)
        return
    largest = torch.linalg.vector_norm(gradient, torch.inf, dim=tuple(range(1, gradient.ndim))).cpu()
    if not bool((finite := torch.isfinite(largest)).all()):
        raise bad_gradient(finite)
    warn_of_zeros(int((largest == 0).sum()), len(largest))


def bad_gradient(finite: Tensor) -> InputError:
    """The refusal of a gradient of which ``finite`` (N, ...) says where it is finite."""
    return InputError(f"the input gradient of image {first_bad(finite)} is NaN or infinite: check the model")


def warn_if_zero(gradient: Tensor) -> None:
    """Count the images whose gradient is zero everywhere, for which an attack proves nothing."""
    warn_of_zeros(len(gradient) - int(gradient.flatten(1).any(1).sum()), len(gradient))


def warn_of_zeros(zero: int, count: int) -> None:
    """``ZeroGradientWarning`` where ``zero`` of ``count`` images have a gradient that is zero everywhere."""
    if zero:
        warn(
            f"the input gradient is exactly zero for {zero} of {count} images: a gradient attack cannot move them, so "
            "their survival is no evidence of robustness; try loss='margin' or square",
            ZeroGradientWarning,
        )
