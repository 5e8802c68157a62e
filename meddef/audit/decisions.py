"""What changes if an ambiguity of the paper is read the other way: small models on phantoms, trained for each reading.

``python -m meddef.audit.decisions`` writes ``results/decisions/``. The readings stand in ``meddef.decisions``; models
are changed here, from the outside, with the same starting weights where both readings have the same parameters.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddef.atomic import write_text
from meddef.attacks import pgd
from meddef.data import Splits, load_splits
from meddef.evaluation import evaluate
from meddef.evaluation.metrics import Attack
from meddef.evaluation.provenance import provenance
from meddef.models import COMPONENTS, DefenseModule, MedDef, Normalized, build_model
from meddef.models.backbone import CHANNELS
from meddef.notebooks import find_root
from meddef.progress import progress_bar
from meddef.pruning import prune_l1
from meddef.records import Record
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train

DATASETS = ("phantom_oct", "phantom_xray")
SEEDS = (0, 1, 2)
SIZES = {"train": 208, "val": 48, "test": 160}
IMAGE_SIZE = 64
TRAINING = TrainingSettings(
    epochs=4, batch_size=16, learning_rate=5e-4, adversarial=AdversarialSettings(steps=2)
)
BUDGETS = (0.01, 0.05)
PGD: dict[str, Any] = {"steps": 10, "step_size": 0.01}
RATES = (0.3, 0.5, 0.8)
BATCH = 32


class OmegaOnFused(DefenseModule):
    """D(x) with the channel attention computed from the fused features instead of from x."""

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([component(x) for component in self.components.values()], dim=1)
        fused = self.fusion(seen)
        return x + fused * self.channel_attention(fused)


def omega_on_fused(network: MedDef) -> None:
    """Let Ω act on the fused features; the weights stay."""
    other = OmegaOnFused(CHANNELS, COMPONENTS["full"])
    other.load_state_dict(network.defense.state_dict())
    network.defense = other


def relu_before_norm(network: MedDef) -> None:
    """AFD's gate as the equation prints it, BN(ReLU(Conv₁(x))); the weights stay."""
    gate = network.defense.get_submodule("components.afd.gate")
    assert isinstance(gate, nn.Sequential)
    convolution, norm, relu = gate[0].children()
    gate[0] = nn.Sequential(convolution, relu, norm)


def as_taken(network: MedDef) -> None:
    """The model of ``meddef.models``."""


TRAINED: dict[str, tuple[Callable[[MedDef], None], float]] = {
    # decision read the other way -> the change to the model, and the dropout rate
    "taken": (as_taken, 0.3),
    "afd_order": (relu_before_norm, 0.3),
    "omega": (omega_on_fused, 0.3),
    "dropout": (as_taken, 0.2),
}


def run(dataset: str, seed: int) -> Iterator[Record]:
    """Records of one dataset and seed, a row a decision, reading ("taken" or "other") and condition.

    A record holds labels, before and after, one digit an image, as attack records do.
    """
    splits = load_splits(dataset, image_size=IMAGE_SIZE, split_policy="released", sizes=SIZES, progress=False)
    with TemporaryDirectory() as folder:
        models = {name: fit(splits, name, seed, Path(folder) / name) for name in TRAINED}
    taken = models.pop("taken")
    reading = partial(_record, splits, seed)
    for name, model in models.items():
        for eps in (0.0, *BUDGETS):
            for choice, judged in (("taken", taken), ("other", model)):
                yield reading(name, choice, judged, eps=eps, budget=eps)
    for rate in RATES:
        for choice, scope in (("taken", "global"), ("other", "layer")):
            pruned = prune_l1(taken, rate, scope=scope)
            for eps in (0.0, BUDGETS[-1]):
                yield reading("pruning", choice, pruned, eps=eps, budget=eps, rate=rate)
    for eps in BUDGETS:
        for choice, unit in (("taken", 1.0), ("other", splits.std)):
            yield reading("epsilon_space", choice, taken, eps=eps, budget=eps * unit, unit=unit)


def fit(splits: Splits, name: str, seed: int, folder: Path) -> Normalized:
    """The full model of one reading, trained adversarially, in evaluation mode."""
    change, dropout = TRAINED[name]
    torch.manual_seed(seed)
    model = build_model("full", len(splits.classes), mean=splits.mean, std=splits.std, dropout=dropout)
    assert isinstance(model.network, MedDef)
    change(model.network)
    train(model, splits.train, splits.val, TRAINING, seed=seed, folder=folder, progress=False)
    return model.eval()


def _record(
    splits: Splits, seed: int, decision: str, choice: str, model: nn.Module, *,
    eps: float, budget: float, rate: float = 0.0, unit: float = 1.0,
) -> Record:  # fmt: skip
    """``eps`` as the decision names it, ``budget`` in pixel units; the step is in the unit of ``eps``."""
    found = evaluate(model, _batches(splits), _attack(budget, unit, seed))
    counts = found.counts
    return {
        "kind": "decision", "dataset": splits.dataset, "seed": seed, "decision": decision, "choice": choice,
        "attack": "pgd" if eps else "clean", "eps": eps, "budget": budget, "prune_rate": rate,
        "n": counts.n, "right": counts.correct_after,
        "labels": _digits(found.labels), "before": _digits(found.before), "after": _digits(found.after),
        "data_fingerprint": splits.fingerprint,
    }  # fmt: skip


def _attack(budget: float, unit: float, seed: int) -> Attack | None:
    if not budget:
        return None
    settings = PGD | {"step_size": PGD["step_size"] * unit}
    return partial(pgd, eps=budget, generator=torch.Generator().manual_seed(seed), **settings)


def _batches(splits: Splits) -> Iterator[tuple[Tensor, Tensor]]:
    for indices in np.split(np.arange(len(splits.test)), range(BATCH, len(splits.test), BATCH)):
        yield splits.test.batch(indices)


def _digits(classes: np.ndarray) -> str:
    return "".join(str(value) for value in classes)


def main() -> None:
    """Run every dataset and seed and write the records with their circumstances."""
    torch.set_num_threads(1)
    started = time.monotonic()
    records: list[Record] = []
    cells = [(dataset, seed) for dataset in DATASETS for seed in SEEDS]
    with progress_bar(len(cells), "decisions") as bar:
        for dataset, seed in cells:
            records += run(dataset, seed)
            bar.update()
    settings = {
        "training": TRAINING.model_dump(), "image_size": IMAGE_SIZE, "sizes": SIZES, "pgd": PGD,
    }  # fmt: skip
    origin = provenance("cpu", time.monotonic() - started)
    origin |= {"command": "python -m meddef.audit.decisions", "settings": settings}
    folder = find_root() / "results" / "decisions"
    write_text(folder / "measurements.jsonl", "".join(json.dumps(r, sort_keys=True) + "\n" for r in records))
    write_text(folder / "provenance.jsonl", json.dumps(origin, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
