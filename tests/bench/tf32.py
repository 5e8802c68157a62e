"""Whether TF32, in which PyTorch lets a GPU compute convolutions, changes verdicts: emulated on a CPU, which has none.

python -m tests.bench.tf32 --profile cpu_oct --runs-dir runs --data-dir DATA, for the models whose weights lie there.
TF32 keeps 10 of the 23 bits of the mantissa of a convolution's operands; sums are float32.
"""

import argparse
import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddef.atomic import write_text
from meddef.attacks import pgd
from meddef.evaluation.cells import batches, load_trained, model_folder
from meddef.evaluation.plan import RunOptions, make_plan, splits_of
from meddef.evaluation.provenance import provenance
from meddef.settings import load_profile, training_name

PLACE = Path(__file__).parents[2] / "results" / "bench" / "tf32.json"
EPS, STEPS, IMAGES = (0.015686, 0.05), 10, 100
DROPPED = 23 - 10  # bits


def as_tf32(x: Tensor) -> Tensor:
    """The nearest values with 10 bits of mantissa, ties to even; ``x`` is float32 and finite."""
    bits = x.view(torch.int32)
    half = (1 << (DROPPED - 1)) - 1 + ((bits >> DROPPED) & 1)
    return ((bits + half) & ~((1 << DROPPED) - 1)).view(torch.float32)


def in_tf32(model: nn.Module) -> nn.Module:
    """A copy whose convolutions round their operands."""
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = as_tf32(module.weight.data)
            module.register_forward_pre_hook(lambda _, given: (as_tf32(given[0]),))
    return rounded


def rows(profile: str, runs_dir: Path, data_dir: Path) -> Iterator[dict[str, Any]]:
    """One row per model and ε: images right in float32 and in TF32, and those on which the two disagree."""
    settings = load_profile(profile)
    options = RunOptions(runs_dir / settings.name, data_dir)
    plan = make_plan(settings, options)
    for cell in plan.cells:
        weights = model_folder(options.folder, cell.key) / "best.safetensors"
        if cell.kind != "train" or not weights.is_file():
            continue
        dataset = next(d for d in settings.datasets if d.name == cell.dataset)
        splits = splits_of(dataset, settings, options)
        model = next(iter(load_trained(cell, splits, options.folder, [0.0], "global")))
        other = in_tf32(model)
        for eps in (0.0, *EPS):
            count = dict.fromkeys(("n", "right", "right_tf32", "otherwise"), 0)
            for x, labels in batches(splits.test, IMAGES, settings.batch_size, "cpu"):
                found = pgd(model, x, labels, eps=eps, step_size=eps / 4, steps=STEPS) if eps else x
                with torch.no_grad():
                    here, there = model(found).argmax(1), other(found).argmax(1)
                count["n"] += len(labels)
                count["right"] += int((here == labels).sum())
                count["right_tf32"] += int((there == labels).sum())
                count["otherwise"] += int((here != there).sum())
            training = training_name(cell.settings["training"])
            yield {"variant": cell.settings["variant"], "training": training, "eps": eps, **count}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tf32")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--runs-dir", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    started = time.perf_counter()
    found = list(rows(given.profile, given.runs_dir, given.data_dir))
    circumstances = provenance("cpu", time.perf_counter() - started) | {"profile": given.profile}
    write_text(PLACE, json.dumps({"rows": found, "provenance": circumstances}, indent=1) + "\n")
    print(f"written to {PLACE}")
