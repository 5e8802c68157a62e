"""Records made by hand for the tests of the report: few images, numbers that can be counted by hand.

For verdicts on claims, ``runs("full", "pgd", [150, 152, 148])`` are three trainings of the full model that have 150,
152 and 148 of 200 images right under PGD at ε = 0.05; after ``data_record("chest_xray")`` they make a ``Report``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLASSES = {
    "phantom_oct": ["CNV", "DME", "DRUSEN", "NORMAL"],
    "phantom_xray": ["NORMAL", "PNEUMONIA"],
    "chest_xray": ["NORMAL", "PNEUMONIA"],
}
STANDS_FOR = {"phantom_oct": "roct", "phantom_xray": "chest_xray", "chest_xray": None}
TITLES = {"phantom_oct": "OCT phantoms", "phantom_xray": "X-ray phantoms", "chest_xray": "Chest X-Ray Images"}
NEEDS_TORCH = {
    "meddef.report.architecture",
    "meddef.figures.model",
}  # they look at a model; all else reads records
PAPER_SIZES = {"train": 4099, "val": 878, "test": 879}


def head(dataset: str, kind: str) -> dict[str, Any]:
    return {"kind": kind, "dataset": dataset, "title": TITLES[dataset], "stands_for": STANDS_FOR[dataset]}


def data_record(dataset: str, sizes: dict[str, int] | None = None) -> dict[str, Any]:
    sizes = sizes or {"train": 16, "val": 8, "test": 8}
    classes = CLASSES[dataset]
    return {
        **head(dataset, "data"),
        "classes": classes,
        "split_policy": "paper",
        "split_seed": 0,
        "image_size": 32,
        "preprocessing": {"resize": "area", "pad": True, "min_max": True},
        "sizes": sizes if dataset.startswith("phantom") else None,
        "counts": {split: {name: n // len(classes) for name in classes} for split, n in sizes.items()},
        "mean": 0.4,
        "std": 0.2,
        "fingerprint": f"data-{dataset}",
        "report": {"removed_from_training": ["a", "b"], "patients": {"patients": 5, "in_several_splits": 0}},
    }


def train_record(dataset: str, variant: str, training: str, seed: int = 0) -> dict[str, Any]:
    attacked = training == "adversarial"
    rows = [
        {
            "epoch": epoch,
            "phase": "warm-up" if attacked else None,
            "epsilon": 0.01 + 0.01 * epoch if attacked else None,
            "step_size": 0.002 if attacked else None,
            "adversarial_weight": 0.2 if attacked else None,
            "ease": 1.0,
            "loss_clean": 1.0,
            "loss_adversarial": 1.5 if attacked else None,
            "train_accuracy": 0.5,
            "val_clean": 0.5 + 0.25 * epoch,
            "val_adversarial": 0.25 if attacked else None,
            "score": 0.5,
        }
        for epoch in range(2)
    ]
    adversarial = {"train_share": 0.35, "validation_share": 0.7, "steps": 3, "patience": 2, "tolerance": 0.02}
    settings = {
        "epochs": 2, "batch_size": 8, "learning_rate": 0.0003, "weight_decay": 0.0001, "dropout": 0.3,
        "adversarial": adversarial | {"ease_factor": 0.8} if attacked else None,
    }  # fmt: skip
    return {
        **head(dataset, "train"),
        "variant": variant, "training": training, "seed": seed, "epochs": 2, "settings": settings,
        "parameters": 1000, "best_epoch": 1, "history": rows, "data_fingerprint": f"data-{dataset}",
    }  # fmt: skip


def attack_record(
    dataset: str,
    variant: str,
    attack: str,
    labels: str,
    before: str,
    after: str,
    *,
    eps: float | None = 0.05,
    grid: str = "epsilon",
    rate: float = 0.0,
    training: str = "adversarial",
    seed: int = 0,
) -> dict[str, Any]:
    """Counts follow from the three strings, one character per image."""
    triples = list(zip(labels, before, after, strict=True))
    return {
        **head(dataset, "attack"),
        "grid": grid, "variant": variant, "training": training, "seed": seed, "prune_rate": rate,
        "prune_scope": "global", "sparsity": rate, "attack": attack, "eps": eps, "settings": {}, "n": len(labels),
        "correct_before": sum(t == b for t, b, _ in triples),
        "correct_after": sum(t == a for t, _, a in triples),
        "flipped": sum(t == b != a for t, b, a in triples),
        "classes": CLASSES[dataset], "labels": labels, "before": before, "after": after,
        "linf": 0.05, "l0": 10, "data_fingerprint": f"data-{dataset}",
    }  # fmt: skip


def chosen_labels(n: int) -> str:
    """Two classes in turn, 0 1 1 0 1 1 ...: two thirds are of class 1."""
    return "".join("1" if i % 3 else "0" for i in range(n))


def answers(labels: str, right: int) -> str:
    """Correct predictions for the first ``right`` images, wrong ones for the others."""
    return "".join(a if i < right else str(1 - int(a)) for i, a in enumerate(labels))


def runs(
    variant: str,
    attack: str,
    after: Sequence[int],
    *,
    n: int = 200,
    before: int | None = None,
    training: str | None = None,
    dataset: str = "chest_xray",
    eps: float | None = 0.05,
    grid: str = "epsilon",
    rate: float = 0.0,
    settings: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """One attack record per seed: ``after`` of ``n`` images correct after the attack, for seeds 0, 1, ...

    ``before`` of them are right without it: all, or, where ``attack`` is "clean", as many as after. Models are trained
    as in the paper unless ``training`` says otherwise. ``eps`` is None for JSMA and 0 for clean images.
    """
    labels = chosen_labels(n)
    usual = "clean" if variant == "resnet18" else "adversarial"
    eps = {"clean": 0.0, "jsma": None}.get(attack, eps)
    if settings is None:
        settings = {"steps": 40, "step_size": 0.01} if attack in ("pgd", "bim") else {}
    records = []
    for seed, right in enumerate(after):
        known = right if attack == "clean" else n if before is None else before
        said = (answers(labels, known), answers(labels, right))
        record = attack_record(
            dataset,
            variant,
            attack,
            labels,
            *said,
            eps=eps,
            grid=grid,
            rate=rate,
            training=training or usual,
            seed=seed,
        )
        records.append(record | {"settings": settings})
    return records


def saliency_record(dataset: str, variant: str, training: str) -> dict[str, Any]:
    """Two images, of which the attack changes the second; a lesion is known, and maps are kept, on phantoms alone."""
    drawn = dataset.startswith("phantom")
    images = [
        {
            "index": index, "label": 1, "prediction": 1,
            "energy_in_lesion": 0.3 if drawn else None, "lesion_share": 0.1 if drawn else None,
            "pointing_hit": index % 2 == 0 if drawn else None, "border_share": 0.2,
            "deletion": 0.4 + 0.1 * index, "insertion": 0.7, "random": 0.6,
            "probability": 0.9, "probability_blurred": 0.5,
            "attacked_prediction": 1 - index, "correlation": 0.8 - index, "overlap": 0.5, "other_correlation": 0.1,
            "other_overlap": 0.25, **({"map": [[0.0, 1.0], [0.5, 0.25]]} if drawn else {}),
        }
        for index in range(2)
    ]  # fmt: skip
    pgd = {"eps": 0.05, "step_size": 0.01, "steps": 40}
    heat = [[0.25 + 0.5 * (i == j) for j in range(16)] for i in range(16)]
    return {
        **head(dataset, "saliency"),
        "variant": variant, "training": training, "seed": 0, "n": 2, "images": images,
        "settings": {"images": 2, "layer": "layer3", "removal_steps": 10, "pgd": pgd},
        "class_maps": [{"label": label, "n": 5, "map": heat} for label in range(2)],
    }  # fmt: skip


def small_run(
    dataset: str, variants: tuple[str, ...] = ("resnet18", "no_afd", "full")
) -> list[dict[str, Any]]:
    """A whole profile on one dataset: 8 test images, two epsilons, two pruning rates."""
    labels, wrong = "01010101", "10101010"
    records = [data_record(dataset)]
    for variant in variants:
        training = "clean" if variant == "resnet18" else "adversarial"
        common = {"training": training}
        records.append(train_record(dataset, variant, training))
        before = labels[:7] + wrong[7:]

        def attacked(
            attack: str, kept: int, common: dict[str, str] = common, variant: str = variant, **more: Any
        ) -> None:
            after = labels[:kept] + wrong[kept:]
            before = labels[:7] + wrong[7:]
            records.append(
                attack_record(dataset, variant, attack, labels, before, after, **common, **more)  # type: ignore[arg-type]
            )

        records.append(
            attack_record(dataset, variant, "clean", labels, before, before, eps=0.0, grid="test", **common)
        )  # type: ignore[arg-type]
        attacked("clean", 7, eps=0.0)
        for eps, kept in ((0.05, 3), (0.1, 1)):
            for attack in ("fgsm", "pgd", "bim"):
                attacked(attack, kept, eps=eps)
        attacked("jsma", 4, eps=None, grid="jsma")
        for rate in (0.0, 0.3):
            attacked("clean", 7, eps=0.0, grid="pruning", rate=rate)
            for attack in ("fgsm", "pgd", "bim"):
                attacked(attack, 2, eps=0.05, grid="pruning", rate=rate)
        records.append(saliency_record(dataset, variant, training))
    return records


def provenance() -> list[dict[str, Any]]:
    return [
        {
            "key": "k0", "commit": "0123456789abcdef", "dirty": False, "device": "cpu", "seconds": 90.0,
            "versions": {"python": "3.11.9", "torch": "2.15.0"},
            "hardware": {"cpu": "Some CPU", "cores": 2, "gpu": None},
            "finished": "2025-11-22T18:00:00+00:00", "command": "meddef reproduce",
        }
    ]  # fmt: skip


def write_run(folder: Path, profile: str, records: list[dict[str, Any]]) -> Path:
    """``<folder>/<profile>/records.jsonl`` and ``provenance.jsonl``; returns ``folder``."""
    for name, rows in (("records", records), ("provenance", provenance())):
        path = folder / profile / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"key": "k0", **row}) + "\n" for row in rows), encoding="utf-8")
    return folder
