"""The pages of each profile: those for which it has records."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meddef.image_size import area
from meddef.report.ablation import STEPS
from meddef.report.controls import has_all
from meddef.report.report import Report
from meddef.sections import SECTIONS, Section


def _steps(report: Report) -> bool:
    """Whether two models that differ in a component were trained adversarially and attacked."""
    models = {variant for variant, training in report.models() if training == "adversarial"}
    return bool(report.grid("epsilon")) and any(set(step) <= models for step in STEPS.values())


def _full_pruned(report: Report) -> bool:
    return any(
        record["attack"] == "pgd" and (record["variant"], record["training"]) == ("full", "adversarial")
        for record in report.grid("pruning")
    )


def _shows(section: Section) -> Callable[[Report], bool]:
    return lambda report: all(_has(report, part) for part in section.shows)


def _has(report: Report, part: str) -> bool:
    if part.startswith("probe "):
        return any(record["probe"] == part.removeprefix("probe ") for record in report.of("probe"))
    return bool(report.of(part) or report.grid(part))


MORE: dict[str, Callable[[Report], bool]] = {
    # sections whose page needs more than records of a kind
    "ablation": _steps,
    "controls": lambda report: any(has_all(report, dataset) for dataset in report.datasets),
    "comparison": _full_pruned,
    "defences": lambda report: report.has_rivals or bool(report.of("defense") or report.of("universal")),
}
HOLDS = {name: MORE.get(name) or _shows(section) for name, section in SECTIONS.items()}
"""Section -> whether a profile holds what its page shows."""


def in_order(reports: Iterable[Report]) -> list[Report]:
    """The paper's own images first, then other real ones, then phantoms; within each, by number of trainings, then
    pixels."""
    return sorted(reports, key=_rank)


def _rank(report: Report) -> tuple[bool, bool, int, int, str]:
    return *_kind(report), -len(report.of("train")), -_size(report), report.profile


def _kind(report: Report) -> tuple[bool, bool]:
    return not report.is_of_the_paper, not report.is_real


def _size(report: Report) -> int:
    return max((area(dataset.record["image_size"]) for dataset in report.datasets), default=0)


def as_read(reports: Iterable[Report]) -> list[Report]:
    """The evidence of a section in order: the paper's images, other real ones, phantoms; within each, the paper's
    trainings, then the paper's split, then the largest images first."""

    def rank(report: Report) -> tuple[bool | int | str, ...]:
        other_split = any(dataset.record["split_policy"] != "paper" for dataset in report.datasets)
        return *_kind(report), report.has_rivals, other_split, -_size(report), *_rank(report)

    return sorted(reports, key=rank)


def titles(reports: Iterable[Report]) -> dict[str, str]:
    """Profile -> title of its pages; a repeated title is followed by the profile's name."""
    found: dict[str, str] = {}
    for report in in_order(reports):
        again = report.title in found.values()
        found[report.profile] = report.title + f" ({report.profile})" * again
    return found


def pages(reports: Iterable[Report]) -> dict[str, list[str]]:
    """Profile -> the sections it has pages for; one that does not depend on the images only for the first profile."""
    ordered = in_order(reports)
    return {
        report.profile: [
            section
            for section, holds in HOLDS.items()
            if holds(report) and (not SECTIONS[section].once or report is ordered[0])
        ]
        for report in ordered
    }
