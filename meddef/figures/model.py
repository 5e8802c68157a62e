"""Charts of the models: the graph of the full one (the paper's Fig. 2) and parameters per block. Needs torch.

Independent of records: the graph comes from a forward pass, the counts from the modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.text import Text
from torch import Tensor, nn

from meddef.catalogue import usual_training
from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.image_size import Size, px, sides
from meddef.models import build_model
from meddef.report.architecture import BLOCKS, count, parameter_blocks
from meddef.report.labels import short_label
from meddef.report.report import Report

STAGES = {"stem": ("backbone.maxpool", ("backbone.conv1", "backbone.bn1"))} | {
    f"stage {number}": (f"backbone.layer{number}", (f"backbone.layer{number}",)) for number in (1, 2, 3, 4)
}
# block -> its output module, and the modules of its parameters
NODES = STAGES | {name: (path, (path,)) for name, path in BLOCKS.items() if name != "backbone"}
INPUT, JOINED = "image", "D(x)"
MIDDLE, ASIDE = 2.5, {"fusion Φ": 1.8, "self-attention": 1.8}  # x of lone boxes; aside lets an arrow pass


@dataclass
class Block:
    """A box of the graph: shape of its output without the batch, trainable parameters, and the blocks it reads."""

    shape: str
    parameters: int
    reads: list[str] = field(default_factory=list)


def module_graph(image_size: Size, num_classes: int) -> dict[str, Block]:
    """The full model's blocks in the order of computation; connections come from the autograd graph."""
    model = build_model("full", num_classes).eval()
    modules = dict(model.network.named_modules())
    image = torch.zeros(1, 3, *sides(image_size), requires_grad=True)
    found = {INPUT: Block(_shape(image), 0)}
    origin: dict[Any, str] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read = sorted(set(_behind(inputs[0], origin)), key=list(found).index) or [INPUT]
            found[name] = Block("", sum(count(modules[path]) for path in NODES[name][1]), read)

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            found[name].shape = _shape(output)
            origin[output.grad_fn] = name

        return hook

    def joined(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        found[JOINED] = Block(_shape(output), 0, sorted(_behind(output, origin), key=list(found).index))
        origin[output.grad_fn] = JOINED

    modules["defense"].register_forward_hook(joined)
    for name, (path, owned) in NODES.items():
        modules[owned[0]].register_forward_pre_hook(before(name))
        modules[path].register_forward_hook(after(name))
    model(image)
    return found


def _behind(tensor: Tensor, origin: Mapping[Any, str]) -> Iterator[str]:
    """The blocks whose outputs ``tensor`` was computed from, without looking past them."""
    seen, queue = set(), [tensor.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in origin:
            yield origin[node]
        else:
            queue += [parent for parent, _ in node.next_functions]


def _shape(tensor: Tensor) -> str:
    return " × ".join(str(side) for side in tensor.shape[1:])


@styled
def framework(report: Report) -> SvgFigure:
    """The full model: one box per block, with the shape of its output and its parameters."""
    record = report.datasets[0].record
    graph = module_graph(record["image_size"], len(record["classes"]))
    figure = style.new_figure(8.0, 6.4)
    panel = figure.subplots()
    panel.set_axis_off()
    places = _places(graph)
    boxes = {name: _box(panel, *places[name], name, block) for name, block in graph.items()}
    for name, block in graph.items():
        for source in block.reads:
            _arrow(panel, boxes[source], boxes[name])
    panel.set_xlim(-0.1, 5.1)
    panel.set_ylim(min(y for _, y in places.values()) - 0.4, 0.4)
    total = sum(block.parameters for block in graph.values())
    size, classes = record["image_size"], len(record["classes"])
    panel.set_title(f"Full model for one image of {px(size)} and K = {classes}: {total:,} parameters")
    shown = [
        {"block": name, "output": b.shape, "parameters": b.parameters, "reads": " ".join(b.reads)}
        for name, b in graph.items()
    ]
    return figure.showing(report, pd.DataFrame(shown), [])


def _places(graph: Mapping[str, Block]) -> dict[str, tuple[float, float]]:
    """Image and backbone in the first row, its last stage below; then one row per further step."""
    first = [name for name in (INPUT, *STAGES) if name != "stage 4"]
    depth = dict.fromkeys(first, 0)
    for name, block in graph.items():
        if name not in depth:
            depth[name] = 1 + max(depth[source] for source in block.reads)
    places: dict[str, tuple[float, float]] = {}
    for row in range(max(depth.values()) + 1):
        members = [name for name in graph if depth[name] == row]
        ends = (0.35, 4.65) if len(members) > 1 else (MIDDLE, MIDDLE)
        places |= {
            name: (ASIDE.get(name, float(x)), -float(row))
            for name, x in zip(members, np.linspace(*ends, len(members)), strict=True)
        }
    return places


def _box(panel: Axes, x: float, y: float, name: str, block: Block) -> Text:
    lines = [name, block.shape, f"{block.parameters:,}" if block.parameters else ""]
    look = {"boxstyle": "round,pad=0.35", "facecolor": "#eef4fa", "edgecolor": "#0072B2"}
    text = "\n".join(line for line in lines if line)
    return panel.text(x, y, text, ha="center", va="center", fontsize=7.5, bbox=look)


def _arrow(panel: Axes, source: Text, target: Text) -> None:
    """From the edge of one box to that of another; dashed where it passes others."""
    start, end = source.get_position(), target.get_position()
    look = {
        "arrowstyle": "-|>", "color": "#555555", "linestyle": "--" if abs(start[1] - end[1]) > 1 else "-",
        "patchA": source.get_bbox_patch(), "patchB": target.get_bbox_patch(), "shrinkA": 0, "shrinkB": 0,
    }  # fmt: skip
    panel.annotate(
        "", xy=end, xytext=start, arrowprops=look, zorder=4
    )  # after the boxes, whose edges it needs


SHADES = (
    "#333333", "#E69F00", "#F0E442", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999",
)  # fmt: skip


@styled
def parameters(report: Report) -> SvgFigure:
    """Parameters per block of each model, in millions, stacked, with a mark at the paper's total; for K = 4 classes."""
    table = parameter_blocks(4)
    figure = style.new_figure(7.4, 3.0)
    panel = figure.subplots()
    blocks = [name for name in table.columns if name != "published"]
    left = np.zeros(len(table))
    names = [short_label(str(v), usual_training(str(v))) for v in table.index]
    for block, shade in zip(blocks, SHADES, strict=True):
        values = table[block].to_numpy() / 1e6
        panel.barh(names, values, left=left, color=shade, edgecolor="white", linewidth=0.5, label=block)
        left += values
    published = table["published"].astype(float)
    panel.plot(
        published, names, "|", color="black", markersize=18, markeredgewidth=1.6, label="published total"
    )
    panel.invert_yaxis()
    panel.set_xlabel("parameters (millions), K = 4 classes")
    panel.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    numbers = table.rename_axis("variant").reset_index()
    return figure.showing(report, numbers.rename(columns={"published": "published (M)"}), [])
