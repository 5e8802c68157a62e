"""The records of one profile, for figures, tables and sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from meddef.image_size import area, px
from meddef.records import Record, load_provenance, load_records
from meddef.report.balanced import balanced_frame
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import VARIANTS, attack_rank, is_control, rank
from meddef.report.strongest import ALONG_PRUNING, Quantity, alike, quantity, shown, strongest
from meddef.report.worst_case import with_worst_case
from meddef.settings import TRAININGS

if TYPE_CHECKING:
    from meddef.data import Preprocessing

PAPER_DATASETS = {"roct": "ROCT", "chest_xray": "Chest X-Ray"}
SPLITS = {
    "paper": "split at random as in the paper",
    "patient": "split by patient",
    "released": "split as released",
}
RATES = ("clean", "robust", "asr", "balanced")
_CELL = ["dataset", "twin", "variant", "training", "prune_rate", "attack", "eps"]
_NUMBERS = [f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high", "_spread", "_least", "_most")]
_CONSTANT = ["constant", "constant_balanced", "largest", "absent"]  # of the constant classifier


@dataclass(frozen=True)
class Dataset:
    """One dataset of a profile.

    ``twin`` is the paper's dataset that it is or replaces; None if there is none.
    """

    name: str
    title: str
    twin: str | None
    stands_in: bool
    record: Record

    @property
    def label(self) -> str:
        """For titles: "Chest X-Ray", or "X-ray phantoms (for Chest X-Ray)"."""
        if self.stands_in and self.twin:
            return f"{self.title} (for {PAPER_DATASETS[self.twin]})"
        return PAPER_DATASETS.get(self.name, self.title)

    @property
    def words(self) -> str:
        """``label`` for Markdown."""
        return in_markdown(self.label)

    @property
    def short_label(self) -> str:
        """For headings: "OCTDL (for ROCT)" of images titled "OCTDL, the four largest classes"."""
        return self.label.replace(self.title, self.title.partition(",")[0])

    @property
    def px(self) -> str:
        """The size of its images: "64 px", "192 x 256 px"."""
        return px(self.record["image_size"])

    @property
    def features(self) -> int:
        """Pixels times channels of an image as a model gets it."""
        return (self.record.get("channels") or 3) * area(self.record["image_size"])

    @property
    def is_drawn(self) -> bool:
        """Whether its images are phantoms, drawn by this package."""
        return self.name.startswith("phantom")

    @property
    def split(self) -> str:
        """For sentences: ", split by patient"; nothing for phantoms, which have no patients."""
        return "" if self.is_drawn else f", {SPLITS[self.record['split_policy']]}"

    @property
    def classes(self) -> list[str]:
        return list(self.record["classes"])

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps that the profile names, or the paper's for this dataset where it names none."""
        from meddef.data import CARDS, Preprocessing  # half a second that most pages do without

        own = self.record.get("card") or {}
        named = self.record["preprocessing"] or own.get("preprocessing")
        return Preprocessing.model_validate(named) if named else CARDS[self.name].preprocessing

    def size(self, split: str) -> int:
        """Images in a split."""
        return sum(self.record["counts"][split].values())


