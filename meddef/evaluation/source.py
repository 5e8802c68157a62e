"""The model on which a transfer attack makes its examples: from weights or a factory, and how it fared itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks.targets import is_targeted
from meddef.attacks.transfer import transfer
from meddef.data.splits import Splits
from meddef.errors import InputError
from meddef.evaluation.judge import Attack
from meddef.evaluation.own_model import build_own_model, check_classes, under_sigmoid
from meddef.evaluation.single import check_weights, load_model
from meddef.module_state import evaluating
from meddef.training.checkpoint import read_header


@dataclass(frozen=True)
class Source:
    """The attacker's model, by the names of its labels ("" where it has classes), and the attacks made on it.

    ``name`` is how it was given, ``about`` what a file says of it.
    """

    views: dict[str, nn.Module]
    name: str
    layout: torch.memory_format
    about: dict[str, Any]
    runs: dict[str, OnSource] = field(default_factory=dict)

    def on(self, view: str, attack: Attack, called: str = "") -> OnSource:
        """``attack`` made on this model; its counts are told under the name ``called``.

        Raises:
            InputError: the model under attack answers other labels.
        """
        if view not in self.views:
            raise InputError(f"--source {self.name} predicts {', '.join(self.views)}, and not {view}")
        self.runs[called] = OnSource(self.views[view], attack, self.layout)
        return self.runs[called]

    def told(self) -> list[str]:
        """One line per attack: how the source fared itself."""
        return [f"{called}{': ' * bool(called)}{run.told}" for called, run in self.runs.items() if run.n]

    def counts(self) -> dict[str, Any]:
        """``about``, and the counts of each attack."""
        found = {
            called: {"n": run.n, "before": run.before, "after": run.after}
            for called, run in self.runs.items()
        }
        return self.about | {"on_itself": found}


def load_source(text: str, splits: Splits, *, device: str, sigmoid: bool = False) -> Source:
    """The model that ``text`` names, in evaluation mode on ``device``.

    Args:
        text: "weights.safetensors" of ``meddef train``, whose header names the model; or "module:factory", whose
            result is taken as it is, or "module:factory:weights.safetensors".
        splits: the images of the model under attack; the source may have been trained on any.

    Raises:
        InputError: none of these; weights that name no model or other classes; another number of classes.
    """
    if ":" in text and not Path(text).is_file():
        module, factory, *rest = text.split(":", 2)
        model: str | nn.Module = build_own_model(f"{module}:{factory}", "--source")
        weights = Path(rest[0]) if rest else None
    else:
        weights = Path(text)
        check_weights(weights)
        if (known := read_header(weights).get("variant")) is None:
            raise InputError(
                f"--source: {text} does not say which model it is of: give module:factory:{text}"
            )
        model = str(known)
    if weights is None:
        assert isinstance(model, nn.Module)
        net = model.to(device).eval()
        if not sigmoid:
            check_classes(net, splits, device)
        views = under_sigmoid(net, splits, device) if sigmoid else {"": net}
        return Source(views, text, torch.contiguous_format, {"model": text})
    check_weights(weights)
    net, layout = load_model(weights, model, splits, device=device, other_data=True, sigmoid=sigmoid)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = {
        "model": model if isinstance(model, str) else f"{module}:{factory}",
        "weights": str(weights), "weights_sha256": digest,
    }  # fmt: skip
    views = under_sigmoid(net, splits, device) if sigmoid else {"": net}
    return Source(views, text, layout, about)


class OnSource:
    """An attack made on ``source``, which takes images in ``layout``.

    It counts how many images the source itself has right ``before`` and ``after``: without these counts an attack that
    fails on its own source would pass for robustness of the model.
    """

    def __init__(
        self, source: nn.Module, attack: Attack, layout: torch.memory_format = torch.contiguous_format
    ) -> None:
        self.source, self.attack, self.layout = source, attack, layout
        self.targeted = is_targeted(attack)
        self.before = self.after = self.n = 0

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        images = images.contiguous(memory_format=self.layout)
        found = transfer(model, images, labels, source=self.source, attack=self.attack)
        with evaluating(self.source), torch.no_grad():
            answers = [self.source(x.clone()).argmax(1) for x in (images, found)]
        self.n += len(labels)
        if self.targeted:  # the labels are the targets: right is what is not moved there
            self.before += int((answers[0] != labels).sum())
            self.after += int((answers[1] != labels).sum())
        else:
            self.before += int((answers[0] == labels).sum())
            self.after += int((answers[1] == labels).sum())
        return found

    @property
    def told(self) -> str:
        """The counts in words."""
        what = "not taken for the target" if self.targeted else "right"
        return f"on the source itself: {self.before} of {self.n} {what} before the attack, {self.after} after"
