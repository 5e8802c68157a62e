"""A training outside the plan, resumed but not recorded: of the user's own model, or on some of the images."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from meddef.arithmetic import recorded
from meddef.data.images import ImageSet
from meddef.data.splits import Splits
from meddef.errors import InputError
from meddef.evaluation.own_model import build_own_model, check_classes
from meddef.evaluation.plan import RunOptions, splits_of
from meddef.evaluation.weights_header import describe
from meddef.models import build_model
from meddef.results_version import versions
from meddef.settings import Profile
from meddef.training import TrainingState, train
from meddef.training.frozen import frozen_digest, frozen_words
from meddef.training.trainer import BEST

ORDER_SEED = 0  # of the images that are left with fewer of them


def train_own(
    settings: Profile, options: RunOptions, *, model: str | None, images: int | None = None
) -> tuple[TrainingState, Path, str]:
    """Train the only model of ``settings``, or with its settings the user's own.

    Args:
        settings: a profile of one dataset, one seed and one model.
        model: the place of the user's own model, "module:factory"; it is called after the seed is set.
        images: how many of the training images to learn from, the first of a seeded order; None: all.

    Returns:
        How it went, the weights, and what is frozen in words.

    Raises:
        InputError: as ``build_own_model`` and ``train`` do; fewer training images than asked for, or none of a class.
    """
    (dataset,), (seed,) = settings.datasets, settings.seeds
    ((variant, training),) = settings.models()
    splits = splits_of(dataset, settings, options, progress=True)
    if images is not None:
        splits = replace(splits, train=_first(splits, images))
    with recorded(settings.threads):
        torch.manual_seed(seed)
        net: nn.Module
        if model is None:
            net = build_model(
                variant, len(splits.classes), mean=splits.mean, std=splits.std,
                dropout=training.dropout, pretrained=training.pretrained, channels=splits.channels,
            )  # fmt: skip
        else:
            net = build_own_model(model)
            check_classes(net.eval(), splits, "cpu")
        name = model or variant
        told = training.model_dump(mode="json") | ({} if images is None else {"images": images})
        folder = options.folder / "own" / _key(net, name, splits, settings, options, told)
        state = train(
            net, splits.train, splits.val, training,
            seed=seed, folder=folder, device=options.device, label=f"{splits.dataset} {name}",
            about=describe(splits, variant=name, seed=seed, training=told),
        )  # fmt: skip
    return state, folder / BEST, frozen_words(net)


def _first(splits: Splits, count: int) -> ImageSet:
    """The first ``count`` training images of a seeded order."""
    whole = splits.train
    if count > len(whole):
        raise InputError(f"--images {count}: split train of {splits.dataset} has {len(whole)}")
    rows = np.random.default_rng(ORDER_SEED).permutation(len(whole))[:count]
    lacking = set(range(len(splits.classes))) - set(whole.labels[rows].tolist())
    if lacking:
        classes = ", ".join(splits.classes[label] for label in sorted(lacking))
        raise InputError(f"--images {count}: none of them is of class {classes}: give more")
    names, patients = (tuple(part[row] for row in rows) for part in (whole.names, whole.patients))
    return ImageSet(np.asarray(whole.images)[rows], whole.labels[rows], names, patients, whole.channels)


def _key(
    net: nn.Module,
    name: str,
    splits: Splits,
    settings: Profile,
    options: RunOptions,
    training: Mapping[str, Any],
) -> str:
    """What can change the weights, the text of the user's module included."""
    digest = hashlib.sha256()
    for tensor_name, value in net.state_dict().items():
        if isinstance(value, torch.Tensor):
            values = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(tensor_name.encode() + values.numpy().tobytes())
    module = sys.modules.get(name.partition(":")[0]) if ":" in name else None
    source = getattr(module, "__file__", None)
    if source and Path(source).is_file():
        digest.update(Path(source).read_bytes())
    content = {
        "training": training,
        "model": name,
        "network": repr(net),
        "frozen": frozen_digest(net),
        "seed": settings.seeds,
        "data": splits.fingerprint,
        "device": options.device,
        "threads": settings.threads,
        "versions": versions("models", "training", "attacks"),
    }
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()[:16]
