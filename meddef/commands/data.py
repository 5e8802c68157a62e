"""``meddef data``: prepare, show and check the images."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from meddef.commands.own import Channels, Classes, CsvFile, DataFolder, Own, Window

if TYPE_CHECKING:
    from meddef.data import Splits
    from meddef.data.own import OwnImages

app = typer.Typer(
    help="Prepare, show and check the images.", no_args_is_help=True, pretty_exceptions_enable=False
)

DATASETS = "chest_xray, roct, octdl, octdl4, pneumoniamnist, octmnist, phantom_oct, phantom_xray"
CHECK_SIZE = 32
"""Image size, in pixels, at which ``check`` preprocesses: enough to decode everything quickly."""

Dataset = Annotated[str | None, typer.Option(help=f"One of {DATASETS}, or one of --profile.")]
Profile = Annotated[
    str | None,
    typer.Option("--profile", "-p", help="A YAML file with the card of your own dataset."),
]
Policy = Annotated[
    str,
    typer.Option(
        help="released: the folders as distributed. paper: 70/15/15 within each class. "
        "patient: 70/15/15 with every patient in one split. Phantoms are split as drawn; your own images by default "
        "as 'meddef train' splits them."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the split, and of phantoms.")]
Size = Annotated[
    str, typer.Option(help="Side of the preprocessed images in pixels, or height x width: 192x256.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with chest_xray/, roct/, octdl/, medmnist/. [default: MEDDEF_DATA_DIR]"),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(help="Cache of preprocessed images. [default: MEDDEF_CACHE_DIR, else ~/.cache/meddef]"),
]
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="What to print.")]
Skip = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="List unusable files and skip them instead of stopping."),
]


@app.command()
def prepare(
    dataset: Dataset = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    image_size: Size = "64",
    seed: Seed = 0,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    skip_unreadable: Skip = False,
) -> None:
    """Decode and preprocess a dataset into the cache, so that later commands start immediately."""
    from meddef.data import load_splits
    from meddef.image_size import parse_size, sides

    chosen, _ = _chosen(dataset, Own(data, csv, classes, window, channels), profile, data_dir)
    policy = "released"  # the cache holds all images, whatever the split
    splits = load_splits(
        **chosen,
        image_size=(size := parse_size(image_size)),
        split_policy=policy,
        seed=seed,
        needed=(),
        cache_dir=cache_dir,
        skip_unreadable=skip_unreadable,
    )
    found, skipped = splits.report["files_found"], len(splits.report["skipped"])
    typer.echo(
        f"{splits.dataset}: {found - skipped:,} images ready at {' x '.join(map(str, sides(size)))} pixels"
    )


@app.command()
def show(
    dataset: Dataset = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    split_policy: Policy | None = None,
    image_size: Size = "64",
    seed: Seed = 0,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    output: Format = "table",
    skip_unreadable: Skip = False,
) -> None:
    """Print images per split and class, duplicates, and patients in several splits."""
    from meddef.data import load_splits
    from meddef.image_size import parse_size

    chosen, own = _chosen(dataset, Own(data, csv, classes, window, channels), profile, data_dir)
    if split_policy is None:
        split_policy = "paper" if own is None else own.training_policy
    splits = load_splits(
        **chosen,
        image_size=parse_size(image_size),
        split_policy=split_policy,
        seed=seed,
        needed=(),
        cache_dir=cache_dir,
        skip_unreadable=skip_unreadable,
    )
    if output == "json":
        typer.echo(json.dumps(_as_json(splits), indent=2))
    else:
        _print_table(splits)


@app.command()
def check(
    dataset: Dataset = None,
    data: DataFolder = None,
    csv: CsvFile = None,
    classes: Classes = None,
    window: Window = None,
    channels: Channels = None,
    split_policy: Policy = "released",
    seed: Seed = 0,
    profile: Profile = None,
    data_dir: DataDir = None,
    output: Format = "table",
) -> None:
    """Decode every file and report problems that would invalidate a result.

    Exit code 1 when a file cannot be used, when equal or nearly equal images have different labels or lie in
    different splits, or when a patient is in several splits; duplicates within a split are only mentioned. Exit code 2
    when the data is missing or has another layout.
    """
    from meddef.data import Preprocessing, load_splits

    chosen, _ = _chosen(dataset, Own(data, csv, classes, window, channels), profile, data_dir)
    with tempfile.TemporaryDirectory() as cache:
        splits = load_splits(
            **chosen,
            image_size=CHECK_SIZE,
            split_policy=split_policy,
            seed=seed,
            preprocessing=Preprocessing(),
            cache_dir=Path(cache),
            skip_unreadable=True,
            needed=(),
        )
        findings = find_problems(splits.report)
    if output == "json":
        typer.echo(
            json.dumps({"dataset": splits.dataset, "problems": findings, "report": splits.report}, indent=2)
        )
    else:
        typer.echo("\n".join([*findings, *_remarks(splits)]))
    raise typer.Exit(1 if findings else 0)


def _chosen(
    dataset: str | None, options: Own, profile: str | None, data_dir: Path | None
) -> tuple[dict[str, Any], OwnImages | None]:
    """Name, channels and folder of the images, and what own ones are; a profile's cards are known once it was read."""
    there = None
    if profile is not None:
        from meddef.settings import load_profile

        there = next((each for each in load_profile(profile).datasets if each.name == dataset), None)
    own = options.images(dataset)
    if own is not None:
        return {
            "dataset": own.card.name,
            "channels": options.channels or 3,
            "data_dir": own.data_dir,
        }, own
    if dataset is None:
        raise typer.BadParameter("give --dataset, --data or --csv")
    return {
        "dataset": dataset,
        "channels": options.channels or (there and there.channels),
        "data_dir": data_dir,
    }, None


