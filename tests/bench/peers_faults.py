"""What PGD of several libraries does where something is wrong: python -m tests.bench.peers_faults

With torchattacks, cleverhans and captum on the path (``make bench`` puts them into .bench). Each probe gives a library
one faulty situation on a small network and records what a user notices: an error, a warning that it does not give where
all is well, or nothing.
"""

import json
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.atomic import write_text
from meddef.attacks import pgd
from meddef.evaluation.provenance import provenance
from tests.bench.table import say

PLACE = Path(__file__).parents[2] / "results" / "bench" / "peers_faults.json"
EPS, STEP, STEPS, SIDE, IMAGES = 8 / 255, 2 / 255, 10, 16, 8
Attack = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
NAMES = {"ART": "adversarial-robustness-toolbox"}


def _meddef(model: nn.Module, x: Tensor, y: Tensor, step: float) -> Tensor:
    return pgd(model, x, y, eps=EPS, step_size=step, steps=STEPS)


def _torchattacks(model: nn.Module, x: Tensor, y: Tensor, step: float) -> Tensor:
    from torchattacks import PGD

    return PGD(model, eps=EPS, alpha=step, steps=STEPS)(x, y)


def _foolbox(model: nn.Module, x: Tensor, y: Tensor, step: float) -> Tensor:
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfPGD

    found: Tensor = LinfPGD(abs_stepsize=step, steps=STEPS)(
        PyTorchModel(model, bounds=(0, 1), device="cpu"), x, y, epsilons=EPS
    )[1]
    return found


def _art(model: nn.Module, x: Tensor, y: Tensor, step: float) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    sizes = {
        "input_shape": tuple(x.shape[1:]),
        "nb_classes": 2,
        "clip_values": (0.0, 1.0),
        "device_type": "cpu",
    }
    classifier = PyTorchClassifier(model=model, loss=nn.CrossEntropyLoss(), **sizes)
    given = {"eps": EPS, "eps_step": step, "max_iter": STEPS, "num_random_init": 1, "verbose": False}
    return torch.from_numpy(ProjectedGradientDescent(classifier, **given).generate(x.numpy(), y.numpy()))


def _cleverhans(model: nn.Module, x: Tensor, y: Tensor, step: float) -> Tensor:
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    given = {"clip_min": 0.0, "clip_max": 1.0, "y": y}
    return projected_gradient_descent(model, x, EPS, step, STEPS, np.inf, **given)


def _captum(model: nn.Module, x: Tensor, y: Tensor, step: float) -> Tensor:
    from captum.robust import PGD

    loss = lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")  # noqa: E731
    attack = PGD(model, loss_func=loss, lower_bound=0.0, upper_bound=1.0)
    found: Tensor = attack.perturb(x, radius=EPS, step_size=step, step_num=STEPS, target=y, random_start=True)
    return found


LIBRARIES: dict[str, Attack] = {
    "meddef": _meddef, "torchattacks": _torchattacks, "foolbox": _foolbox, "ART": _art, "cleverhans": _cleverhans,
    "captum": _captum,
}  # fmt: skip


class Net(nn.Module):
    """A small network with BatchNorm; ``kind`` breaks it."""

    def __init__(self, kind: str = "whole") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * 49, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x.round() if self.kind == "rounds" else x))
        return logits * float("nan") if self.kind == "nan" else logits


def probes(attack: Attack) -> Iterator[tuple[str, str]]:
    """(situation, outcome) of each."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(IMAGES, 3, SIDE, SIDE, generator=generator)
    model = Net().eval()
    y = model(x).argmax(1)

    def noticed(
        model: nn.Module, images: Tensor, labels: Tensor = y, step: float = STEP
    ) -> tuple[str, Tensor | None]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = attack(model, images.clone(), labels, step)
            except Exception:
                return "error", None
        new = {str(one.message) for one in told} - usual
        return ("warning" if new else "nothing"), found

    with warnings.catch_warnings(record=True) as always:
        warnings.simplefilter("always")
        attack(model, x.clone(), y, STEP)
    usual = {str(one.message) for one in always}
    yield "logits are NaN", noticed(Net("nan").eval(), x)[0]
    yield "the model rounds its input: no gradient", noticed(Net("rounds").eval(), x)[0]
    yield "images from 0 to 255", noticed(model, x * 255)[0]
    yield "the step is larger than ε", noticed(model, x, step=3 * EPS)[0]
    yield "a label beyond the classes", noticed(model, x, torch.full_like(y, 2))[0]
    training = Net().train()
    before = training.body[1].running_mean.clone()
    noticed(training, x)
    changed = not torch.equal(before, training.body[1].running_mean)
    yield "the model is in training mode", "its statistics change" if changed else "nothing changes"
    wasted = Net().train()
    noticed(wasted, x)
    yield "mode afterwards", "as before" if wasted.training else "changed"
    given = Net().eval()
    noticed(given, x)
    yield (
        "gradients of the weights afterwards",
        ("left behind" if any(p.grad is not None for p in given.parameters()) else "none"),
    )
    _, found = noticed(model, x)
    assert found is not None
    beyond = float((found.detach().double() - x.double()).abs().max() - EPS)
    yield "largest excess over ε", "0" if beyond <= 0 else f"{beyond:.0e}"


def main() -> None:
    """Probe every library and write the outcomes with their provenance."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    circumstances = provenance("cpu", 0)
    rows = []
    for library, attack in LIBRARIES.items():
        for situation, outcome in probes(attack):
            rows.append({"library": library, "situation": situation, "outcome": outcome})
            say(f"{library}: {situation}: {outcome}")
    versions = {name: version(NAMES.get(name, name)) for name in LIBRARIES if name != "meddef"}
    circumstances["seconds"] = round(time.perf_counter() - started, 1)
    content = {"versions": versions, "rows": rows, "provenance": circumstances}
    write_text(PLACE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
