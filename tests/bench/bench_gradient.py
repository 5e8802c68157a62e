"""FGSM, BIM and PGD against the floor (the passes that cannot be avoided) and against their peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from meddef.attacks import bim, fgsm, pgd
from meddef.attacks.balls import LinfBall
from meddef.attacks.contract import per_image
from meddef.attacks.fast import gradient_source, layout
from tests.bench import peers
from tests.bench.table import Row, interleaved, ratio, say
from tests.bench.workload import EPS, STEP_SIZE, Scale, bf16_pays, defended, floor, right, robust, undefended

ALL_FAST: dict[str, dict[str, Any]] = {
    "fast": {"fast": True},
    "fast bf16": {"fast": True, "precision": "bf16"},
}
FAST = {
    name: mode for name, mode in ALL_FAST.items() if "precision" not in mode or bf16_pays()
}  # those timed here
ONE_STEP = 3
"""Times as many runs of what is one gradient long: medians of five moved by up to 15 % between two tables."""
GRID = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1]
SIGNS = "gradient signs differ in a few pixels, so images differ"


def rows(scale: Scale) -> Iterator[Row]:
    """The rows of the table that are about gradient attacks."""
    yield from iterated("fgsm", 4, scale)
    yield from iterated("bim", 4, scale)
    yield from iterated("pgd", 2, scale)
    yield from against_all(scale)
    yield from epsilon_grid(scale)
    yield from agreement(scale)
    yield from first_success(scale)


def iterated(name: str, classes: int, scale: Scale) -> Iterator[Row]:
    """One attack on a model without defence: reference mode, the fast modes, stop="first"."""
    steps = 1 if name == "fgsm" else scale.steps
    label = f"{name}, K = {classes}" if name == "fgsm" else f"{name}-{steps}, K = {classes}"
    say(label)
    model = undefended(classes, scale.size, scale.training)
    x, labels = right(model, scale.batch * (8 if steps == 1 else 1), classes, scale.size)
    ours = _attack(name, model, x, labels, scale)
    calls: peers.Calls = {"floor": partial(floor, model, x, labels, steps), "reference": ours}
    calls |= {mode: partial(ours, **settings) for mode, settings in FAST.items()}
    if name == "fgsm":
        calls |= _bare_copies(model, x, labels)
    else:
        passes = _passes(model, ours)
        calls |= {"first": partial(ours, stop="first"), "passes": partial(_bare, model, x, labels, passes)}
    peer = _torchattacks(name, model, x, labels, scale)
    repeats = scale.repeats * (ONE_STEP if steps == 1 else 1)
    times = interleaved(calls | peer, repeats, warm_up=steps == 1)
    where = f"{len(x)} images of {scale.size} px, medians of {repeats} runs"
    yield ratio(
        f"{label}: reference mode against the floor", times, "floor", "reference", least=0.97, note=where
    )
    yield ratio(f"{label}: torchattacks against the floor", times, "floor", "torchattacks")
    for mode, least in (("fast", 1.25), ("fast bf16", 2.1)):
        note = _most(times, mode) if name == "fgsm" and mode in FAST else ""
        yield ratio(
            f"{label}: {mode} against torchattacks", times, "torchattacks", mode, least=least, note=note
        )
    if name == "bim":
        yield from identical(label, ours, peer, LinfBall(x, per_image(EPS, x, "eps")))
    if name != "fgsm":
        note = f"undefended model, every image right before; {_at_most(times, passes, len(x))}"
        yield ratio(
            f'{label}: stop="first" against torchattacks', times, "torchattacks", "first", least=15, note=note
        )


def _bare_copies(model: nn.Module, x: Tensor, labels: Tensor) -> peers.Calls:
    """What bounds the fast modes from below: making the copy, and one bare gradient of it."""
    calls: peers.Calls = {"copy": partial(gradient_source, model, x, fast=True, precision="float32")}
    for mode, settings in FAST.items():
        copy = gradient_source(model, x, **{"precision": "float32", **settings})
        calls[f"bare {mode}"] = partial(floor, copy, layout(x, fast=True), labels, 1)
    return calls


def _most(times: Mapping[str, float], mode: str) -> str:
    bare = times["floor"] / times[f"bare {mode}"]
    copying = 1000 * times["copy"]
    return (
        f"one bare gradient of the copy is {bare:.2f} times as fast; making the copy takes {copying:.0f} ms"
    )


Passes = list[tuple[int, bool]]
"""Images in each forward pass of an attack, and whether it records a gradient."""


def _passes(model: nn.Module, attack: Callable[..., object]) -> Passes:
    """Those of ``attack`` when it stops at success."""
    seen: Passes = []
    hook = model.register_forward_hook(
        lambda module, given, logits: seen.append((len(logits), logits.requires_grad))
    )
    attack(stop="first")
    hook.remove()
    return seen


def _bare(model: nn.Module, x: Tensor, labels: Tensor, passes: Passes) -> None:
    """``passes`` with nothing around them."""
    for n, derived in passes:
        if derived:
            floor(model, x[:n], labels[:n], 1)
        else:
            _forward(model, x[:n])


def _at_most(times: Mapping[str, float], passes: Passes, images: int) -> str:
    """What ``stop="first"`` would gain if its passes were all it did."""
    made, derived = sum(n for n, _ in passes), sum(n for n, derived in passes if derived)
    counted = f"{made / images:.1f} forward passes per image, {derived / images:.1f} of them for a gradient"
    if "torchattacks" not in times:
        return counted
    most = times["torchattacks"] / times["passes"]
    return f"{counted}; the same passes with nothing around them are {most:.2f} times as fast as torchattacks"


@torch.no_grad()
def _forward(model: nn.Module, x: Tensor) -> None:
    model(x)


def identical(label: str, ours: Callable[[], Tensor], peer: peers.Calls, ball: LinfBall) -> Iterator[Row]:
    """Share of images that are the peer's, bit for bit, in percent: as returned, and both held to the ball exactly."""
    names = (
        f"{label}: images identical to torchattacks'",
        f"{label}: the same, its images held to eps exactly",
    )
    if not peer:
        for name in names:
            yield Row(name, None, "%", least=100, note="peer not installed: torchattacks")
        return
    mine, theirs = ours(), peer["torchattacks"]()
    apart = (mine - theirs).abs().max().item()
    outside = 100 * (theirs != ball.exact(theirs)).float().mean().item()
    notes = (
        f"largest difference {apart:.1g}: by rounding, {outside:.0f} % of torchattacks' pixels are farther than eps",
        f"{len(mine)} images",
    )
    bounds = (None, 100.0)  # exact bounds and images that leave them cannot both be had
    for name, other, note, least in zip(names, (theirs, ball.exact(theirs)), notes, bounds, strict=True):
        equal = (mine == other).flatten(1).all(1).float().mean().item()
        yield Row(name, 100 * equal, "%", least=least, note=note)


