"""Tables of what was run: circumstances, data, training, parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from meddef.image_size import sides
from meddef.paper import PROTOCOL
from meddef.records import Record
from meddef.report.display import DASH, Table
from meddef.report.labels import short_label
from meddef.report.reach import reached
from meddef.report.report import Dataset, Report
from meddef.report.wall_time import computing_time

SPLITS = ("train", "val", "test")


def run(report: Report) -> Table:
    """Where the numbers of this page come from."""
    rows = {
        "profile": report.profile,
        "datasets": "\n".join(dataset.label for dataset in report.datasets),
        "data fingerprints": "\n".join(
            str(dataset.record["fingerprint"])[:16] for dataset in report.datasets
        ),
        "image size": _each(d.px for d in report.datasets),
        "seeds": _each(record["seed"] for record in report.of("train")),
        "models trained": str(len(report.of("train"))),
        "attacks run": f"{len(report.of('attack')):,}",
        "test images per attack": _each(sorted({record["n"] for record in report.of("attack")})),
        **circumstances(report.provenance),
    }
    frame = pd.DataFrame({"": list(rows), "value": list(rows.values())})
    return Table(frame, "Provenance of the measured numbers.", left=("value",))


def circumstances(provenance: list[Record]) -> dict[str, str]:
    """Commit, versions, hardware and computing time of all cells together; every value that occurs is named."""
    versions = [", ".join(f"{k} {v}" for k, v in cell["versions"].items()) for cell in provenance]
    hardware = [_hardware(cell["hardware"]) for cell in provenance]
    commits = [
        f"{cell['commit'][:12]}{', with local changes' if cell['dirty'] else ''}" for cell in provenance
    ]
    finished = sorted(cell["finished"] for cell in provenance)
    return {
        "git commit": _each(commits),
        "versions": _each(versions),
        "hardware": _each(hardware),
        "device": _each(cell["device"] for cell in provenance),
        "computing time": computing_time(provenance),
        "computed": " to ".join(dict.fromkeys([finished[0], finished[-1]])) if finished else DASH,
        "cells": str(len(provenance)),
    }


def _hardware(hardware: Record) -> str:
    gpu = f", {hardware['gpu']}" if hardware.get("gpu") else ""
    return f"{hardware['cpu']}, {hardware['cores']} cores{gpu}"


def _each(values: Any) -> str:
    """Every distinct value once, one per line."""
    return "\n".join(dict.fromkeys(str(value) for value in values)) or DASH


def counts(report: Report) -> Table:
    """Images by split and class, here and in the paper."""
    rows = []
    for dataset in report.datasets:
        printed = PROTOCOL["datasets"].get(dataset.twin, {}).get("class_counts", {})
        for split in SPLITS:
            here = dataset.record["counts"][split]
            for name in dataset.classes:
                paper = printed.get(split, {}).get(name)
                rows.append(
                    {
                        "dataset": dataset.label,
                        "split": split,
                        "class": name,
                        "here": f"{here[name]:,}",
                        "the paper": f"{paper:,}" if paper is not None else DASH,
                    }
                )
    caption = "Images by split and class, after removal of duplicates from training; –: not printed."
    return Table(pd.DataFrame(rows), caption, header=3)


def preparation(report: Report) -> Table:
    """How the images were split and prepared, and what was found in them."""
    columns: dict[str, list[str]] = {"": [*_PREPARATION, *_FINDINGS]}
    for dataset in report.datasets:
        values = [read(dataset) for read in _PREPARATION.values()]
        values += [_look_up(dataset.record["report"], path) for path in _FINDINGS.values()]
        columns[dataset.label] = values
    return Table(pd.DataFrame(columns), "Preprocessing and data checks.", left=tuple(columns))


_PREPARATION: dict[str, Callable[[Dataset], str]] = {
    "split policy": lambda d: f"{d.record['split_policy']}, seed {d.record['split_seed']}",
    "size": lambda d: " × ".join(map(str, sides(d.record["image_size"]))) + " px",
    "steps": lambda d: _steps(d.preprocessing.model_dump()),
    "mean, std of training pixels": lambda d: f"{d.record['mean']:.4f}, {d.record['std']:.4f}",
}
_FINDINGS = {
    "groups of exact duplicates": ("duplicates", "exact", "groups"),
    "of these, across splits": ("duplicates", "exact", "groups_across"),
    "groups of near duplicates": ("duplicates", "near", "groups"),
    "removed from training": ("removed_from_training",),
    "patients": ("patients", "patients"),
    "patients in several splits": ("patients", "in_several_splits"),
    "unreadable files": ("skipped",),
}


def _steps(preprocessing: Record) -> str:
    """The steps that are on, with their parameters, one per line."""
    lines = []
    for name, setting in preprocessing.items():
        if isinstance(setting, dict):
            lines.append(f"{name}: " + ", ".join(f"{k} {v}" for k, v in setting.items()))
        elif setting is True:
            lines.append(name)
        elif setting not in (None, False):
            lines.append(f"{name}: {setting}")
    return "\n".join(lines) or DASH


def _look_up(found: Any, path: tuple[str, ...]) -> str:
    """The value at ``path``, counted where it is a list; a dash where the report does not have it."""
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return DASH
        found = found[key]
    return f"{len(found) if isinstance(found, list) else found:,}"


def training_settings(report: Report) -> Table:
    """The paper's training settings beside those of this run."""
    paper = PROTOCOL["training"]
    adversarial = [r for r in report.of("train") if r["training"] == "adversarial"] or report.of("train")
    pgd = paper["pgd"]
    rows = {
        "optimizer": (paper["optimizer"], lambda s: "Adam"),
        "learning rate": (f"{paper['lr']:g}", lambda s: f"{s['learning_rate']:g}"),
        "weight decay": (f"{paper['weight_decay']:g}", lambda s: f"{s['weight_decay']:g}"),
        "dropout": (f"{paper['dropout']:g}, {PROTOCOL['model']['dropout']:g}", lambda s: f"{s['dropout']:g}"),
        "epochs": (str(paper["epochs"]), lambda s: str(s["epochs"])),
        "batch size": (_each(paper["batch_size"].values()), lambda s: str(s["batch_size"])),
        "class weights": (DASH, lambda s: "inverse frequency" if s.get("class_weights") else "none"),
        "augmentation": (f"various, {paper['augmentation']['techniques']}", augmentation),
        "share attacked, training": (
            f"{100 * paper['adversarial_share']['train']:.0f} %",
            _share("train_share"),
        ),
        "share attacked, validation": (
            f"{100 * paper['adversarial_share']['val']:.0f} %",
            _share("validation_share"),
        ),
        "PGD steps": (str(pgd["steps"]), _adversarial("steps")),
        "PGD step": (pgd["step_size"], _step),
    }
    trained = [{**record["settings"], "history": record["history"]} for record in adversarial]
    frame = pd.DataFrame(
        {
            "": list(rows),
            "the paper": [printed for printed, _ in rows.values()],
            "here": [_each(map(read, trained)) for _, read in rows.values()],
        }
    )
    return Table(frame, "Settings of adversarial training.")


