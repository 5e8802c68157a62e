"""The peers, where they are installed: foolbox and ART come with the extra, the others with ``make bench``."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

PACKAGES = ("torchattacks", "foolbox", "adversarial-robustness-toolbox", "pyautoattack")
Calls = dict[str, Callable[[], Any]]


def versions() -> dict[str, str]:
    """Of the peers that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load(module: str) -> Any:
    """The module, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own deprecations
        try:
            return importlib.import_module(module)
        except ImportError:
            return None


def torchattacks(name: str, model: nn.Module, *args: Tensor, targets: bool = False, **settings: Any) -> Calls:
    """A call of an attack of torchattacks, made ready; empty where it is not installed.

    Args:
        args: images and labels or, with ``targets``, the classes to reach.
    """
    package = load("torchattacks")
    if package is None:
        return {}
    attack = getattr(package, name)(model, **settings)
    if targets:
        attack.set_mode_targeted_by_label(quiet=True)
    return {"torchattacks": lambda: attack(*args)}


def foolbox_bim(model: nn.Module, x: Tensor, labels: Tensor, *, eps: float, step: float, steps: int) -> Calls:
    foolbox = load("foolbox")
    if foolbox is None:
        return {}
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=step, steps=steps, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(labels)
    return {"foolbox": lambda: attack.run(wrapped, x, criterion, epsilon=eps)}


def art_bim(model: nn.Module, x: Tensor, labels: Tensor, *, eps: float, step: float, steps: int) -> Calls:
    evasion, estimator = load("art.attacks.evasion"), _art_estimator(model, x)
    if evasion is None or estimator is None:
        return {}
    attack = evasion.BasicIterativeMethod(
        estimator, eps=eps, eps_step=step, max_iter=steps, batch_size=len(x), verbose=False
    )
    images, classes = x.numpy(), labels.numpy()
    return {"ART": lambda: attack.generate(images, classes)}


def art_jsma(model: nn.Module, x: Tensor, targets: Tensor, *, theta: float, gamma: float) -> Calls:
    """ART's saliency attack: it moves the two features of largest target gradient and searches no pairs."""
    evasion, estimator = load("art.attacks.evasion"), _art_estimator(model, x)
    if evasion is None or estimator is None:
        return {}
    attack = evasion.SaliencyMapMethod(estimator, theta=theta, gamma=gamma, batch_size=len(x), verbose=False)
    images, classes = x.numpy(), targets.numpy()
    return {"ART": lambda: torch.from_numpy(attack.generate(images, classes))}


def _art_estimator(model: nn.Module, x: Tensor) -> Any:
    estimators = load("art.estimators.classification")
    if estimators is None:
        return None
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    return estimators.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, clip_values=(0.0, 1.0), device_type="cpu"
    )
