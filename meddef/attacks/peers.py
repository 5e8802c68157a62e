"""Attacks of foolbox and ART under this package's contract, for comparison in the same table.

They need the extra ``meddef[peers]``. The settings are the peer's own keyword arguments; epsilon, its norm and the true
(or target) class are passed on by the wrapper. Input, logits, the model's mode and the random numbers are treated as
for any attack here, and what a peer returns is projected onto the ball exactly, as peers round. Silent errors are
refused: a peer of another norm, a step beyond the ball, a failed attack.
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

from meddef.attacks import contract, peer_checks
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import norm_ball
from meddef.attacks.loop import finish
from meddef.attacks.queries import ask
from meddef.attacks.targets import check_targets
from meddef.errors import InputError


@for_anyone
def foolbox_attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: str,
    eps: float,
    norm: str = "linf",
    **settings: Any,
) -> Tensor:
    """An attack of ``foolbox.attacks`` by its class name, untargeted.

    Args:
        model, images, labels: as for ``meddef.attacks.pgd``.
        attack: class name, such as "LinfPGD", or of one that looks for the smallest perturbation "L2DeepFoolAttack".
        eps: one number, the radius in ``norm``.
        norm: "linf" or "l2", which must be the attack's own.
        settings: keyword arguments of that class.

    Returns:
        Images within ``eps`` and [0, 1] exactly, (N, C, H, W) of the images' dtype.

    Raises:
        InputError: invalid input, foolbox is not installed or has no such attack, the attack is one of another norm,
            takes steps beyond ``eps``, fails, or leaves correctly classified images untouched.
    """
    foolbox = _peer("foolbox")
    kind, name = _named(foolbox.attacks, attack, "foolbox"), f"foolbox's {attack}"
    norm = peer_checks.checked_norm(norm)
    with peer_checks.own_errors(name):
        peer = kind(**settings)
    distance = getattr(getattr(peer, "distance", None), "p", None)
    peer_checks.check_norm(name, peer_checks.SPELLINGS.get(distance, distance and f"l{distance:g}"), norm)
    step = getattr(peer, "abs_stepsize", None) or getattr(peer, "rel_stepsize", 0) * eps
    if norm == "linf" and step and not name.endswith("FastGradientAttack"):
        peer_checks.check_steps(name, eps, step, peer.steps, random_start=peer.random_start)
    smallest = isinstance(peer, foolbox.attacks.base.MinimizationAttack)
    bound = {"early_stop": eps} if smallest else {"epsilon": eps}

    def run(x: Tensor, y: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return peer.run(wrapped, x, foolbox.criteria.Misclassification(y), **bound)

    return _under_contract(model, images, labels, eps, run, name=name, norm=norm)


@for_anyone
def art_attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: str,
    eps: float | None = None,
    norm: str | float = "linf",
    **settings: Any,
) -> Tensor:
    """An attack of ``art.attacks.evasion`` by its class name.

    Args:
        model, images, labels: as for ``meddef.attacks.pgd``; with ``targeted=True``, where the class knows the
            difference, labels are the classes to reach.
        attack: class name, such as "ProjectedGradientDescent" or "SaliencyMapMethod".
        eps: passed on where the class takes one, and the bound the result is held to; None for attacks without one.
        norm: of eps, "linf" or "l2" (or as ART writes them, inf and 2); passed on where the class takes one, else it
            must be the attack's own.
        settings: keyword arguments of that class.

    Returns:
        Images within [0, 1] and, if given, ``eps`` exactly, (N, C, H, W) of the images' dtype.

    Raises:
        InputError: invalid input, ART is not installed or has no such attack, the attack is one of another norm, takes
            steps beyond ``eps``, is targeted by default, fails, or leaves correctly classified images untouched.
    """
    evasion, estimators = _peer("art.attacks.evasion"), _peer("art.estimators.classification")
    kind, name = _named(evasion, attack, "art.attacks.evasion"), f"ART's {attack}"
    norm = peer_checks.checked_norm(norm)
    given = _art_settings(kind, name, norm, eps, settings)
    if settings.get("targeted", attack.startswith("Targeted")):
        check_targets(images, labels)
    elif peer_checks.with_defaults(kind, settings).get("targeted"):
        raise InputError(
            f"{name} is targeted by default: give targeted=False, or targeted=True and target classes"
        )

    def run(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            classes = contract.check_logits(model(x), y).shape[1]
        estimator = estimators.PyTorchClassifier(
            model=_InFormat(model, x.dtype),
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if x.device.type == "cuda" else "cpu",
        )
        # JSMA takes the class to reach, which here is the most likely one but the label, as in meddef's.
        aim = _second(model, x, y) if attack == "SaliencyMapMethod" else y
        batch = {"batch_size": len(x)} if "batch_size" in peer_checks.with_defaults(kind, {}) else {}
        found = kind(estimator, **batch, **given).generate(x.cpu().numpy(), aim.cpu().numpy())
        return torch.from_numpy(found).to(x) if isinstance(found, np.ndarray) else found

    return _under_contract(model, images, labels, eps, run, name=name, norm=norm)


class _InFormat(nn.Module):
    """The model, asked in the format of the images, whatever ART computes in: float64, now and then."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.model(x.to(self.dtype))
        return answer


ITERATIVE = ("ProjectedGradientDescent", "BasicIterativeMethod", "MomentumIterativeMethod")


def _art_settings(
    kind: type, name: str, norm: str, eps: float | None, settings: dict[str, Any]
) -> dict[str, Any]:
    """Arguments of an ART class: ``settings``, and the bound if it takes one."""
    known = peer_checks.with_defaults(kind, settings)
    if eps is None:
        return settings
    bounded = norm if "norm" in known else peer_checks.ART_NORMS.get(kind.__name__)
    peer_checks.check_norm(name, bounded, norm)
    if norm == "linf" and kind.__name__.startswith(ITERATIVE):
        starts = known.get("num_random_init", 0)
        peer_checks.check_steps(name, eps, known["eps_step"], known["max_iter"], random_start=starts > 0)
    own = {"eps": eps, "norm": np.inf if norm == "linf" else 2}
    return {key: value for key, value in own.items() if key in known} | settings


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
    run: Callable[[Tensor, Tensor], object],
    *,
    name: str,
    norm: str,
) -> Tensor:
    labels = contract.check_batch(model, images, labels)
    most = 1.0 if norm == "linf" else float("inf")
    everything = most if norm == "linf" else float(images[:1].numel()) ** 0.5
    radius = contract.per_image(everything if eps is None else eps, images, "eps", most=most)
    if not radius.any():
        return images.detach().clone()
    before = [(parameter, parameter.grad, parameter.requires_grad) for parameter in model.parameters()]
    numpy_state = np.random.get_state()  # noqa: NPY002 - the peers draw from it
    clean = images.detach().clone()
    with contract.attacking(model, images.device):
        with torch.no_grad():
            right = contract.check_logits(ask(model, clean, first=True), labels).argmax(1) == labels
        try:
            for parameter, _, _ in before:
                parameter.grad = None  # ART adds to what is there, and leaves it behind
            with peer_checks.own_errors(name):
                returned = run(clean.clone(), labels)
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            for parameter, grad, needed in before:
                parameter.grad, parameter.requires_grad = grad, needed
        found = peer_checks.check_found(name, returned, clean, right).detach()
        ball = norm_ball(norm, clean, radius)
        return torch.empty_like(images).copy_(finish(ball, ball.project(found)))


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
