"""Pruning at nine rates against torch's own, and what a sparse checkpoint saves."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import nn
from torch.nn.utils import prune

from meddef.models import build_model
from meddef.pruning import prune_l1, prune_l1_grid
from meddef.sparse import save_sparse
from meddef.training.checkpoint import save_weights
from tests.bench.table import Row, interleaved, ratio, say
from tests.bench.workload import Scale

RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def rows(scale: Scale) -> Iterator[Row]:
    model = build_model("resnet18", 4)
    yield nine_rates(model, scale)
    yield checkpoint(model)


def calls(model: nn.Module) -> dict[str, Callable[[], None]]:
    """Nine rates by torch, by this package, and nine copies without pruning."""

    def nine_copies() -> None:
        for rate in RATES:
            pruned = copy.deepcopy(model)
            targets = [(m, "weight") for m in pruned.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            prune.global_unstructured(targets, prune.L1Unstructured, amount=rate)
            for module, name in targets:
                prune.remove(module, name)

    def one_pass() -> None:
        for _ in prune_l1_grid(model, RATES):
            pass

    def bare() -> None:
        for _ in RATES:
            copy.deepcopy(model)

    return {"torch": nine_copies, "meddef": one_pass, "bare": bare}


def nine_rates(model: nn.Module, scale: Scale) -> Row:
    say("nine prune rates")
    times = interleaved(calls(model), scale.slow_repeats)
    return ratio(
        "nine prune rates against nine deep copies with torch", times, "torch", "meddef", least=25,
        note=f"ties by layer and position; nine deep copies alone take {times['bare'] / times['meddef']:.0%} of it; "
        f"medians of {scale.slow_repeats} runs",
    )  # fmt: skip


def checkpoint(model: nn.Module) -> Row:
    """Size on disk of the weights with four fifths pruned, as a share of all of them."""
    with tempfile.TemporaryDirectory() as folder:
        dense, sparse = Path(folder) / "dense.safetensors", Path(folder) / "sparse.safetensors"
        save_weights(dense, model)
        save_sparse(sparse, prune_l1(model, 0.8))
        share = sparse.stat().st_size / dense.stat().st_size
    return Row("80 %-sparse checkpoint on disk, share of the dense one", share, "", most=0.22)
