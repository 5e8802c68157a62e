"""The strong ensemble: the worst case of each image over several attacks, cheap ones first."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.apgd import apgd
from meddef.attacks.fab import fab
from meddef.attacks.fast import gradient_source
from meddef.attacks.gradient import pgd
from meddef.attacks.losses import Objective
from meddef.attacks.queries import ask
from meddef.attacks.square import square

Attack = Callable[..., Tensor]


def members(classes: int, *, steps: int = 100, queries: int = 1000) -> dict[str, Attack]:
    """The attacks in order of execution, for a model with ``classes`` classes.

    With two classes there is one logit difference, so cross-entropy and its targets would repeat the margin; the
    dlr loss has no meaning below three classes, its targeted form below four.

    Both APGD members share the same random numbers ("apgd", of the seed and the image): the first targeted run starts
    at the same point as the run with cross-entropy, and diverges with its loss; later targets start elsewhere. Another
    stream would change every recorded ensemble with three or more classes.
    """
    quick: dict[str, Attack] = {"pgd": partial(_from_the_image, steps=10)}
    if classes == 2:
        gradient: dict[str, Attack] = {"apgd_margin": partial(apgd, steps=steps, loss="margin")}
    else:
        targeted = "dlr" if classes >= 4 else "margin"
        gradient = {
            "apgd_ce": partial(apgd, steps=steps, loss="ce"),
            f"apgd_{targeted}_targeted": partial(apgd, steps=steps, loss=targeted, targets=classes - 1),
        }
    last: dict[str, Attack] = {
        "fab": partial(fab, steps=max(steps // 5, 1)),
        "square": partial(square, queries=queries),
    }
    return quick | gradient | last


@for_anyone
def ensemble(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    steps: int = 100,
    queries: int = 1000,
    fast: bool = False,
    precision: str = "float32",
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Worst case over PGD, APGD, FAB and Square, after AutoAttack (Croce & Hein 2020, arXiv 2003.01690).

    Each attack gets only the images that survived the previous ones, verified on the original model. Square has fewer
    queries and FAB fewer steps than AutoAttack's standard version: see ``members``.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K), K >= 2; left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes.
        eps: L-infinity radius in pixel units, one number or a tensor (N,).
        steps: of APGD; FAB takes a fifth as many.
        queries: of the square attack.
        fast, precision: attack a faster surrogate, or in bfloat16 (see ``meddef.attacks.fast``; for the loss in success
            rate, the cost page).
        generator: source of all random numbers, for whole batches; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.
        progress: called with (attacks done, total attacks).

    Returns:
        Images within ``eps`` and [0, 1] exactly; one that fools the model if any attack found one, else the one with
        the largest margin.

    Raises:
        InputError: invalid input, NaN or infinite logits, a model whose output does not depend on its input.
    """
    labels = contract.check_batch(model, images, labels)
    radius = contract.per_image(eps, images, "eps", most=1.0).flatten()
    if not radius.any():
        return images.detach().clone()
    attacks = partial(members, steps=steps, queries=queries)
    worst, _ = in_turn(
        model, images, labels, attacks,
        radius=radius, fast=fast, precision=precision, generator=generator, seed=seed, progress=progress,
    )  # fmt: skip
    return worst


def in_turn(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attacks: Callable[[int], dict[str, Attack]],
    *,
    radius: Tensor,
    fast: bool = False,
    precision: str = "float32",
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Each attack on the images that survived the previous ones; arguments as in ``ensemble``, already checked.

    Args:
        attacks: number of classes -> the attacks, in order of execution.
        radius: (N,), at least one above 0.

    Returns:
        Images as ``ensemble`` returns them, and (N,), int64, the successful attack (0 misclassified before, 1 the first
        attack, and so on; -1 none).
    """
    best = images.detach().clone()
    margin, fooled, classes = _judge(model, best, labels, first=True)
    by = fooled.long() - 1
    with contract.attacking(model, images.device):
        attacked = gradient_source(model, best, fast=fast, precision=precision)
    order = attacks(classes)
    for done, attack in enumerate(order.values(), start=1):
        alive = (by < 0).nonzero()[:, 0]
        if not len(alive):
            break
        some, their = images[alive], labels[alive]
        found = attack(attacked, some, their, eps=radius[alive], generator=generator, seed=seed)
        reached, wrong, _ = _judge(model, found, their)
        better = wrong | (reached > margin[alive])
        best[alive[better]], margin[alive[better]] = found[better], reached[better]
        by[alive[wrong]] = done
        if progress is not None:
            progress(done, len(order))
    return best, by


def _from_the_image(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: Tensor,
    steps: int,
    generator: torch.Generator | None = None,
    seed: int = 0,
) -> Tensor:
    """PGD on the margin from the image itself; a few steps suffice on most images of an undefended model.

    On such a model a random start can be weaker, so the worst case includes the start at the image.
    """
    few = partial(pgd, step_size=eps / 4, steps=steps, random_start=False, loss="margin", stop="first")
    return few(model, images, labels, eps=eps)


def _judge(model: nn.Module, x: Tensor, labels: Tensor, *, first: bool = False) -> tuple[Tensor, Tensor, int]:
    """Margin (N,), success (N,) and the number of classes, on the original model."""
    objective = Objective(labels, "margin")
    with contract.attacking(model, x.device), torch.no_grad():
        logits = contract.check_logits(ask(model, x, first=first), labels)
        return objective.loss(logits), objective.fooled(logits), logits.shape[1]
