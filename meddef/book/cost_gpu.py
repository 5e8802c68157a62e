"""The GPU part of the book's page on cost: ``tests/bench/bench_gpu.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from meddef.book.cost import origin
from meddef.report.display import Table
from meddef.report.labels import model_label

PLACE, ROUNDED = (Path("results") / "bench" / name for name in ("gpu.json", "tf32.json"))
NOTHING = "Speeds on a GPU were not measured: run `python -m tests.bench.bench_gpu`."
COLUMNS = {
    "workload": "workload",
    "n": "at once",
    "floor": "bare passes",
    "float32": "float32",
    "TF32": "default",
    "bf16": "bf16",
    "fast": "fast",
    "fast bf16": "fast, bf16",
    "peer": "peer",
}
PEERS = {"torchattacks": "peer", "torch": "peer"}
NAMES = {"resnet18": "ResNet18", "full": "MedDef (full)"}


def gpu_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``; a note if nothing was measured."""
    parts = measured(root / PLACE) if (root / PLACE).is_file() else [NOTHING]
    if (root / ROUNDED).is_file():
        parts.append(rounded(json.loads((root / ROUNDED).read_text(encoding="utf-8")))._repr_html_())
    return {"cost_gpu.md": "\n\n".join(parts) + "\n"}


def measured(path: Path) -> list[str]:
    """The tables of one GPU, with notes and provenance."""
    bench = json.loads(path.read_text(encoding="utf-8"))
    rows = pd.DataFrame(bench["rows"])
    tables = [part(rows) for part in (workloads, speeds, others, verdicts, compiled)]
    shown = [table._repr_html_() for table in [*tables, origin(bench)] if not table.frame.empty]
    return [*bench.get("notes", []), *shown]


def rounded(bench: dict[str, Any]) -> Table:
    """Predictions in TF32, emulated on a CPU: ``tests/bench/tf32.py``."""
    rows = pd.DataFrame(bench["rows"])
    frame = pd.DataFrame(
        {
            "model": [model_label(v, t) for v, t in zip(rows["variant"], rows["training"], strict=True)],
            "ε": [f"{eps:.2g}" for eps in rows["eps"]],
            "images": rows["n"].astype(str),
            "correct in float32": rows["right"].astype(str),
            "correct in TF32": rows["right_tf32"].astype(str),
            "judged otherwise": rows["otherwise"].astype(str),
        }
    )
    caption = (
        f"Does TF32 change predictions? Models of profile {bench['provenance']['profile']} on images after PGD (made "
        "in "
        f"float32), evaluated in float32 and with the operands of convolutions rounded as in TF32, emulated on a CPU: "
        f"{rows['otherwise'].sum()} of {rows['n'].sum():,} predictions differ."
    )
    return Table(frame, caption, header=2)


def workloads(rows: pd.DataFrame) -> Table:
    """The CPU's table in absolute numbers, one column per arithmetic."""
    found = rows[rows["what"] == "table"]
    if found.empty:
        return Table(found, "")
    found = found.assign(mode=found["mode"].replace(PEERS), n=found["n"].astype(int))
    wide = found.pivot_table(index=["workload", "n"], columns="mode", values="value", sort=False)
    shown = wide.map(
        lambda value: "–" if pd.isna(value) else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    )
    frame = shown.reset_index()[[name for name in COLUMNS if name in ("workload", "n", *wide)]]
    caption = (
        "The workloads of the CPU's table in images per second (pruning: models per second), ResNet18, 224 px and two "
        "classes unless stated otherwise; default: float32 with TF32 convolutions, PyTorch's default; bare passes: in "
        "TF32, one image forward and backward per step and nothing else; peer: torchattacks in TF32, and for pruning "
        "torch's own on deep copies."
    )
    return Table(frame.rename(columns=COLUMNS), caption)


def speeds(rows: pd.DataFrame) -> Table:
    """Image-steps per second of PGD, one column per arithmetic."""
    found = rows[rows["what"] == "PGD"]
    found = found.assign(batch=found["batch"].astype(int))
    wide = found.pivot_table(index=["model", "batch"], columns="mode", values="value", sort=False)
    frame = wide.map(lambda value: f"{value:,.0f}").reset_index()
    frame["model"] = frame["model"].map(NAMES)
    caption = (
        "PGD at 224 px, image-steps per second (an image forward and backward, and the step); floor: the bare passes "
        "with PyTorch's default arithmetic (TF32: operands of convolutions rounded to 10 bits of mantissa)."
    )
    return Table(frame, caption, header=2)


def others(rows: pd.DataFrame) -> Table:
    """Training and JSMA."""
    found = rows[rows["what"].isin(["training", "JSMA"])]
    frame = pd.DataFrame(
        {
            "work": found["what"],
            "model": found["model"].map(NAMES),
            "batch size": found["batch"].astype(int),
            "arithmetic": found["mode"],
            "speed": [f"{row.value:,.0f} {row.unit}" for row in found.itertuples()],
        }
    )
    return Table(
        frame, "Training steps on clean images, and moves of JSMA (pairs of features), at 224 px.", 2
    )


def verdicts(rows: pd.DataFrame) -> Table:
    """Number of images that resist in each arithmetic, and of disagreements with TF32."""
    found = rows[rows["what"] == "verdicts"]
    if found.empty:
        return Table(found, "")
    wide = found.pivot_table(index="eps", columns="mode", values="robust", sort=False).astype(int)
    frame = wide.astype(str)
    frame["differently classified in TF32"] = (
        found.groupby("eps")["other_in_tf32"].sum().astype(int).astype(str)
    )
    frame = frame.reset_index().rename(columns={"eps": "ε"})
    caption = (
        f"Does cheaper arithmetic change results? Images of {int(found['n'].iloc[0])} that an adversarially trained "
        "ResNet18 (64 px) classifies correctly after PGD-40 with gradients in each arithmetic, evaluated in full "
        f"float32; the last column counts the images of all {len(wide.columns)} attacks that TF32 would classify "
        "differently."
    )
    return Table(frame, caption)


def compiled(rows: pd.DataFrame) -> Table:
    """The floor with and without torch.compile."""
    found = rows[rows["what"] == "compile"]
    if found.empty:
        return Table(found, "")
    frame = pd.DataFrame(
        {
            "model": found["model"].map(NAMES),
            "batch size": found["batch"].astype(int),
            "passes": found["mode"],
            "image-steps/s": found["value"].map("{:,.0f}".format),
            "first pass": found["first"].map("{:.0f} s".format),
        }
    )
    return Table(
        frame, "Does `torch.compile` pay off? Bare passes at 224 px, and the cost of compilation.", 2
    )