def against_all(scale: Scale) -> Iterator[Row]:
    """How near to the floor each library's BIM is."""
    steps = min(scale.steps, 5)
    say(f"bim-{steps} of every library against the floor")
    model = undefended(4, scale.size, scale.training)
    x, labels = right(model, scale.batch, 4, scale.size)
    settings = {"eps": EPS, "step": STEP_SIZE, "steps": steps}
    calls: peers.Calls = {
        "floor": partial(floor, model, x, labels, steps),
        "meddef": partial(bim, model, x, labels, eps=EPS, step_size=STEP_SIZE, steps=steps),
        **peers.torchattacks("BIM", model, x, labels, eps=EPS, alpha=STEP_SIZE, steps=steps),
        **peers.foolbox_bim(model, x, labels, **settings),
        **peers.art_bim(model, x, labels, **settings),
    }
    times = interleaved(calls, scale.repeats)
    for name in ("meddef", "torchattacks", "foolbox", "ART"):
        yield ratio(f"bim-{steps}, K = 4: {name} against the floor", times, "floor", name)


def epsilon_grid(scale: Scale) -> Iterator[Row]:
    """FGSM at eight eps from one gradient against eight calls."""
    say("fgsm at eight eps")
    model = undefended(4, scale.size, scale.training)
    x, labels = right(model, 4 * scale.batch, 4, scale.size)
    together = partial(fgsm, model, x, labels, eps=GRID)
    attacks = [peers.torchattacks("FGSM", model, x, labels, eps=eps) for eps in GRID]
    calls: peers.Calls = {
        "one floor": partial(floor, model, x, labels, 1),
        "eight floors": partial(floor, model, x, labels, len(GRID)),
        "reference": together,
        "fast": partial(together, fast=True),
        "eight calls": lambda: [fgsm(model, x, labels, eps=eps) for eps in GRID],
    }
    if attacks[0]:
        calls["torchattacks"] = lambda: [attack["torchattacks"]() for attack in attacks]
    times = interleaved(calls, scale.repeats)
    bare = times["eight floors"] / times["one floor"]
    note = f"eight bare gradients take {bare:.2f} times as long as one, the most that sharing one can give"
    yield ratio(
        "fgsm at eight eps: one call against eight calls",
        times,
        "eight calls",
        "reference",
        least=8,
        note=note,
    )
    yield ratio(
        "fgsm at eight eps: one call against torchattacks'", times, "torchattacks", "reference", note=note
    )
    yield ratio(
        "fgsm at eight eps: one fast call against torchattacks'", times, "torchattacks", "fast", least=8
    )