@dataclass(frozen=True)
class Report:
    """All records of one profile."""

    profile: str
    records: list[Record]
    provenance: list[Record]
    folder: Path | None = None
    _summaries: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def load(cls, profile: str, results_dir: str | Path) -> Report:
        """Read ``<results_dir>/<profile>/``; ``InputError`` if nothing was exported."""
        read = load_records(results_dir, profile), load_provenance(results_dir, profile)
        return cls(profile, *read, Path(results_dir))

    def bench(self, name: str) -> Report | None:
        """``bench/<name>.json`` beside this report's records, one record per row; None if missing."""
        path = self.folder / "bench" / f"{name}.json" if self.folder else None
        if path is None or not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [{"key": f"bench/{name}", "kind": name, **row} for row in content["rows"]]
        return Report(self.profile, rows, [{"key": f"bench/{name}", **content["provenance"]}], self.folder)

    def of(self, kind: str, dataset: str | None = None) -> list[Record]:
        """Records of a kind, in the order of the paper's models."""
        found = [r for r in self.records if r["kind"] == kind and dataset in (None, r["dataset"])]
        return sorted(found, key=_model_order)

    @cached_property
    def datasets(self) -> list[Dataset]:
        """In the paper's order: retina first, then chest, then others."""
        found = []
        for record in self.of("data"):
            name, stands_for = record["dataset"], record["stands_for"]
            twin = stands_for or name
            known = twin if twin in PAPER_DATASETS else None
            found.append(Dataset(name, record["title"], known, stands_for is not None, record))
        return sorted(found, key=lambda d: (rank(d.twin, tuple(PAPER_DATASETS)), d.name))

    @property
    def is_real(self) -> bool:
        """Whether real images were used, not only phantoms."""
        return not all(dataset.is_drawn for dataset in self.datasets)

    @property
    def is_of_the_paper(self) -> bool:
        """Whether a dataset of the paper itself was used, not only stand-ins."""
        return any(dataset.name in PAPER_DATASETS for dataset in self.datasets)

    @property
    def has_rivals(self) -> bool:
        """Whether a model was trained with a rival method."""
        return any(training not in TRAININGS for _, training in self.models())

    @property
    def title(self) -> str:
        """Title of the evidence, for sidebar and headings: "Chest X-Ray, 64 px, split by patient"."""
        if self.datasets and all(dataset.is_drawn for dataset in self.datasets):
            sizes = dict.fromkeys(dataset.px for dataset in self.datasets)
            return ", ".join(["Phantoms", *sizes])
        return "; ".join(map(self.title_of, self.datasets))

    def title_of(self, dataset: Dataset) -> str:
        """``title`` of one dataset: images, pixels, and a split or trainings other than the paper's."""
        split = dataset.split if dataset.record["split_policy"] != "paper" else ""
        rivals = ", rival trainings" if self.has_rivals else ""
        return f"{dataset.short_label}, {dataset.px}{split}{rivals}"

    def missing(self) -> str:
        """A sentence that names the paper's datasets without records; empty if there are none."""
        have = {dataset.twin for dataset in self.datasets}
        absent = [name for key, name in PAPER_DATASETS.items() if key not in have]
        return f"Nothing was measured here on {' or '.join(absent)}. " if absent else ""

    def models(self, dataset: str | None = None) -> list[tuple[str, str]]:
        """(variant, training) of the trained models, in the paper's order, the controls last."""
        return list(dict.fromkeys((r["variant"], r["training"]) for r in self.of("train", dataset)))

    def as_run(self, grid: str, dataset: str | None = None) -> list[Record]:
        """Attack records of one grid as they are: the same images and settings throughout, for comparisons of cells."""
        return [record for record in self.of("attack", dataset) if record["grid"] == grid]

    def grid(self, grid: str, dataset: str | None = None) -> list[Record]:
        """The results of one grid, each quantity from its strongest record in any grid (``meddef.report.strongest``).

        Those of the ensemble are widened to the worst case over it and the other attacks. What other grids measured
        may belong to it too (``shown``). Along the pruning rate all points are of the pruning grid: the effect of
        pruning is measured on the same images under the same attack; a grid without rate 0 has no row there.
        """
        if grid == ALONG_PRUNING:
            return with_worst_case(strongest(self.as_run(grid, dataset)))
        return [self._strongest[q] for q in shown(self.of("attack", dataset), grid)]

    def alike(self, *grids: str, dataset: str) -> list[Record]:
        """The results of ``grids``, as ``grid`` but with all models on the same images with the same settings, to
        compare."""
        wanted = {q for grid in grids for q in shown(self.of("attack", dataset), grid)}
        return [record for record in self._alike if quantity(record) in wanted]

    @cached_property
    def _strongest(self) -> dict[Quantity, Record]:
        return {quantity(record): record for record in with_worst_case(strongest(self.of("attack")))}

    @cached_property
    def _alike(self) -> list[Record]:
        return with_worst_case(alike(self.of("attack")))

    def at(self, eps: float, dataset: str) -> list[Record]:
        """Every attack with the L∞ bound ``eps`` on models without pruning, each from its strongest record."""
        place = (dataset, 0.0, eps, "linf")
        found = [((q[0], q[5], *q[-2:]), record) for q, record in self._strongest.items()]
        return [record for own, record in found if own == place and record["attack"] != "clean"]

    def attacks(self, grid: str, dataset: str | None = None) -> pd.DataFrame:
        """The rows of ``grid``, summarised over seeds, in percent; empty if the grid was not run.

        Columns: dataset, twin, variant, training, prune_rate, attack, eps (NaN where the attack has none), n and right
        (of them correct before the attack; both text, "187 to 190" where seeds differ), seeds (how many), and for each
        of clean, robust, asr and balanced (under attack): the value, ``_low``, ``_high`` (Wilson, 95 %),
        ``_spread`` (standard deviation over seeds, NaN with one), ``_least`` and ``_most`` (of the seeds). With several
        seeds, value and ends are means. ``constant`` and ``constant_balanced`` are those rates of the constant
        classifier, ``largest`` is its class, ``absent`` names classes without images.
        """
        frame = self._summaries.get(grid)
        if frame is None:
            frame = self._summaries[grid] = self._summary(grid)
        return frame if dataset is None else frame[frame["dataset"] == dataset].reset_index(drop=True)

    def behind(self, grid: str, frame: pd.DataFrame) -> list[Record]:
        """The attack records of ``grid`` that the rows of ``frame``, of ``attacks(grid)``, summarise."""
        cells = {_cell(row) for row in frame.to_dict("records")}
        return [record for record in self.grid(grid) if _cell(record) in cells]

    def _summary(self, grid: str) -> pd.DataFrame:
        rows = self.grid(grid)
        if not rows:
            return pd.DataFrame(columns=[*_CELL, "n", "right", "seeds", *_NUMBERS, *_CONSTANT])
        frame = balanced_frame(rows)
        frame["twin"] = frame["dataset"].map({d.name: d.twin for d in self.datasets})
        frame["eps"] = frame["eps"].astype(float)
        groups = frame.groupby(_CELL, sort=False, dropna=False)
        result = groups.agg(n=("n", _text), right=("correct_before", _text), seeds=("seed", "nunique"))
        for rate in RATES:
            for end in ("", "_low", "_high"):
                result[f"{rate}{end}"] = 100 * groups[f"{rate}{end}"].mean()
            for end, of_seeds in (("_spread", "std"), ("_least", "min"), ("_most", "max")):
                result[f"{rate}{end}"] = 100 * groups[rate].agg(of_seeds)
        for name in _CONSTANT:
            result[name] = 100 * groups[name].mean() if name.startswith("constant") else groups[name].first()
        result = result.reset_index()
        return _sorted(result.astype({"twin": object}))  # not a number where no dataset has a twin


