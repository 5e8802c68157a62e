"""One attack on saved weights, without a plan or records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks import ATTACKS
from meddef.attacks.options import check_options, with_step_size
from meddef.data.splits import Splits
from meddef.errors import InputError
from meddef.evaluation.judge import Targets
from meddef.evaluation.own_code import own_attack
from meddef.evaluation.own_model import check_classes
from meddef.evaluation.weights_header import check_images, check_model
from meddef.models import build_model
from meddef.pruning import prune_l1
from meddef.training import load_weights
from meddef.training.checkpoint import read_header

FROM_LOGITS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "second": lambda logits, labels: logits.scatter(1, labels[:, None], -torch.inf).argmax(1),
    "least": lambda logits, labels: logits.scatter(1, labels[:, None], torch.inf).argmin(1),
}
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def bind_attack(
    name: str, eps: float | None, settings: Mapping[str, Any], *, targeted: bool = False
) -> partial[Tensor] | None:
    """An attack by name with eps (None: the default) and ``settings`` over those of ``ATTACKS``; None for "clean".

    A name with a colon is the place of the user's own, see ``meddef.evaluation.own_code``.

    Raises:
        InputError: unknown attack, an eps or a setting that it does not take; one that cannot be ``targeted``.
    """
    if ":" in name:
        return own_attack(name, eps, settings, targeted=targeted)
    able = [known for known, attack in ATTACKS.items() if "targeted" in signature(attack).parameters]
    if targeted and name not in able:
        remedy = ": give --set targets=second, least or all" if name == "jsma" else ""
        raise InputError(f"--targets is for {', '.join(able)}, not for '{name}'{remedy}")
    if name == "clean":
        if eps is not None or settings:
            raise InputError("attack 'clean' has no --eps and no settings: leave them out")
        return None
    if name not in ATTACKS:
        raise InputError(f"unknown attack '{name}': use clean, {', '.join(ATTACKS)}, or module:function")
    check_options(name, settings)
    default = ATTACKS[name].keywords.get("eps")
    if eps is not None and default is None:
        raise InputError(f"attack '{name}' has no --eps: leave it out")
    bound = with_step_size(name, settings, default if eps is None else eps)
    bound |= ({} if eps is None else {"eps": eps}) | ({"targeted": True} if targeted else {})
    return partial(ATTACKS[name], **bound)


def targets_named(text: str, classes: Sequence[str]) -> Targets:
    """The target classes: one, by name or number, or each image's most or least likely other class.

    Raises:
        InputError: none of these.
    """
    return (
        FROM_LOGITS[text]
        if text in FROM_LOGITS
        else class_named(text, classes, "--targets", tuple(FROM_LOGITS))
    )


def class_named(text: str, classes: Sequence[str], option: str, others: Sequence[str] = ()) -> int:
    """The place of a class that an ``option`` gave by name or number; ``others`` are words that it takes as well.

    Raises:
        InputError: no such class.
    """
    names = {name.casefold(): i for i, name in enumerate(classes)} | {str(i): i for i in range(len(classes))}
    if text.casefold() not in names:
        numbered = ", ".join([*others, *(f"{name} or {i}" for i, name in enumerate(classes))])
        raise InputError(f"{option} '{text}' is no class: use {numbered}")
    return names[text.casefold()]


def check_weights(path: Path) -> None:
    """Refuse a missing file, or one that needs unpickling, which can execute code."""
    if path.suffix.lower() in PICKLED:
        raise InputError(
            f"{path} looks pickled and is not opened, since that could execute arbitrary code: save it with "
            "safetensors.torch.save_file(model.state_dict(), 'x.safetensors')"
        )
    if not path.is_file():
        raise InputError(f"no weights at {path}: train the model first, or give another file")


def load_model(
    weights: Path,
    model: str | nn.Module,
    splits: Splits,
    *,
    device: str,
    rate: float = 0.0,
    other_data: bool = False,
    sigmoid: bool = False,
) -> tuple[nn.Module, torch.memory_format]:
    """A variant of the paper, or an own model, with these weights, pruned, in evaluation mode, and its layout.

    With ``sigmoid`` its logits are left to ``own_model.under_sigmoid``, else there must be one a class.

    Raises:
        InputError: unknown variant, wrong weights, another number of classes; unless ``other_data``, images other than
            those named in the weights' header.
    """
    header = read_header(weights)
    check_model(header, weights, model if isinstance(model, str) else None, splits.classes)
    if not other_data:
        check_images(header, weights, splits)
    layout = torch.channels_last
    if isinstance(model, nn.Module):
        net, layout = model, torch.contiguous_format  # its forward() may rely on contiguous tensors (view)
    else:
        net = build_model(
            model, len(splits.classes), mean=splits.mean, std=splits.std, channels=splits.channels
        )
    load_weights(weights, net)
    if rate > 0:
        net = prune_l1(net, rate)
    net = net.to(device).to(memory_format=layout).eval()
    if not sigmoid:
        check_classes(net, splits, device)
    return net, layout