def _step(settings: Record) -> str:
    """Whether the last epoch's step is the printed min(ε/6, .003), else what all steps add up to."""
    if not settings["adversarial"]:
        return DASH
    last, steps = settings["history"][-1], settings["adversarial"]["steps"]
    if abs(last["step_size"] - min(last["epsilon"] / 6, 0.003)) < 1e-9:
        return "as printed"
    return f"{steps * last['step_size'] / last['epsilon']:.3g} ε / {steps}"


def augmentation(settings: Record) -> str:
    """The techniques, or "none"; records of earlier versions have a flag for the one that there was."""
    names = settings.get("augmentation", ["horizontal_flip"] if settings.get("horizontal_flip") else [])
    return ", ".join(name.replace("_", " ") for name in names) or "none"


def _adversarial(name: str) -> Any:
    return lambda settings: str(settings["adversarial"][name]) if settings["adversarial"] else DASH


def _share(name: str) -> Any:
    return lambda settings: (
        f"{settings['adversarial'][name] * 100:.0f} %" if settings["adversarial"] else DASH
    )


def training(report: Report) -> Table:
    """How the training of each model ended."""
    rows = []
    for dataset in report.datasets:
        for record in report.of("train", dataset.name):
            best = record["history"][record["best_epoch"]]
            rows.append(
                {
                    "dataset": dataset.label,
                    "model": short_label(record["variant"], record["training"]),
                    "training": record["training"],
                    "seed": str(record["seed"]),
                    "epochs": str(record["epochs"]),
                    "best epoch": str(record["best_epoch"] + 1),
                    "validation, clean (%)": _percent(best["val_clean"]),
                    "validation, PGD (%)": _percent(best["val_adversarial"]),
                    "ε eased to": f"{100 * min(row['ease'] for row in record['history']):.0f} %",
                }
            )
    caption = "Each model keeps the weights of its best epoch; 100 %: ε was never eased."
    return Table(pd.DataFrame(rows), f"{caption} {short_reach(report)}".rstrip(), header=2)


def short_reach(report: Report) -> str:
    """A sentence if the training's PGD cannot reach the edge of its own ball; else empty."""
    for record in report.of("train"):
        last, rule = record["history"][-1], record["settings"]["adversarial"]
        if rule and reached(record) < 1:
            reach = rule["steps"] * last["step_size"]
            return (
                f"PGD of {rule['steps']} steps of {last['step_size']:g} in training moves a pixel by at most "
                f"{reach:g} from its random start, but the ball of ε = {last['epsilon']:g} is {2 * last['epsilon']:g} "
                "wide: these models were trained against less than ε, and accuracy under that attack overstates "
                "robustness."
            )
    return ""


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f}"
