"""JSMA: the exact pair search against torchattacks' matrix of all pairs, and against ART, which searches none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from meddef.attacks import jsma
from meddef.models import build_model
from tests.bench import peers
from tests.bench.table import Row, interleaved, ratio, say
from tests.bench.workload import Scale

ROOT = Path(__file__).parents[2]
THETA = 1.0  # a moved feature is saturated, where both libraries drop it from the search


class Grey(nn.Module):
    """A model of three channels that takes one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.expand(-1, 3, -1, -1))


SMALL = {28: (1, 16, 4), 32: (3, 16, 2), 64: (3, 4, 1)}
"""Size in px, where torchattacks has memory enough -> channels, images, moves."""


def rows(scale: Scale) -> Iterator[Row]:
    for size, least, repeats in (
        (28, 8, scale.repeats),
        (32, 30, scale.slow_repeats),
        (64, 50, scale.slow_repeats),
    ):
        if size <= scale.jsma_size:
            yield from against_torchattacks(size, least, repeats)
    yield against_art(scale)
    yield from memory(scale.largest)


def workload(
    size: int, channels: int, images: int, classes: int = 4
) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """ResNet18, images below the 0.99 at which torchattacks drops features, the model's answers, and other classes."""
    torch.manual_seed(0)
    model = build_model("resnet18", classes, mean=0.5, std=0.3).eval()
    if channels == 1:
        model = Grey(model)
    generator = torch.Generator().manual_seed(0)
    x = 0.9 * torch.rand(images, channels, size, size, generator=generator)
    with torch.no_grad():
        labels = torch.cat([model(one).argmax(1) for one in x.split(1)])
    return model, x, labels, (labels + 1 + torch.arange(images) % (classes - 1)) % classes


def calls(size: int, device: str = "cpu") -> peers.Calls:
    """The same few moves by this package and by torchattacks."""
    channels, images, moves = SMALL[size]
    model, *rest = workload(size, channels, images)
    x, labels, targets = (part.to(device) for part in rest)
    model, n = model.to(device), x[0].numel()
    # torchattacks makes ceil(gamma n / 2) moves, this package floor(gamma n / 2)
    ours = partial(jsma, model, x, labels, theta=THETA, gamma=(2 * moves + 0.5) / n, targets=targets)
    peer = peers.torchattacks(
        "JSMA", model, x, targets, targets=True, theta=THETA, gamma=(2 * moves - 0.5) / n
    )
    return {"meddef": ours, **peer}


def against_torchattacks(size: int, least: float, repeats: int) -> Iterator[Row]:
    """Time, and whether the images are the same."""
    channels, images, moves = SMALL[size]
    label = f"jsma, {size} x {size} x {channels}"
    say(label)
    both = calls(size)
    found: dict[str, Tensor] = {}
    keep = {name: partial(_keep, found, name, call) for name, call in both.items()}
    times = interleaved(keep, repeats)
    note = f"{images} images, {moves} moves, medians of {repeats} runs"
    yield ratio(f"{label}: against torchattacks", times, "torchattacks", "meddef", least=least, note=note)
    workload_name = f"{label}: images identical to torchattacks'"
    if "torchattacks" not in both:
        yield Row(workload_name, None, "%", least=100, note="peer not installed: torchattacks")
        return
    equal = (found["meddef"] == found["torchattacks"]).flatten(1).all(1)
    yield Row(workload_name, 100 * equal.float().mean().item(), "%", least=100, note=f"{images} images")


def _keep(found: dict[str, Tensor], name: str, call: peers.Calls | partial[Tensor]) -> None:
    found[name] = call()  # type: ignore[operator]


def against_art(scale: Scale) -> Row:
    """At the size of the paper's images, where torchattacks asks for more memory than there is."""
    size, moves, images = scale.largest, 3, 8
    say(f"jsma, {size} x {size} x 3")
    model, x, labels, targets = workload(size, 3, images)
    n = x[0].numel()
    ours = partial(jsma, model, x, labels, theta=THETA, gamma=(2 * moves + 0.5) / n, targets=targets)
    # ART continues while at most gamma n features are changed
    peer = peers.art_jsma(model, x, targets, theta=THETA, gamma=(2 * moves - 0.5) / n)
    times = interleaved({"meddef": ours, **peer}, scale.repeats)
    asked = 4 * n * n / 1e9
    return ratio(
        f"jsma, {size} x {size} x 3: against ART, which searches no pairs", times, "ART", "meddef", least=2,
        note=f"{images} images, {moves} moves, {len(targets.unique())} targets; one matrix of all pairs, of which "
        f"torchattacks makes several, would take {asked:.0f} GB",
    )  # fmt: skip


def memory(size: int) -> Iterator[Row]:
    """Peak of a process that attacks eight images, before and after, so that nothing else counts."""
    say("peak memory of jsma")
    name = f"jsma, {size} x {size} x 3, batch of 8: peak memory of the attack"
    if not Path("/proc/self/status").is_file():
        yield Row(name, None, "GB", most=1, note="needs /proc")
        return
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.jsma_memory", str(size)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    before, after = (float(word) for word in done.stdout.split())
    yield Row(
        name,
        after - before,
        "GB",
        most=1,
        note=f"the process: {after:.2f} GB, of which {before:.2f} with libraries and model loaded",
    )
