"""The model and images of ``evaluate`` and ``check-robustness``: options and the weights' header."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.commands.own import Own
from meddef.commands.run import RUNS
from meddef.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from meddef.data import Splits
    from meddef.data.own import OwnImages
    from meddef.settings import DatasetSettings, Profile

Dataset = Annotated[
    str | None,
    typer.Option("--dataset", help="Such as chest_xray or phantom_oct. Default: from the weights' header."),
]
Weights = Annotated[
    Path, typer.Option("--weights", "-w", help="A .safetensors file, such as 'meddef train' writes.")
]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant", help="The paper's model that the weights belong to. Default: from the weights' header."
    ),
]
OwnModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Instead of --variant a model of your own, module:factory. The factory is called without arguments "
        "and returns a torch.nn.Module from images (N, C, H, W) in [0, 1] to one logit per class.",
    ),
]
Split = Annotated[str, typer.Option("--split", help="Images to evaluate: train, val or test.")]
SplitPolicy = Annotated[
    str | None,
    typer.Option(
        "--split-policy",
        help="released: train, val and test as distributed. paper: 70/15/15 within each class, drawn from all of "
        "them. patient: the same with every patient in one split. Default: from the weights' header, else the "
        "profile's for this dataset, else released.",
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        help="Side in pixels, or height x width: 224 or 192x256. Default: the weights', else the profile's.",
    ),
]
SettingsFrom = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        help="Source of the image size and the dataset's settings. Default: from the weights' header, else smoke.",
    ),
]
OtherData = Annotated[
    bool,
    typer.Option("--other-data", help="Evaluate on images other than those named in the weights' header."),
]


@dataclass(frozen=True)
class Asked:
    """The command line's model and images; None: not given."""

    dataset: str | None
    variant: str | None
    model: str | None
    split: str
    split_policy: str | None
    image_size: str | None
    profile: str | None
    other_data: bool
    own: Own = field(default_factory=Own)

    def subject(self, *files: Path) -> Subject:
        """Models and settings for weights; the first file's header gives the missing options, and all must agree.

        Raises:
            InputError: no weights, no model, no dataset; options that contradict the weights' header.
        """
        from meddef.data.cards import SPLITS, find_card
        from meddef.data.policies import check_policy
        from meddef.evaluation.single import check_weights
        from meddef.evaluation.weights_header import check_model, check_settings, data_of
        from meddef.image_size import parse_size, simplest
        from meddef.settings import load_profile
        from meddef.training.checkpoint import read_header

        profile = load_profile(self.profile or "smoke")
        own = self.own.images(self.dataset)
        size = None if self.image_size is None else parse_size(self.image_size)
        if self.split not in SPLITS:
            raise InputError(f"--split '{self.split}' is unknown: use one of {', '.join(SPLITS)}")
        if self.split_policy is not None:
            check_policy(self.split_policy)
        for file in files:
            check_weights(file)
        headers = [read_header(file) for file in files]
        known = headers[0].get("variant") if self.model is None else None
        if self.variant is None and ":" in str(known or ""):  # code that a file names is not run
            raise InputError(f"{files[0]} holds the weights of {known}: give --model {known}")
        models = [_model(self.variant or known, self.model) for _ in files]
        dataset = own.card.name if own else self.dataset or data_of(headers[0]).get("dataset")
        if dataset is None:
            raise InputError(f"{files[0]} {_unsaid(headers[0])}")
        card = find_card(dataset)
        chosen = self._settings(dataset, own, profile, headers[0], files[0])
        if size is None:
            there = None if self.profile else data_of(headers[0]).get("image_size")
            if there is None and own is not None and self.profile is None:
                raise InputError(f"{files[0]} does not say at which size it was trained: give --image-size")
            size = simplest(there) if isinstance(there, int | list) else profile.image_size
        for header, file in zip(headers, files, strict=True):
            check_model(header, file, models[0] if isinstance(models[0], str) else None, card.classes)
            if not self.other_data:
                check_settings(header, file, chosen, size)
        settings = profile.model_copy(update={"image_size": size})
        return Subject(self, files, headers, models, chosen, settings, own.data_dir if own else None)

    def _settings(
        self,
        dataset: str,
        own: OwnImages | None,
        profile: Profile,
        header: dict[str, Any],
        weights: Path,
    ) -> DatasetSettings:
        """The settings of the requested profile, else the weights', else smoke's, else the released split; of one's own
        images those of the weights, else as they lie, in colour."""
        from meddef.evaluation.weights_header import settings_in
        from meddef.settings import DatasetSettings

        its = next((d for d in profile.datasets if d.name == dataset), None)
        said = settings_in(header, weights)
        if said is not None and said.name != dataset:
            said = None
        choices = (its, said) if self.profile else (said, its)
        chosen = next((c for c in choices if c is not None), None)
        chosen = chosen or DatasetSettings(
            name=dataset, split_policy="released", channels=3 if own is not None else None
        )
        policy = {"split_policy": self.split_policy} if self.split_policy else {}
        return chosen.model_copy(update=policy | self.own.updates(own))


