"""What pruning does to a trained model's weights, and buys: python -m tests.bench.compression --weights FILE.

Non-zero weights, sparsity per layer, bytes on disk, and milliseconds per image with dense kernels and with sparse ones
(PyTorch's compressed rows, MKL), side by side in one process. FILE is what this leaves:

    meddef train --profile smoke --dataset phantom_xray --variant full -o FILE
"""

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.atomic import write_text
from meddef.evaluation.provenance import provenance
from meddef.models import build_model
from meddef.paper import PROTOCOL
from meddef.pruning import prunable_weights, prune_l1_grid, sparsity
from meddef.sparse import save_sparse
from meddef.training.checkpoint import load_weights, save_weights
from tests.bench.table import interleaved

PLACE = Path(__file__).parents[2] / "results" / "bench" / "compression.json"
RATES = PROTOCOL["pruning"]["rates"]
BINS = np.linspace(-6, 0, 61)  # of log10 of a weight's magnitude
BATCH, SIZE, REPEATS = 16, 64, 5


class SparseConv(nn.Module):
    """A convolution as one product of a sparse matrix with the unfolded image."""

    def __init__(self, dense: nn.Conv2d) -> None:
        super().__init__()
        self.like = dense
        self.rows = dense.weight.detach().flatten(1).to_sparse_csr()

    def forward(self, x: Tensor) -> Tensor:
        like = self.like
        columns = F.unfold(x, like.kernel_size, padding=like.padding, stride=like.stride)  # type: ignore[arg-type]
        n, features, places = columns.shape
        out = self.rows @ columns.permute(1, 0, 2).reshape(features, n * places)
        out = out.reshape(-1, n, places).permute(1, 0, 2)
        if like.bias is not None:
            out = out + like.bias[:, None]
        height = (x.shape[2] + 2 * like.padding[0] - like.kernel_size[0]) // like.stride[0] + 1
        return out.reshape(n, -1, height, places // height)


def sparse_copy(model: nn.Module) -> nn.Module:
    """``model`` with every ungrouped convolution replaced by a ``SparseConv``; the model itself is changed."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, SparseConv(module))
    return model


def measured(model: nn.Module) -> dict[str, Any]:
    """One row: what a pruned model holds and costs."""
    images = torch.rand(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    layers = {name: float((weight == 0).float().mean()) for name, weight in prunable_weights(model).items()}
    row: dict[str, Any] = {
        "sparsity": sparsity(model),
        "nonzero": sum(int((weight != 0).sum()) for weight in prunable_weights(model).values()),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": {name: round(share, 4) for name, share in layers.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder) / "dense", model)
        save_sparse(Path(folder) / "sparse", model)
        row |= {f"{name}_bytes": (Path(folder) / name).stat().st_size for name in ("dense", "sparse")}
    with torch.inference_mode():
        sparse = sparse_copy(copy.deepcopy(model))
        torch.testing.assert_close(sparse(images), model(images), rtol=1e-3, atol=1e-3)
        times = interleaved({"dense": lambda: model(images), "sparse": lambda: sparse(images)}, REPEATS)
    return row | {f"{name}_ms": float(f"{1000 * seconds / BATCH:.3g}") for name, seconds in times.items()}


def rows(weights: Path) -> list[dict[str, Any]]:
    """One row per pruning rate, and one with the histogram of all prunable weights and the cut at each rate."""
    model = build_model("full", 2)
    header = load_weights(weights, model)
    model.eval()
    values = torch.cat([weight.detach().abs().flatten() for weight in prunable_weights(model).values()])
    ordered = np.sort(values.numpy())
    head = {
        "kind": "compression", "dataset": "phantom_xray", "variant": "full", "training": "adversarial", "seed": 0,
        "data_fingerprint": header.get("data_fingerprint"),
    }  # fmt: skip
    found = []
    for rate, pruned in zip(RATES, prune_l1_grid(model, RATES), strict=True):
        cut = float(ordered[max(round(rate * len(ordered)) - 1, 0)]) if rate else 0.0
        found.append({**head, "prune_rate": rate, "cut": float(f"{cut:.4g}"), **measured(pruned)})
    counts, _ = np.histogram(np.log10(np.maximum(ordered, 1e-12)), BINS)
    return [*found, {**head, "histogram": counts.tolist(), "log10_edges": [float(BINS[0]), float(BINS[-1])]}]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compression")
    parser.add_argument("--weights", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = rows(given.weights)
    circumstances = provenance("cpu", time.perf_counter() - started) | {"threads": torch.get_num_threads()}
    write_text(PLACE, json.dumps({"provenance": circumstances, "rows": found}, indent=1) + "\n")
    print(f"written to {PLACE}")
