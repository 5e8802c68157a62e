"""The opening of each page: data, models, number of attacked images, hardware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from meddef.records import Record
from meddef.report.display import Text
from meddef.report.in_markdown import in_markdown
from meddef.report.labels import attack_name, ordered_attacks
from meddef.report.report import Dataset, Report
from meddef.report.tables_setup import circumstances, short_reach

PHANTOM_NOTE = (
    "Stand-ins are not the paper's data: the comparison shows how the method behaves, not whether the paper's numbers "
    "hold."
)


def scope(report: Report) -> Text:
    """The opening of each page: data, models, n, hardware."""
    data = "; ".join(_images(report, dataset) for dataset in report.datasets)
    seeds = sorted({record["seed"] for record in report.of("train")})
    each = " on each dataset" * (len(report.datasets) > 1)
    numbers = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    models = f"{len(report.models())} models{each}, {numbers}, {_epochs(report)}; "
    where = {name: in_markdown(_flat(value)) for name, value in circumstances(report.provenance).items()}
    commits = where["git commit"]
    s = "s" * ("; " in commits)
    stand_in = f" {PHANTOM_NOTE}" if any(d.stands_in for d in report.datasets) else ""
    short = short_reach(report)
    warning = f" **Short reach.** {short}" if short else ""
    return Text(
        f"**Measured on** {data}. {report.missing()}{models if seeds else ''}"
        f"computed on {where['hardware']} ({where['device']}) in {where['computing time']}; "
        f"commit{s} {commits}.{stand_in}{warning}"
    )


def measured_on(report: Report) -> str:
    """One line for a caption: images, size, seeds, epochs, hardware, and a note on stand-ins."""
    images = "; ".join(_images(report, dataset) for dataset in report.datasets)
    stand_in = f" {PHANTOM_NOTE}" if any(d.stands_in for d in report.datasets) else ""
    return f"Measured on {images}; {_trained(report)}.{stand_in}"


def in_short(report: Report, written: Callable[[str], str] = in_markdown) -> str:
    """Below a heading that names the images: their number (by dataset if several), seeds, hardware.

    ``written`` makes words of records fit the place: Markdown, or ``str`` for the cell of a table.
    """
    several = len(report.datasets) > 1
    sizes = [f"{written(d.label)}: " * several + _sizes(report, d) for d in report.datasets]
    return f"{'; '.join(sizes)}; {_trained(report, written)}."


def _trained(report: Report, written: Callable[[str], str] = in_markdown) -> str:
    """ "3 seeds, 10 epochs; AMD EPYC, 2 cores"."""
    seeds = len({record["seed"] for record in report.of("train")})
    hardware = written(_flat(circumstances(report.provenance)["hardware"]))
    return f"{seeds} seed{'s' * (seeds != 1)}, {_epochs(report)}; {hardware}"


def _images(report: Report, dataset: Dataset) -> str:
    """ "Chest X-Ray, split by patient, 64 px, 879 test images, of which attacks saw the first 200 (JSMA 20)"."""
    return f"{dataset.words}{dataset.split}, {dataset.px}, {_sizes(report, dataset)}"


def _sizes(report: Report, dataset: Dataset) -> str:
    size, seen = dataset.size("test"), attacked_images(report, dataset)
    return f"{size:,} test images" + (f", of which {seen}" if seen else "")


def attacked_images(report: Report, dataset: Dataset) -> str:
    """Number of attacked test images: "attacks saw 200 (JSMA 20; pruned models 100)"; empty without attacks."""
    attacks = [record for record in report.of("attack", dataset.name) if record["attack"] != "clean"]
    if not attacks:
        return ""
    whole = _most([record for record in attacks if not record["prune_rate"]])
    pruned = _most([record for record in attacks if record["prune_rate"]])
    usual = Counter((whole or pruned).values()).most_common(1)[0][0]
    other = _others(whole, usual)
    if pruned:
        sizes = sorted(set(pruned.values()), key=_first)
        other += [f"pruned models {' to '.join(sizes)}"] * (sizes != [usual])
    return f"attacks saw {usual}" + (f" ({'; '.join(other)})" if other else "")


def _most(records: Iterable[Record]) -> dict[str, str]:
    """Attack -> the largest number of attacked images, "100 to 200" where trainings differ."""
    found: dict[str, dict[tuple[object, ...], int]] = {}
    for record in records:
        training = tuple(record[name] for name in ("variant", "training", "seed"))
        of_attack = found.setdefault(record["attack"], {})
        of_attack[training] = max(record["n"], of_attack.get(training, 0))
    return {
        attack: " to ".join(f"{n:,}" for n in sorted({min(sizes.values()), max(sizes.values())}))
        for attack, sizes in found.items()
    }


def _others(sizes: dict[str, str], usual: str) -> list[str]:
    names = (attack for attack in ordered_attacks(sizes) if sizes[attack] != usual)
    return [f"{attack_name(attack).replace(' (worst case)', '')} {sizes[attack]}" for attack in names]


def _first(size: str) -> int:
    return int(size.split(" ")[0].replace(",", ""))


def _epochs(report: Report) -> str:
    """ "5 epochs"; all that occur."""
    epochs = sorted({record["epochs"] for record in report.of("train")})
    return f"{' and '.join(map(str, epochs))} epoch{'s' * (epochs != [1])}"


def _flat(cell: str) -> str:
    return cell.replace("\n", "; ")
