"""Attacks of foolbox and ART behind this package's contract, so that they can stand in the same table.

They need the extra ``meddef[peers]``. The settings are the peer's own keyword arguments; epsilon and the class the
model should leave (or reach) are passed on by the wrapper. Input, logits, the model's mode and the random numbers are
treated as for any attack here, and what a peer returns is projected onto the ball exactly, as peers round.
"""

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.anyone import for_anyone
from meddef.attacks.asking import ask
from meddef.attacks.balls import LinfBall
from meddef.attacks.loop import finish
from meddef.errors import InputError


@for_anyone
def foolbox_attack(
    model: nn.Module, images: Tensor, labels: Tensor, *, attack: str, eps: float, **settings: Any
) -> Tensor:
    """An L-infinity attack of ``foolbox.attacks`` by its class name, untargeted.

    Args:
        model, images, labels, eps: as for ``meddef.attacks.pgd``; eps is one number.
        attack: class name, such as "LinfPGD".
        settings: keyword arguments of that class.

    Returns:
        Images within ``eps`` and [0, 1] exactly.

    Raises:
        InputError: bad input, foolbox is not installed, or has no such attack.
    """
    foolbox = _peer("foolbox")
    peer = _named(foolbox.attacks, attack, "foolbox")(**settings)

    def run(x: Tensor, y: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return peer.run(wrapped, x, foolbox.criteria.Misclassification(y), epsilon=eps)

    return _under_contract(model, images, labels, eps, run)


@for_anyone
def art_attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: str,
    eps: float | None = None,
    **settings: Any,
) -> Tensor:
    """An attack of ``art.attacks.evasion`` by its class name, untargeted where the class knows the difference.

    Args:
        model, images, labels: as for ``meddef.attacks.pgd``.
        attack: class name, such as "ProjectedGradientDescent" or "SaliencyMapMethod".
        eps: passed on, and the bound the result is held to; None for attacks without one (JSMA).
        settings: keyword arguments of that class.

    Returns:
        Images within [0, 1] and, if given, ``eps`` exactly.

    Raises:
        InputError: bad input, ART is not installed, or has no such attack.
    """
    evasion, estimators = _peer("art.attacks.evasion"), _peer("art.estimators.classification")
    kind = _named(evasion, attack, "art.attacks.evasion")

    def run(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            classes = contract.check_logits(model(x), y).shape[1]
        estimator = estimators.PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if x.device.type == "cuda" else "cpu",
        )
        given = settings if eps is None else {"eps": eps, **settings}
        # JSMA takes the class to reach, which here is the most likely one but the label, as in meddef's.
        aim = _second(model, x, y) if attack == "SaliencyMapMethod" else y
        found = kind(estimator, batch_size=len(x), **given).generate(x.cpu().numpy(), aim.cpu().numpy())
        return torch.from_numpy(found).to(x)

    return _under_contract(model, images, labels, eps, run)


PEERS: dict[str, Callable[..., Tensor]] = {
    "foolbox_fgsm": partial(foolbox_attack, attack="LinfFastGradientAttack", eps=0.05),
    "foolbox_bim": partial(
        foolbox_attack,
        attack="LinfBasicIterativeAttack",
        eps=0.05,
        abs_stepsize=0.01,
        steps=40,
        random_start=False,
    ),
    "foolbox_pgd": partial(foolbox_attack, attack="LinfPGD", eps=0.05, abs_stepsize=0.01, steps=40),
    "art_pgd": partial(
        art_attack, attack="ProjectedGradientDescent", eps=0.05, eps_step=0.01, max_iter=40, verbose=False
    ),
    "art_jsma": partial(art_attack, attack="SaliencyMapMethod", theta=0.1, gamma=0.14, verbose=False),
}


def _under_contract(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float | None,
    run: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    labels = contract.check_batch(model, images, labels)
    radius = contract.per_image(1.0 if eps is None else eps, images, "eps", most=1.0)
    if not radius.any():
        return images.detach().clone()
    before = [(parameter, parameter.grad, parameter.requires_grad) for parameter in model.parameters()]
    numpy_state = np.random.get_state()  # noqa: NPY002 - the peers draw from it
    clean = images.detach().clone()
    with contract.attacking(model, images.device):
        with torch.no_grad():
            contract.check_logits(ask(model, clean, first=True), labels)
        try:
            for parameter, _, _ in before:
                parameter.grad = None  # ART adds to what is there, and leaves it behind
            found = run(clean.clone(), labels)
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            for parameter, grad, needed in before:
                parameter.grad, parameter.requires_grad = grad, needed
        sphere = LinfBall(clean, radius)
        return torch.empty_like(images).copy_(finish(sphere, sphere.project(found.detach())))


def _second(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).scatter(1, labels[:, None], -torch.inf).argmax(1)


def _peer(name: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their own deprecations
            return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name.split('.')[0]} is not installed: pip install 'meddef[peers]'") from error


def _named(module: ModuleType, attack: str, where: str) -> Any:
    found = getattr(module, attack, None)
    if not isinstance(found, type):
        raise InputError(f"{where} has no attack named {attack!r}; give the name of one of its classes")
    return found