def agreement(scale: Scale) -> Iterator[Row]:
    """Robust accuracy of an adversarially trained model under BIM in the three modes, on the same images."""
    say(f"robust accuracy of {scale.many} images in every mode")
    model = defended(4, scale.small, scale.training)
    x, labels = right(model, scale.many, 4, scale.small)
    attack = _attack("bim", model, x, labels, scale)
    reference = attack()
    left = robust(model, reference, labels)
    for mode, settings in FAST.items():
        adv = attack(**settings)
        lost = robust(model, adv, labels) - left
        differ = 100 * (adv != reference).float().mean().item()
        yield Row(
            f"bim-{scale.steps}, {mode}: robust accuracy less that of the reference mode",
            lost,
            "points",
            least=-0.5,
            most=0.5,
            note=f"{len(x)} images right before, {left:.1f} % after in reference mode, so ASR changes by {-lost:+.1f} "
            f"points; {differ:.2g} % of the pixels differ in the end: {SIGNS}",
        )


def first_success(scale: Scale) -> Iterator[Row]:
    """stop="first" on an adversarially trained model, where some images resist all the steps."""
    say('stop="first" on a defended model')
    model = defended(4, scale.small, scale.training)
    x, labels = right(model, 4 * scale.batch, 4, scale.small)
    ours = _attack("bim", model, x, labels, scale)
    first = partial(ours, stop="first")
    share = robust(model, first(), labels) / 100
    passes = _passes(model, ours)
    calls: peers.Calls = {
        "first": first,
        "passes": partial(_bare, model, x, labels, passes),
        **_torchattacks("bim", model, x, labels, scale),
    }
    times = interleaved(calls, scale.slow_repeats)
    yield ratio(
        f'bim-{scale.steps}, stop="first", against torchattacks: defended model',
        times,
        "torchattacks",
        "first",
        least=0.8 / max(share, 1 / len(x)),
        note=f"{len(x)} images of {scale.small} px right before, {100 * share:.0f} % resist; "
        f"{_at_most(times, passes, len(x))}; medians of {scale.slow_repeats} runs",
    )


def _attack(name: str, model: nn.Module, x: Tensor, labels: Tensor, scale: Scale) -> Callable[..., Tensor]:
    if name == "fgsm":
        return partial(fgsm, model, x, labels, eps=EPS)
    attack = {"bim": bim, "pgd": pgd}[name]
    return partial(attack, model, x, labels, eps=EPS, step_size=STEP_SIZE, steps=scale.steps)


def _torchattacks(name: str, model: nn.Module, x: Tensor, labels: Tensor, scale: Scale) -> peers.Calls:
    settings: dict[str, Any] = {"eps": EPS}
    if name != "fgsm":
        settings |= {"alpha": STEP_SIZE, "steps": scale.steps}
    return peers.torchattacks(name.upper(), model, x, labels, **settings)
