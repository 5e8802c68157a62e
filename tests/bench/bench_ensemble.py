"""The strong ensemble against torchattacks' AutoAttack, on an adversarially trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

from meddef.attacks import ensemble
from meddef.attacks.options import options
from meddef.settings import load_profile
from tests.bench import peers
from tests.bench.bench_gradient import FAST
from tests.bench.table import Row, interleaved, ratio, say
from tests.bench.workload import ENSEMBLE_EPS, Scale, defended, right, robust

BOOK = load_profile("cpu").grids["ensemble"].attacks["ensemble"]


def rows(scale: Scale) -> Iterator[Row]:
    """One run each, as the peer takes minutes; robust accuracy from the same runs."""
    say("ensemble and torchattacks' AutoAttack")
    model = defended(4, scale.small, scale.training)
    x, labels = right(model, scale.ensemble, 4, scale.small)
    found: dict[str, Tensor] = {}

    def keep(name: str, attack: Callable[[], Tensor]) -> Callable[[], Any]:
        return lambda: found.__setitem__(name, attack())

    ours = partial(ensemble, model, x, labels, eps=ENSEMBLE_EPS)
    modes: dict[str, dict[str, Any]] = {
        "reference": BOOK,
        **{mode: BOOK | settings for mode, settings in FAST.items()},
        "reference, twice the steps": {},
    }
    calls = {mode: keep(mode, partial(ours, **settings)) for mode, settings in modes.items()}
    peer = peers.torchattacks("AutoAttack", model, x, labels, eps=ENSEMBLE_EPS, n_classes=4, seed=0)
    calls |= {name: keep(name, call) for name, call in peer.items()}
    times = interleaved(calls, 1, warm_up=False)
    left = {name: robust(model, adv, labels) for name, adv in found.items()}
    label = f"ensemble, {len(x)} images of {scale.small} px, K = 4"
    peer_left = f"{left['torchattacks']:.1f} %" if peer else "not measured"
    for name in modes:
        note = f"robust accuracy {left[name]:.1f} %, torchattacks' {peer_left}; {_budget(modes[name])}; one run each"
        least = 3 if BOOK.items() <= modes[name].items() else None
        yield ratio(
            f"{label}: {name} against AutoAttack", times, "torchattacks", name, least=least, note=note
        )
        difference = left[name] - left["torchattacks"] if peer else None
        yield Row(f"{label}: {name}, robust accuracy less AutoAttack's", difference, "points", most=0)


def _budget(settings: dict[str, Any]) -> str:
    used = options("ensemble") | settings
    steps, queries = used["steps"], used["queries"]
    return f"APGD {steps} steps, FAB {steps // 5}, {queries:,} square queries, torchattacks 10, 10 and 5,000"