def find_problems(report: dict[str, Any]) -> list[str]:
    """One line for each problem in the report that would invalidate a result."""
    lines = [f"cannot be used: {problem['name']} ({problem['reason']})" for problem in report["skipped"]]
    for kind, found in report["duplicates"].items():
        if count := found["groups_with_different_labels"]:
            lines.append(f"{count} groups of {kind} duplicates have different labels")
        if count := found["groups_across"]:
            names = " = ".join(found["examples_across"][0])
            lines.append(f"{count} groups of {kind} duplicates are in different splits, such as {names}")
    if count := report["patients"]["in_several_splits"]:
        lines.append(f"{count} patients are in several splits, such as {report['patients']['examples'][0]}")
    return lines


def _as_json(splits: Splits) -> dict[str, Any]:
    from meddef.data import CARDS

    return {
        "dataset": splits.dataset,
        "card": CARDS[splits.dataset].model_dump(mode="json"),
        "image_size": splits.origin.image_size if splits.origin else None,
        "mean": splits.mean,
        "std": splits.std,
        "fingerprint": splits.fingerprint,
        "report": splits.report,
    }


def _print_table(splits: Splits) -> None:
    from rich.console import Console
    from rich.table import Table

    from meddef.data import CARDS

    report, card = splits.report, CARDS[splits.dataset]
    table = Table(title=f"{card.title}: split policy {report['split_policy']}, seed {report['seed']}")
    table.add_column("split")
    for name in (*splits.classes, "all"):
        table.add_column(name, justify="right")
    before = report["counts_before_removal"]
    for split, counts in before.items():
        table.add_row(split, *_row(counts))
    table.add_row("all", *_row({name: sum(c[name] for c in before.values()) for name in splits.classes}))
    if report["removed_from_training"]:
        table.add_row("train, duplicates removed", *_row(report["counts"]["train"]), style="bold")
    Console().print(table)
    typer.echo("\n".join(_remarks(splits)))


def _row(counts: dict[str, int]) -> list[str]:
    return [f"{count:,}" for count in (*counts.values(), sum(counts.values()))]


def _remarks(splits: Splits) -> list[str]:
    from meddef.data import CARDS
    from meddef.data.report import read_as

    report, card = splits.report, CARDS[splits.dataset]
    published = sum(sum(classes.values()) for classes in card.published_counts.values())
    of_published = f" of {published:,} published" if published else ""
    lines = [f"files: {report['files_found']:,}{of_published}; skipped: {len(report['skipped'])}"]
    lines += read_as(splits)
    for kind, found in report["duplicates"].items():
        within = ", ".join(f"{split} {count}" for split, count in found["groups_within"].items())
        lines.append(
            f"{kind} duplicates: {found['groups']} groups, {found['surplus_files']} surplus files "
            f"(groups within {within}; across splits {found['groups_across']})"
        )
    if "near" not in report["duplicates"]:
        lines.append("near duplicates: not searched for in phantoms, which are similar by design")
    lines.append(f"removed from training: {len(report['removed_from_training'])}")
    patients = report["patients"]
    known = f"{patients['patients']:,}; in several splits: {patients['in_several_splits']}"
    lines.append(f"patients: {known if patients['patients'] else 'not known'}")
    measured = f"training pixels: mean {splits.mean:.4f}, std {splits.std:.4f}"
    printed = f" (the paper prints {card.mean:.4f} and {card.std:.4f})" if card.mean is not None else ""
    return [*lines, measured + printed, f"fingerprint: {splits.fingerprint}"]