@dataclass(frozen=True)
class Subject:
    """The subject of an evaluation: models, weights with headers, and the settings of the images."""

    asked: Asked
    files: tuple[Path, ...]
    headers: list[dict[str, Any]]
    models: list[str | nn.Module]
    dataset: DatasetSettings
    profile: Profile
    place: Path | None = None  # of one's own images, the folder that holds theirs

    @property
    def name(self) -> str:
        """The variant, or the location of an own model."""
        model = self.models[0]
        return model if isinstance(model, str) else str(self.asked.model)

    def splits(
        self,
        data_dir: Path | None,
        device: str,
        *,
        skip_unreadable: bool,
        also_needed: tuple[str, ...] = (),
    ) -> Splits:
        """The prepared images; the split that was asked for, and those ``also_needed``, hold some."""
        from meddef.evaluation.plan import RunOptions, splits_of

        options = RunOptions(RUNS / self.profile.name, self.place or data_dir, device, skip_unreadable)
        needed = (self.asked.split, *also_needed)
        return splits_of(self.dataset, self.profile, options, progress=True, needed=needed)

    def about(self, splits: Splits) -> dict[str, Any]:
        """Model, weights and images, the identity of a result, for a file."""
        with self.files[0].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "model": self.name, "weights": str(self.files[0]), "weights_sha256": digest, "data": splits.dataset,
            "split": self.asked.split, "split_policy": self.dataset.split_policy,
            "image_size": self.profile.image_size, "fingerprint": splits.fingerprint,
        } | self._rounding()  # fmt: skip

    def _rounding(self) -> dict[str, Any]:
        """What the last bits of a logit depend on, and a verdict on the border with them."""
        import torch

        return {
            "batch_size": self.profile.batch_size,
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
        }

    def told(self, splits: Splits, count: int) -> list[str]:
        """The evaluated images, their source, and their relation to the weights: lines to print."""
        from meddef.data.origin import released_as
        from meddef.data.report import read_as
        from meddef.evaluation.cells import test_order
        from meddef.image_size import px

        images, origin = splits.part(self.asked.split), splits.origin
        assert origin is not None
        order = test_order(images, count)
        where = (
            f"{len(order):,} of the {len(images):,} images of split {self.asked.split} of {splits.dataset}"
        )
        line = f"images: {where} ({origin.split}), {px(origin.image_size)}"
        if origin.place:
            line += f"; in {origin.place}: {released_as(images.names[row] for row in order)}"
        own = self.place is not None
        order_of = (
            [f"classes: {', '.join(f'{i} {name}' for i, name in enumerate(splits.classes))}"] if own else []
        )
        rounding = self._rounding()
        return [
            line,
            *order_of,
            *read_as(splits),
            *(self._of(header, file, splits) for header, file in zip(self.headers, self.files, strict=True)),
            "computed in batches of {batch_size}, threads: {threads}, {instructions}, torch {torch}".format(
                **rounding
            ),
        ]

    def _of(self, header: dict[str, Any], file: Path, splits: Splits) -> str:
        from meddef.evaluation.weights_header import data_of

        data, part = data_of(header), self.asked.split
        if data.get("fingerprint") is None:
            return f"{file}: unknown training data; if it includes these images, the rates are meaningless"
        if data["fingerprint"] != splits.fingerprint:
            return f"{file}: trained on other images, of {data['dataset']} (fingerprint {data['fingerprint'][:12]})"
        kept = {"train": "trained on these", "val": "its best epoch was chosen on these images"}.get(
            part, "these images held out"
        )
        return f"{file}: trained by meddef {header.get('meddef')} with seed {header.get('seed')}, {kept}"


def _unsaid(header: dict[str, Any]) -> str:
    """Why weights do not lead to images, and what to give."""
    data = header.get("data")
    name = data.get("dataset") if isinstance(data, dict) else None
    if name is None:
        return "does not name the images it was trained with: give --dataset, --data or --csv"
    return f"was trained with images '{name}', which the package does not have: give --data, --csv or the --profile"


def _model(variant: str | None, model: str | None) -> str | nn.Module:
    """The variant's name, or the model that the user's factory makes; exactly one of the two must be given."""
    from meddef.evaluation.own_model import build_own_model

    if (variant is None) == (model is None):
        raise InputError("give either --variant (a model of the paper) or --model (one of your own)")
    return variant or build_own_model(str(model))