def _cell(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    """What identifies a record of a grid, apart from its seed; epsilon is None for attacks without one."""
    eps = None if pd.isna(row["eps"]) else float(row["eps"])
    return (*(row[name] for name in ("dataset", "variant", "training", "prune_rate", "attack")), eps)


def _text(counts: pd.Series) -> str:
    """ "187", or "187 to 190" where seeds differ."""
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """By dataset, model, pruning rate, attack and epsilon, models and attacks in the paper's order, controls last."""
    models = zip(frame["variant"], frame["training"], strict=True)
    ranked = frame.assign(
        _model=[(is_control(*model), rank(model[0], VARIANTS)) for model in models],
        _attack=[attack_rank(attack) for attack in frame["attack"]],
    )
    columns = ["dataset", "_model", "prune_rate", "_attack", "eps"]
    return ranked.sort_values(columns, kind="stable", ignore_index=True).drop(columns=["_model", "_attack"])


def at_epsilon(frame: pd.DataFrame, eps: float) -> pd.DataFrame:
    """The rows of attacks at ``eps``, clean rows, and those of attacks that have no epsilon."""
    return frame[(frame["eps"] == eps) | (frame["attack"] == "clean") | frame["eps"].isna()]


def _model_order(record: Record) -> tuple[bool, int, int]:
    variant, training = record.get("variant", ""), record.get("training", "")
    return is_control(variant, training), rank(variant, VARIANTS), record.get("seed", 0)


def by_model(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """(variant, training) -> its records, one per seed, in the order given."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record["variant"], record["training"]), []).append(record)
    return found
