"""Source and preprocessing of a dataset's images, sufficient to reproduce them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meddef.image_size import Size


@dataclass(frozen=True)
class Origin:
    """The arguments of ``load_splits``, and ``place``, the folder or file that it read ("" for phantoms).

    ``sizes`` are images per split, for phantoms only; ``preprocessing`` has every step that was applied; ``channels``
    None is grey as three equal channels.
    """

    image_size: Size
    split_policy: str
    split_seed: int
    preprocessing: dict[str, Any]
    sizes: dict[str, int] | None = None
    place: str = ""
    channels: int | None = None

    @property
    def split(self) -> str:
        """How the images were split, in words."""
        if self.sizes is not None:
            return f"drawn from seed {self.split_seed}"
        seed = "" if self.split_policy == "released" else f", seed {self.split_seed}"
        return f"split policy {self.split_policy}{seed}"


def released_as(names: Iterable[str]) -> str:
    """The folders, or arrays, of the release with the named images: "88 from train, 12 from test"."""
    found = Counter(name.split("/", 1)[0] for name in names)
    return ", ".join(f"{count:,} from {folder}" for folder, count in found.most_common())
