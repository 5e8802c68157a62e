"""Tables of what the probes found (``meddef.probes``), one function per probe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from meddef.records import Record
from meddef.report.display import Table, budget
from meddef.report.labels import attack_name, ordered_attacks, short_label
from meddef.report.report import Dataset, Report, by_model
from meddef.statistics import Proportion, calibration_error, psnr

Row = dict[str, Any]
Values = dict[str, np.ndarray]
FEATURES = ("afd", "mfe", "msf", "daam")
MEASURES = {  # names in records -> in words
    "in": "its input", "in high": "that of its input", "daam": "perturbation after DAAM",
    **{name: f"perturbation after {name.upper()}" for name in FEATURES[:3]},
    "afd high": "high-frequency share after AFD",
    "clean": "clean", "inside": "correct, PGD in the lesion", "outside": "correct, PGD outside the lesion",
    **{str(n): f"correct, PGD in squares of {n} px" for n in (2, 4, 8, 16)}, "1": "correct, PGD in single pixels",
    "border": "predictions changed without border", "letter removed": "predictions changed without letter",
    "letter moved": "predictions changed with the letter moved", "jsma ssim": "SSIM after JSMA",
}  # fmt: skip
RATE = "Below a share: its 95 % Wilson interval, averaged over seeds."
UNATTACKED = "these images, clean"  # few of those that other pages judge


def components(report: Report) -> Table:
    """The perturbation of the feature maps before and after each component."""

    def cells(records: Sequence[Values]) -> Row:
        return {"input": _perturbation(records, "in")} | {
            name.upper(): _perturbation(records, name) if name in records[0] else None for name in FEATURES
        }

    caption = (
        f"Perturbation of the feature maps under {_attack(report, 'components')}, relative to the map (medians over "
        "images), before the DefenseModule, after each component and after the whole module; ×: median ratio to the "
        "input, below 1 where noise is suppressed relative to the signal; high: mean share of the perturbation's "
        "power above half the Nyquist frequency. The map's side is 1/32 of the image's."
    )
    return _table(report, "components", cells, caption)


def bands(report: Report) -> Table:
    """Accuracy under PGD that is confined to one spatial scale."""

    def cells(records: Sequence[Values]) -> Row:
        scales = sorted(set(records[0]) - {"clean"}, key=int)
        return {UNATTACKED: _share(records, "clean")} | {f"{n} px": _share(records, n) for n in scales}

    caption = (
        f"Accuracy (%) under {_attack(report, 'bands')} with a perturbation that is constant over squares of the "
        f"given size; 1 px is unrestricted. {RATE}"
    )
    return _table(report, "bands", cells, caption)


def regions(report: Report) -> Table:
    """Accuracy under PGD in the lesion, outside it and everywhere."""

    def cells(records: Sequence[Values]) -> Row:
        names = {
            "clean": UNATTACKED,
            "inside": "in the lesion",
            "outside": "outside",
            "everywhere": "everywhere",
        }
        area = f"{100 * float(np.mean(records[0]['lesion'])):.1f}"
        return {"lesion (% of the image)": area} | {
            word: _share(records, name) for name, word in names.items()
        }

    caption = (
        f"Accuracy (%) under {_attack(report, 'regions')} confined to the lesion or to its surroundings, on images "
        "with a lesion. An attack on fewer pixels is weaker whatever they show: compare the lesion's area. "
        f"{RATE}"
    )
    return _table(report, "regions", cells, caption)


def calibration(report: Report) -> Table:
    """Confidence against accuracy, before and after PGD."""

    def cells(records: Sequence[Values]) -> Row:
        found = {}
        for when, end in (("no attack", ""), ("attacked", " attacked")):
            pairs = [(v[f"confidence{end}"], v[f"right{end}"]) for v in records]
            found[f"{when}: correct (%)"] = _mean([100 * right.mean() for _, right in pairs], 1)
            found[f"{when}: confidence (%)"] = _mean([100 * sure.mean() for sure, _ in pairs], 1)
            found[f"{when}: ECE (%)"] = _mean(
                [100 * calibration_error(sure.tolist(), right.tolist()) for sure, right in pairs], 1
            )
            found[f"{when}: Brier"] = _mean([v[f"brier{end}"].mean() for v in records], 2)
        return found

    caption = (
        f"Accuracy and mean confidence, clean and under {_attack(report, 'calibration')}; expected calibration error "
        "over 15 bins (Guo et al. 2017), which is biased upwards for few images; Brier score, from 0 to 2, 0.5 for an "
        "even guess between two classes."
    )
    return _table(report, "calibration", cells, caption)


def visibility(report: Report) -> Table:
    """How visible the attacks are."""
    rows = []
    for dataset, model, records in _models(report, "visibility"):
        for attack in ordered_attacks({name.split()[0] for name in records[0]}):
            ssim, l2, l0 = (
                float(np.median([v[f"{attack} {key}"] for v in records])) for key in ("ssim", "l2", "l0")
            )
            rows.append(
                {
                    "dataset": dataset.label, "model": model, "attack": attack_name(attack), "n": _count(records),
                    "SSIM": f"{ssim:.3f}", "PSNR (dB)": f"{psnr(l2, dataset.features):.1f}", "L2": f"{l2:.2f}",
                    "pixels changed (%)": f"{100 * l0:.1f}",
                }
            )  # fmt: skip
    caption = (
        "Distance between attacked and original images: structural similarity (Wang et al. 2004; 1 is no difference), "
        "peak signal-to-noise ratio, norm of the perturbation and share of changed pixels; medians over images. FGSM "
        f"and {_attack(report, 'visibility')}; JSMA has no ε."
    )
    return Table(pd.DataFrame(rows), caption, header=3)


def shortcuts(report: Report) -> Table:
    """Share of predictions that change with the letter, the border and the lesion."""

    def cells(records: Sequence[Values]) -> Row:
        names = ("letter removed", "letter moved", "border", "lesion removed")
        found = {name: _share(records, name) for name in names if name in records[0]}
        return {"border blanked" if name == "border" else name: cell for name, cell in found.items()}

    caption = (
        "Share of predictions (%) that change when the letter beside the chest is removed or moved to the other "
        "side, when the outer tenth of the image is blanked, and when the lesion is removed from the same phantom; "
        f"of the images that have it. {RATE}"
    )
    return _table(report, "shortcuts", cells, caption)


def pixels(report: Report) -> Table:
    """Brightness, contrast and noise of the images before and after preprocessing, and how lesions stand out."""
    rows = []
    for dataset in report.datasets:
        for record in _of(report, "images", dataset):
            values = _values(record)
            for when in ("before", "after"):
                row = {"dataset": dataset.label, "preprocessing": when, "n": record["n"]}
                for name in ("brightness", "contrast", "noise"):
                    of = values[f"{name} {when}"]
                    row[name] = f"{of.mean():.1f} ± {of.std():.1f}"
                lesions = values.get(f"lesion {when}")
                row["lesion"] = None if lesions is None else f"{np.nanmedian(lesions):.1f}"
                rows.append(row)
    caption = (
        "Grey levels (of 255) of test images, mean ± standard deviation over images: mean of the pixels, their "
        "standard deviation, and noise (Immerkær 1996, which counts fine structure as noise). Lesion: the median "
        "ratio of its contrast to the noise, where lesions are known. Phantoms, not preprocessed for training, are "
        "preprocessed here like the images that they represent."
    )
    return Table(pd.DataFrame(rows), caption, header=2)


def _table(report: Report, probe: str, cells: Callable[[Sequence[Values]], Row], caption: str) -> Table:
    """One row per model."""
    rows = [
        {"dataset": dataset.label, "model": model, "n": _count(records)} | cells(records)
        for dataset, model, records in _models(report, probe)
    ]
    return Table(pd.DataFrame(rows), caption, header=2)


def _models(report: Report, probe: str) -> Iterator[tuple[Dataset, str, list[Values]]]:
    """Dataset, model and what the probe measured on each of its trainings."""
    for dataset in report.datasets:
        for model, records in by_model(_of(report, probe, dataset)).items():
            yield dataset, short_label(*model), [_values(record) for record in records]


def _of(report: Report, probe: str, dataset: Dataset | None = None) -> list[Record]:
    name = dataset.name if dataset else None
    return [record for record in report.of("probe", name) if record["probe"] == probe]


def _values(record: Record) -> Values:
    """Name -> one number per image, NaN where undefined."""
    return {name: np.array(values, dtype=float) for name, values in record["measures"].items()}


def _attack(report: Report, probe: str) -> str:
    """ "PGD (ε = 8/255, 40 steps)" """
    rules = [record["settings"] for record in _of(report, probe)]
    told = {f"PGD (ε = {budget(rule['eps'])}, {rule['steps']} steps)" for rule in rules}
    return " or ".join(sorted(told)) or "PGD"


def _count(records: Sequence[Values]) -> str:
    n = len(next(iter(records[0].values())))
    return f"{n}" if len(records) == 1 else f"{n}, {len(records)} seeds"


def _mean(values: Sequence[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _share(records: Sequence[Values], name: str) -> str:
    """Percent of the images with a yes or no that have yes, its interval, and n where some have neither."""
    known = [values[name][~np.isnan(values[name])] for values in records]
    shares = [Proportion(int(each.sum()), len(each)) for each in known]
    low, high = (100 * float(np.mean([share.interval[end] for share in shares])) for end in (0, 1))
    n = f"\nn = {len(known[0])}" if len(known[0]) < len(records[0][name]) else ""
    return f"{_mean([100 * share.value for share in shares], 1)}\n[{low:z.1f}, {high:z.1f}]{n}"


def _perturbation(records: Sequence[Values], name: str) -> str:
    """ "0.31", "× 0.95" and "high 52 %" below each other."""
    parts = [f"{np.mean([np.nanmedian(values[name]) for values in records]):.2f}"]
    if name != "in":
        parts.append(f"× {np.mean([np.nanmedian(v[name] / v['in']) for v in records]):.2f}")
    high = 100 * float(np.mean([np.nanmean(values[f"{name} high"]) for values in records]))
    return "\n".join([*parts, f"high {high:.0f} %"])
