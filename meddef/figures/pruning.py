"""Effect of pruning on the weights (the paper's Fig. 4) and its savings, from ``results/bench``."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.records import Record
from meddef.report.labels import short_label
from meddef.report.report import Report

NOT_MEASURED = "No measurement is stored with these records: run python -m tests.bench.compression."
COMMAND = "python -m tests.bench.compression --weights full.safetensors"
MEGA = 1e6


@styled
def weights(report: Report) -> SvgFigure:
    """Histogram of the full model's weights with the cut at each rate, and the zeros that each leaves in a layer."""
    bench = report.bench("compression")
    if bench is None:
        return style.message(NOT_MEASURED)
    (shape,) = (row for row in bench.records if "histogram" in row)
    rows = [row for row in bench.records if row.get("prune_rate")]
    figure = style.new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    low, high = shape["log10_edges"]
    edges = np.linspace(low, high, len(shape["histogram"]) + 1)
    left.stairs(np.array(shape["histogram"]) / MEGA, edges, fill=True, color="#56B4E9")
    for row, colour in zip(rows, _shades(len(rows)), strict=True):
        left.axvline(np.log10(row["cut"]), color=colour, linewidth=1.2)
    left.set_xlabel("log10 of a weight's magnitude")
    left.set_ylabel("weights (millions)")
    total = sum(shape["histogram"])
    name = short_label(shape["variant"], shape["training"])
    left.set_title(f"{name}, n = {total:,} weights\nlines: cut at each rate")
    layers = list(rows[0]["layers"])
    for row, colour in zip(rows, _shades(len(rows)), strict=True):
        label = f"{100 * row['prune_rate']:.0f} %"
        right.plot(
            range(len(layers)), [100 * row["layers"][layer] for layer in layers], color=colour, label=label
        )
    right.set_xlabel(f"convolution or linear layer, in order (n = {len(layers)})")
    right.set_ylabel("zeros in the layer (%)")
    right.set_ylim(0, 103)
    right.set_title("sparsity per layer after global pruning")
    figure.legend(
        loc="outside lower center", ncols=len(rows), frameon=False, title="pruning rate",
        columnspacing=1.0, handlelength=1.2,
    )  # fmt: skip
    return figure.showing(bench, _weights_drawn(shape, rows, edges), bench.records, command=COMMAND)


def _shades(count: int) -> list[tuple[float, ...]]:
    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.85, count))]


def _weights_drawn(shape: Record, rows: list[Record], edges: np.ndarray) -> pd.DataFrame:
    """The drawn data in long form: histogram bins, cuts, and zeros per layer in percent."""
    bins = [
        {"what": "weights", "from": low, "to": high, "value": count}
        for low, high, count in zip(edges, edges[1:], shape["histogram"], strict=False)
    ]
    cuts = [{"what": "cut", "rate": row["prune_rate"], "value": row["cut"]} for row in rows]
    zeros = [
        {"what": "zeros (%)", "rate": row["prune_rate"], "layer": layer, "value": 100 * share}
        for row in rows
        for layer, share in row["layers"].items()
    ]
    return pd.DataFrame([*bins, *cuts, *zeros])


@styled
def benefits(report: Report) -> SvgFigure:
    """Non-zero weights, bytes on disk and time per image by pruning rate; time with dense and with sparse kernels."""
    bench = report.bench("compression")
    if bench is None:
        return style.message(NOT_MEASURED)
    rows = [row for row in bench.records if "prune_rate" in row]
    columns = ("prune_rate", "nonzero", "dense_bytes", "sparse_bytes", "dense_ms", "sparse_ms")
    frame = pd.DataFrame(rows)[list(columns)]
    figure, axes = style.grid(1, 3, width=2.75, height=2.5)
    counts, disk, time = axes[0]
    _line(counts, frame, frame["nonzero"] / MEGA, "dense", "non-zero weights")
    counts.set_ylabel("non-zero weights (millions)")
    for name, label in (("dense", "plain file"), ("sparse", "packed file")):
        _line(disk, frame, frame[f"{name}_bytes"] / MEGA, name, label)
    disk.set_ylabel("size on disk (MB)")
    for name, label in (("dense", "dense kernels"), ("sparse", "sparse kernels")):
        _line(time, frame, frame[f"{name}_ms"], name, label)
    time.set_ylabel("time per image (ms)")
    for panel in axes[0]:
        panel.set_xlabel("pruning rate (%)")
        panel.set_ylim(0, None)
        panel.legend(frameon=False, loc="best")
    threads = bench.provenance[0]["threads"]
    figure.suptitle(
        f"{short_label(rows[0]['variant'], rows[0]['training'])}, {rows[0]['parameters']:,} parameters, "
        f"64 px, {threads} thread{'s' * (threads > 1)}",
        fontsize=9,
    )
    return figure.showing(bench, frame, bench.records, command=COMMAND)


def _line(panel: Axes, frame: pd.DataFrame, values: pd.Series, kind: str, label: str) -> None:
    looks = {"dense": ("#333333", "o", "-"), "sparse": ("#0072B2", "s", "--")}
    colour, mark, dashes = looks[kind]
    panel.plot(100 * frame["prune_rate"], values, color=colour, marker=mark, linestyle=dashes, label=label)
