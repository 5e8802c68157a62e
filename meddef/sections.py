"""The sections of the report, one row each: notebook, needed cells, and records required for a page.

A notebook in ``notebooks/`` with the following metadata is also a section, without a row:
``"meddef": {"section": "mine", "needs": ["data", "train", "epsilon"]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meddef.errors import InputError


@dataclass(frozen=True)
class Section:
    """``needs`` are kinds of cells ("data", "train", "probe bands"), and for attacks their grids ("epsilon"); a profile
    has the page if its records contain all of ``shows``. ``once``: independent of the images."""

    name: str
    notebook: str  # without its ending
    needs: tuple[str, ...]
    shows: tuple[str, ...] = ()
    once: bool = False


_ATTACKED = ("data", "train", "test", "epsilon", "ensemble")
_ROWS = (
    Section("data", "01_data", ("data", "probe images"), ("data",)),
    Section("architecture", "02_architecture", ("data",), once=True),
    Section("training", "03_adversarial_training", ("data", "train", "curve"), ("train",)),
    Section("ablation", "04_ablation", (*_ATTACKED, "jsma", "probe components", "probe bands"), ("epsilon",)),
    Section("controls", "10_controls", (*_ATTACKED, "small_epsilon", "jsma")),
    Section("epsilon", "05_epsilon", (*_ATTACKED, "small_epsilon", "jsma", "probe visibility"), ("epsilon",)),
    Section("pruning", "06_pruning", ("data", "train", "pruning"), ("pruning",)),
    Section("confusion", "07_confusion", (*_ATTACKED, "jsma", "probe calibration"), ("test",)),
    Section(
        "saliency", "08_saliency", ("data", "train", "saliency", "probe regions", "probe shortcuts"), ("saliency",)
    ),
    Section("comparison", "09_comparison", ("data", "train", "pruning"), ("pruning",)),
    Section("defences", "11_defences", (*_ATTACKED, "small_epsilon", "defense", "universal", "transfer")),
)  # fmt: skip


def find_root(root: Path | None = None) -> Path:
    """The project folder: ``root``, else the current one, else that of the package's source.

    Raises:
        InputError: none of them has ``_config.yml`` and ``notebooks/``.
    """
    candidates = [root] if root else [Path.cwd(), Path(__file__).resolve().parents[1]]
    for folder in candidates:
        if (folder / "_config.yml").is_file() and (folder / "notebooks").is_dir():
            return folder.resolve()
    raise InputError(
        f"no _config.yml and notebooks/ in {candidates[0]}: run this in a clone of the repository"
    )


def own_sections(folder: Path) -> Iterator[Section]:
    """Sections named in the metadata of the notebooks in ``folder``, by file name; they show all that they need.

    Raises:
        InputError: metadata that do not say what a section needs, or the name of another section.
    """
    taken = {row.name for row in _ROWS}
    stems = {row.notebook for row in _ROWS}
    for path in sorted(folder.glob("*.ipynb")):
        if path.stem in stems:
            continue
        try:
            said = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("meddef", {})
        except (ValueError, KeyError) as error:
            raise InputError(f"{path} is no notebook: {error}") from error
        if "section" not in said:
            continue
        name, needs = said["section"], said.get("needs")
        if name in taken or not isinstance(needs, list) or not all(isinstance(part, str) for part in needs):
            raise InputError(
                f'{path}: metadata "meddef" must give a section that is not {", ".join(sorted(taken))}, and the list '
                f"of cells it needs; got {said}"
            )
        taken.add(name)
        yield Section(name, path.stem, tuple(needs), tuple(needs))


def _all() -> dict[str, Section]:
    try:
        folder = find_root() / "notebooks"
    except InputError:  # installed without the notebooks
        return {row.name: row for row in _ROWS}
    return {row.name: row for row in (*_ROWS, *own_sections(folder))}


SECTIONS: dict[str, Section] = _all()
