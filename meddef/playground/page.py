"""The playground's part of the book: its files in ``book/_extra/playground/`` and its table."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.atomic import write_text
from meddef.data.phantom import FAMILIES
from meddef.playground import runtime
from meddef.playground.images import FAMILY, SIZE, SPLITS, shown
from meddef.report.display import Table, percent
from meddef.statistics import AttackCounts, Proportion

SOURCE = Path("book") / "playground"
TARGET = Path("book") / "_extra" / "playground"
MODULES = ("numbers", "pairs", "attacks", "engine", "pictures", "sketch", "results", "reach", "app")
"""The page's scripts, each after those that it imports."""
NAMES = {"undefended": "trained on clean images", "defended": "trained also on attacked images"}
TITLES = {"noise": "noise", "fgsm": "FGSM", "pgd": "PGD"}
VERBS = ("train on", "choose the best epoch", "test on")


def playground_pages(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: accuracy and provenance of the two models."""
    records = {
        name: json.loads((root / SOURCE / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES
    }
    return {"playground_models.md": f"{_table(records)._repr_html_()}\n\n{_origin(records)}\n"}


def publish_playground(root: Path) -> None:
    """Write the files that the page loads. Without the npm registry the runtime is omitted, with a message."""
    target = root / TARGET
    _write_if_new(target / "playground.js", bundle(root / SOURCE))
    _write_if_new(target / "data.js", f"globalThis.MEDDEF_PLAYGROUND = {json.dumps(_data(root / SOURCE))};\n")
    shutil.copyfile(root / SOURCE / "playground.css", target / "playground.css")
    try:
        runtime.provide(target / "onnxruntime.js")
    except runtime.NoRuntime as error:
        print(f"book: the playground cannot run its models, since {error}; the rest of the book is whole")


def bundle(folder: Path) -> str:
    """The ES modules of ``folder`` as one classic script: browsers load no modules into a page opened as a file.

    Top-level names of the modules must be distinct; the browser refuses duplicates.
    """
    parts = []
    for name in MODULES:
        text = (folder / f"{name}.js").read_text(encoding="utf-8")
        text = re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE)
        parts.append(f"// {name}.js\n{re.sub(r'^export ', '', text, flags=re.MULTILINE)}")
    return '(() => {\n"use strict";\n\n' + "\n".join(parts) + "})();\n"


def _data(folder: Path) -> dict[str, Any]:
    """The data of the page: classes, the available phantoms as bytes, the two graphs."""
    images, labels = shown()
    return {
        "classes": FAMILIES[FAMILY],
        "size": SIZE,
        "pictures": [
            {"label": int(label), "pixels": _base64(image.tobytes())}
            for image, label in zip(images, labels, strict=True)
        ],
        "models": {name: {"onnx": _base64((folder / f"{name}.onnx").read_bytes())} for name in NAMES},
    }


def _table(records: dict[str, Any]) -> Table:
    rows = []
    for name, meaning in NAMES.items():
        measured = records[name]["measured"]
        for eps in dict.fromkeys(row["eps"] for row in measured):
            here = {row["attack"]: _counts(row) for row in measured if row["eps"] == eps}
            cells = {TITLES[attack]: _cell(counts.robust_accuracy) for attack, counts in here.items()}
            clean = _cell(next(iter(here.values())).clean_accuracy)
            rows.append({"model": f"{name}, {meaning}", "ε": f"{eps:g}", "no attack": clean, **cells})
    n = records["defended"]["measured"][0]["n"]
    caption = f"Accuracy in percent on {n} phantoms of held-out patients, with 95 % Wilson intervals."
    return Table(pd.DataFrame(rows), caption, header=2)


def _counts(row: dict[str, Any]) -> AttackCounts:
    return AttackCounts(row["n"], row["correct_before"], row["correct_after"], row["flipped"])


def _cell(rate: Proportion) -> str:
    low, high = rate.interval
    return percent({"rate": 100 * rate.value, "rate_low": 100 * low, "rate_high": 100 * high}, "rate")


def _origin(records: dict[str, Any]) -> str:
    """How the models were made, in sentences."""
    lines = []
    for name in NAMES:
        record = records[name]
        made, settings = record["provenance"], record["settings"]
        adversarial = settings["adversarial"]
        how = (
            f"with the paper's ε-schedule, PGD of {adversarial['steps']} steps on {adversarial['train_share']:.0%} of "
            "the images"
            if adversarial
            else "on clean images"
        )
        lines.append(
            f"- **{name}**: {record['parameters']:,} weights in half precision; {settings['epochs']} epochs {how}; "
            f"{made['finished'][:10]}, commit `{made['commit'][:10]}`, PyTorch {made['versions']['torch']}."
        )
    images = ", ".join(f"{count:,} to {verb}" for verb, count in zip(VERBS, SPLITS.values(), strict=True))
    return (
        f"Phantoms: {images}; no patient is in two of these. PGD takes {records['defended']['steps']} steps of "
        "ε/5 from a random point. `python -m meddef.playground` rebuilds the models.\n\n" + "\n".join(lines)
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
