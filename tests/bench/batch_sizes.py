"""Do verdicts depend on the loader's batch size? python -m tests.bench.batch_sizes --runs-dir runs

PGD as libraries have it, whose random start is drawn for a batch at once from the global generator, and as here, where
it is derived from the image: with no, one and five random starts. With torchattacks on the path (``make bench`` puts it
into .bench), and the undefended model that this leaves in ``runs``:

    meddef train --profile smoke --variant resnet18 --dataset phantom_xray
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.atomic import write_text
from meddef.attacks import pgd
from meddef.evaluation.provenance import provenance
from tests.bench.autoattack import subject
from tests.bench.table import say

PLACE = Path(__file__).parents[2] / "results" / "bench" / "batch_sizes.json"
DATASET, SEED = "phantom_xray", 0
EPS, STEP, STEPS, IMAGES = 2 / 255, 0.5 / 255, 20, 128
SIZES = (16, 64)
STARTS = (0, 1, 5)
Row = dict[str, Any]


def per_batch(model: nn.Module, x: Tensor, labels: Tensor, starts: int) -> Tensor:
    """Whether each image resists, (N,); all starts of the batch are drawn at once."""
    from torchattacks import PGD

    attack = PGD(model, eps=EPS, alpha=STEP, steps=STEPS, random_start=starts > 0)
    resists = torch.ones(len(x), dtype=torch.bool)
    for _ in range(max(1, starts)):
        found = attack(x, labels)
        with torch.no_grad():
            resists &= model(found).argmax(1) == labels
    return resists


def per_image(model: nn.Module, x: Tensor, labels: Tensor, starts: int) -> Tensor:
    """The same with starts derived from the images."""
    start = {"random_start": starts > 0, "restarts": max(1, starts)}
    found = pgd(model, x, labels, eps=EPS, step_size=STEP, steps=STEPS, seed=SEED, **start)
    with torch.no_grad():
        return model(found).argmax(1) == labels


def rows(model: nn.Module, images: Tensor, labels: Tensor) -> list[Row]:
    """One row per way of drawing and number of starts: robust images at each size, and verdicts that differ."""
    found = []
    for drawn, run in (("for a batch", per_batch), ("from the image", per_image)):
        for starts in STARTS:
            resisting = {}
            for size in SIZES:
                torch.manual_seed(SEED)
                parts = zip(images.split(size), labels.split(size), strict=True)
                resisting[size] = torch.cat([run(model, x, y, starts) for x, y in parts])
            few, many = resisting.values()
            row = {
                "drawn": drawn,
                "starts": starts,
                "robust": {str(k): int(v.sum()) for k, v in resisting.items()},
            }
            found.append(row | {"differ": int((few != many).sum())})
            say(str(found[-1]))
    return found


def main() -> None:
    """Measure and write the rows with their provenance."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.batch_sizes")
    parser.add_argument("--runs-dir", type=Path, required=True)
    torch.set_num_threads(1)
    started = time.perf_counter()
    circumstances = provenance("cpu", 0)  # the commit is the one that starts
    model, images, labels, about = subject(parser.parse_args().runs_dir, DATASET, IMAGES, "clean")
    content = {"about": {**about, "eps": EPS, "steps": STEPS}, "rows": rows(model, images, labels)}
    circumstances["seconds"] = round(time.perf_counter() - started, 1)
    write_text(PLACE, json.dumps(content | {"provenance": circumstances}, indent=1) + "\n")


if __name__ == "__main__":
    main()
