"""The options that name images of one's own: a folder or a CSV file, and how they are to be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddef.errors import InputError

if TYPE_CHECKING:
    from meddef.data.own import OwnImages

DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Images of your own: a folder that holds train/CLASS/, val/CLASS/ and test/CLASS/, some of them, or "
        "CLASS/ alone. They are brought to size on black, and nothing else; classes are in the order of their names.",
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Images of your own, listed: columns path (from the file's folder) and label; patient and split (train, "
        "val, test) if known.",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes", help="With --data or --csv: the classes in the order of the logits, such as A,B,C."
    ),
]
Window = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--window",
        metavar="LOW HIGH",
        help="With --data or --csv: the stored values (DICOM: rescaled) that become black and white in files "
        "deeper than 8 bits.",
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        "--channels",
        help="3 keeps colours, 1 gives the model one channel of grey. Default: what the weights say, else 3 with "
        "--data or --csv; datasets of the package are grey, as three equal channels.",
    ),
]


@dataclass(frozen=True)
class Own:
    """What the options say."""

    data: Path | None = None
    csv: Path | None = None
    classes: str | None = None
    window: tuple[float, float] | None = None
    channels: int | None = None

    def images(self, dataset: str | None) -> OwnImages | None:
        """The images that are named, whose card is known from then on; None where none are.

        Raises:
            InputError: --data beside --csv or --dataset; what makes no sense without them; a folder or file that is
                not what it should be; --channels neither 1 nor 3.
        """
        if self.channels not in (None, 1, 3):
            raise InputError(f"--channels {self.channels} is neither 1 nor 3")
        named = {"--data": self.data, "--csv": self.csv, "--dataset": dataset}
        given = [name for name, value in named.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} both name images: give one of them")
        place = self.data or self.csv
        if place is None:
            if self.classes or self.window:
                raise InputError(
                    "--classes and --window are for --data or --csv; a dataset's card has its own"
                )
            return None
        if not (place.is_dir() if self.csv is None else place.is_file()):
            what = (
                "folder: a list of images is --csv"
                if self.csv is None
                else "file: a folder of images is --data"
            )
            raise InputError(f"{given[0]} {place} is no {what}")
        from meddef.data.own import own_images

        classes = [name.strip() for name in self.classes.split(",")] if self.classes else None
        return own_images(place, classes=classes, window=self.window)

    def updates(self, own: OwnImages | None) -> dict[str, Any]:
        """What of the settings of a dataset these options change."""
        asked = {} if self.channels is None else {"channels": self.channels}
        return asked if own is None else {"card": own.card, **asked}
