"""Effect of reading an ambiguity of the paper the other way: small models on phantoms, trained for each reading.

``python -m meddef.laboratory.decisions`` writes ``results/decisions/``. The readings stand in
``meddef.report.decisions``; models are changed here, from the outside, with the same starting weights where both
readings have the same parameters.
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
from meddef.evaluation import Evaluation, evaluate
from meddef.evaluation.provenance import provenance
from meddef.models import COMPONENTS, DefenseModule, MedDef, Normalized, build_model
from meddef.models.backbone import CHANNELS
from meddef.progress import progress_bar
from meddef.pruning import prune_l1
from meddef.records import Record
from meddef.report.decisions import COMMAND
from meddef.sections import find_root
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import train

DATASET = "phantom_oct"
SEEDS = (0, 1, 2)
SIZES = {"train": 128, "val": 32, "test": 100}
IMAGE_SIZE = 48
TRAINING = TrainingSettings(
    epochs=4, batch_size=16, learning_rate=5e-4, adversarial=AdversarialSettings(steps=2)
)
EPS = 0.01  # models this small have nothing left at the paper's 0.05
PGD: dict[str, Any] = {"steps": 5, "reach_in_eps": 2.5}  # reach: steps x step size; the ball is 2 eps wide
BUDGETS = (0.01, 0.05)  # of the two spaces
RATES = (0.3, 0.6)
BATCH = 25


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


CHOICES = ("taken", "other")
TRAINED: dict[str, tuple[Callable[[MedDef], None], float]] = {
    # decision with the other reading -> the change to the model, and the dropout rate
    "taken": (as_taken, 0.3),
    "afd_order": (relu_before_norm, 0.3),
    "omega": (omega_on_fused, 0.3),
    "dropout": (as_taken, 0.2),
}


def run(seed: int) -> Iterator[Record]:
    """Records of one seed, one row per decision, reading ("taken" or "other") and condition.

    A record holds labels and predictions, one digit per image, as attack records do.
    """
    splits = load_splits(DATASET, image_size=IMAGE_SIZE, split_policy="released", sizes=SIZES, progress=False)
    with TemporaryDirectory() as folder:
        models = {name: fit(splits, name, seed, Path(folder) / name) for name in TRAINED}
    answers = {name: attacked(splits, model, seed, EPS) for name, model in models.items()}
    taken = models["taken"]
    pairs = [(name, 0.0, (answers["taken"], answers[name])) for name in TRAINED if name != "taken"]
    for rate in RATES:
        pruned = (prune_l1(taken, rate, scope=scope) for scope in ("global", "layer"))
        found = [attacked(splits, model, seed, EPS) for model in pruned]
        pairs.append(("pruning", rate, (found[0], found[1])))
    for decision, rate, both in pairs:
        for choice, answer in zip(CHOICES, both, strict=True):
            for attack in ("clean", "pgd"):
                yield _record(answer, splits, seed, decision, choice, attack, EPS, rate)
    for eps in BUDGETS:
        for choice, unit in zip(CHOICES, (1.0, splits.std), strict=True):
            answer = attacked(splits, taken, seed, eps, unit)
            yield _record(answer, splits, seed, "epsilon_space", choice, "pgd", eps, 0.0)


def fit(splits: Splits, name: str, seed: int, folder: Path) -> Normalized:
    """The full model of one reading, trained adversarially, in evaluation mode."""
    change, dropout = TRAINED[name]
    torch.manual_seed(seed)
    model = build_model("full", len(splits.classes), mean=splits.mean, std=splits.std, dropout=dropout)
    assert isinstance(model.network, MedDef)
    change(model.network)
    train(model, splits.train, splits.val, TRAINING, seed=seed, folder=folder, progress=False)
    return model.eval()


def attacked(splits: Splits, model: nn.Module, seed: int, eps: float, unit: float = 1.0) -> Evaluation:
    """PGD on the test images; ``eps`` is in units of ``unit`` pixel units."""
    radius, steps = eps * unit, PGD["steps"]
    step_size = PGD["reach_in_eps"] * radius / steps
    attack = partial(pgd, eps=radius, step_size=step_size, steps=steps, seed=seed)
    return evaluate(model, _batches(splits), attack)


def _record(
    answer: Evaluation, splits: Splits, seed: int, decision: str, choice: str, attack: str, eps: float, rate: float
) -> Record:  # fmt: skip
    given = answer.before if attack == "clean" else answer.after
    return {
        "kind": "decision", "dataset": splits.dataset, "seed": seed, "decision": decision, "choice": choice,
        "attack": attack, "eps": eps if attack != "clean" else 0.0, "prune_rate": rate,
        "n": len(given), "right": int((given == answer.labels).sum()),
        "labels": _digits(answer.labels), "after": _digits(given),
        "data_fingerprint": splits.fingerprint,
    }  # fmt: skip


def _batches(splits: Splits) -> Iterator[tuple[Tensor, Tensor]]:
    for indices in np.split(np.arange(len(splits.test)), range(BATCH, len(splits.test), BATCH)):
        yield splits.test.batch(indices)


def _digits(classes: np.ndarray) -> str:
    return "".join(str(value) for value in classes)


def main() -> None:
    """Run every seed and write the records with their circumstances."""
    torch.set_num_threads(1)
    folder = find_root() / "results" / "decisions"
    settings = {
        "training": TRAINING.model_dump(), "image_size": IMAGE_SIZE, "sizes": SIZES, "pgd": PGD,
    }  # fmt: skip
    started = time.monotonic()
    records: list[Record] = []
    with progress_bar(len(SEEDS), "decisions") as bar:
        for seed in SEEDS:
            records += run(seed)
            origin = provenance("cpu", time.monotonic() - started)
            origin |= {"command": COMMAND, "settings": settings}
            write_text(folder / "measurements.jsonl", _lines(records))
            write_text(folder / "provenance.jsonl", _lines([origin]))
            bar.update()


def _lines(rows: list[Record]) -> str:
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)


if __name__ == "__main__":
    main()
