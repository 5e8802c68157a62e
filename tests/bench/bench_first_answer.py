"""A user's first answer: ``meddef evaluate`` beside its passes alone, and beside torchattacks.

    python -m tests.bench.bench_first_answer [--tiny]   # --tiny tries the code in seconds

"Passes" repeats the forward and gradient passes that the command made, on batches of the same sizes, with nothing
around them; both take minutes and are measured once. Seconds of the processor on one thread, in one process.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typer.testing import CliRunner

from meddef.attacks import pgd
from meddef.cli import app
from meddef.evaluation import evaluate
from tests.bench import peers
from tests.bench.bench_gradient import Passes, _bare
from tests.bench.table import Row, interleaved, ratio, say, show
from tests.bench.workload import FULL, TINY, Scale, bands, defended, undefended

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10
FACTORY = """
from torchvision.models import mobilenet_v2


def mobile():
    return mobilenet_v2(num_classes=2)
"""
ATTACKS = {
    "PGD-10": ["--attack", "pgd", "--set", f"steps={STEPS}"],
    "worst case": ["--attack", "ensemble", "--set", f"steps={STEPS}", "--set", "queries=50"],
}


def answers(scale: Scale, count: int, size: int) -> Iterator[Row]:
    """MobileNetV2 on ``count`` images of a folder: the command over its passes, and seconds to its progress bar."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench_factory.py").write_text(FACTORY, encoding="utf-8")
        sys.path.insert(0, name)
        torch.manual_seed(0)
        model = importlib.import_module("bench_factory").mobile()
        save_file(model.state_dict(), folder / "mobile.safetensors")
        images, labels = bands(count, 2, size, seed=0)
        for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            place = folder / "images" / "test" / "AB"[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image[0] * 255).round().byte().numpy()).save(place / f"{number}.png")
        os.environ["MEDDEF_CACHE_DIR"] = str(folder / "cache")
        given = [
            "evaluate",
            "--data",
            str(folder / "images"),
            "--model",
            "bench_factory:mobile",
            "--image-size",
            str(size),
        ]
        given += ["-w", str(folder / "mobile.safetensors"), "--eps", "8/255", "--images", str(count)]
        for words, attack in ATTACKS.items():
            say(f"MobileNetV2, {words}")
            model.eval()
            _bare(model, images, labels, [(scale.batch, True)])  # the first pass of a process is slower
            command, passes = _recorded(partial(_command, [*given, *attack]))
            started = time.process_time()
            _bare(model, images, labels, passes)
            alone = time.process_time() - started
            made = sum(n for n, _ in passes) / count
            yield Row(
                f"meddef evaluate, MobileNetV2, {count} images, {size} px, {words}: time over that of its passes",
                command / alone, "x", most=1.2, note=f"{made:.1f} passes per image, {alone:.0f} s",
            )  # fmt: skip
        yield Row("meddef evaluate: start to progress bar", _first_line(given, folder), "s", most=5)


def _command(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def _recorded(run: Callable[[], None]) -> tuple[float, Passes]:
    """Seconds of the command, the sizes of all batches that its model sees, and whether a gradient was wanted."""
    from torchvision.models import MobileNetV2

    seen: Passes = []
    plain = MobileNetV2.forward

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = plain(self, x)
        seen.append((len(x), logits.requires_grad))
        return logits

    MobileNetV2.forward = forward
    started = time.process_time()
    try:
        run()
    finally:
        MobileNetV2.forward = plain
    return time.process_time() - started, seen


def _first_line(given: list[str], folder: Path) -> float:
    """Seconds from the start of the program, in a terminal, to what it shows first, its progress bar."""
    program = [sys.executable, "-c", "from meddef.cli import main; main()", *given, *ATTACKS["PGD-10"]]
    environment = os.environ | {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}
    terminal, other_end = pty.openpty()
    started = time.perf_counter()
    with subprocess.Popen(
        program, stdout=other_end, stderr=other_end, env=environment, cwd=folder
    ) as process:
        assert os.read(terminal, 1)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds


def against_torchattacks(scale: Scale, count: int) -> Iterator[Row]:
    """``evaluate`` with PGD and a loop with torchattacks' PGD, on a model without defence and one with."""
    package = peers.load("torchattacks")
    for words, made in (("undefended", undefended), ("adversarially trained", defended)):
        say(f"1,000 images, {words}")
        model = made(4, scale.size, scale.training)
        loader = DataLoader(TensorDataset(*bands(count, 4, scale.size, seed=1)), batch_size=scale.batch)
        calls = {"evaluate": partial(_ours, model, loader)}
        if package is not None:
            peer = package.PGD(model, eps=EPS, alpha=STEP, steps=STEPS)
            calls["torchattacks"] = partial(_loop, model, loader, peer)
        found = ", ".join(f"{name} {call():.1%}" for name, call in calls.items())
        times = interleaved(calls, scale.slow_repeats, warm_up=False, clock=time.process_time)
        subject = f"meddef evaluate, {count} images, PGD-{STEPS}, {words}"
        yield ratio(subject, times, "torchattacks", "evaluate", least=1.2, note=f"robust accuracy: {found}")


def _ours(model: nn.Module, loader: DataLoader) -> float:
    attack = partial(pgd, eps=EPS, step_size=STEP, steps=STEPS)
    return evaluate(model, loader, attack).robust_accuracy.value


def _loop(model: nn.Module, loader: DataLoader, attack: Callable[..., torch.Tensor]) -> float:
    """Clean and robust accuracy as with any library; the latter is returned."""
    right, clean = [], []
    for x, labels in loader:
        attacked = attack(x, labels)
        with torch.no_grad():
            clean.append(model(x).argmax(1) == labels)
            right.append(model(attacked).argmax(1) == labels)
    return float(np.mean(torch.cat(right).numpy()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    scale = TINY if tiny else FULL
    rows = [
        *answers(scale, 8 if tiny else 200, 32 if tiny else 224),
        *against_torchattacks(scale, 16 if tiny else 1000),
    ]
    show("A first answer", rows)


if __name__ == "__main__":
    main()
