"""The five models taken apart: parameters per block, tensor shapes. The only part of the report that needs torch."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from meddef import catalogue
from meddef.catalogue import variants
from meddef.image_size import Size, px, sides
from meddef.models import VARIANTS, Normalized, build_model
from meddef.paper import PROTOCOL
from meddef.report.display import DASH, Table, Text
from meddef.report.report import PAPER_DATASETS

BLOCKS = {
    "backbone": "backbone",
    "AFD": "defense.components.afd",
    "MFE": "defense.components.mfe",
    "MSF": "defense.components.msf",
    "fusion Φ": "defense.fusion",
    "channel attention Ω": "defense.channel_attention",
    "self-attention": "attention",
    "feature fusion": "fusion",
    "head": "head",
}
RESNET_HEAD = "fc"


def parameter_blocks(num_classes: int) -> pd.DataFrame:
    """Parameters of every block (columns) of the paper's variants and further ones (rows), and ``published``, the
    paper's total in millions (NaN where it prints none).

    The ResNet18 baseline is all backbone but for its linear head.
    """
    twin = next(key for key in PAPER_DATASETS if PROTOCOL["parameters_m"][key]["num_classes"] == num_classes)
    rows = {}
    for variant in (*VARIANTS, *variants("own")):
        network = build_model(variant, num_classes).network
        if variant == "resnet18":
            head = count(network.get_submodule(RESNET_HEAD))
            rows[variant] = {"backbone": count(network) - head, "head": head}
        else:
            modules = dict(network.named_modules())
            rows[variant] = {name: count(modules[path]) for name, path in BLOCKS.items() if path in modules}
        rows[variant]["published"] = PROTOCOL["parameters_m"][twin].get(variant)
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=[*BLOCKS, "published"])
    return table.fillna(dict.fromkeys(BLOCKS, 0)).astype(dict.fromkeys(BLOCKS, int))


def count(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def parameters() -> Table:
    """The paper's ten parameter counts beside those of the models built here."""
    rows = []
    for twin, name in PAPER_DATASETS.items():
        table = parameter_blocks(PROTOCOL["parameters_m"][twin]["num_classes"])
        totals = table.drop(columns="published").sum(axis=1)
        for variant, total in totals.items():
            printed = PROTOCOL["parameters_m"][twin].get(variant, DASH)
            rows.append(
                {
                    "dataset": name,
                    "model": catalogue.VARIANTS[str(variant)].label,
                    "the paper (M)": printed,
                    "here (M)": f"{total / 1e6:.2f}",
                    "here": f"{total:,}",
                    "equal": DASH if printed == DASH else "yes" if f"{total / 1e6:.2f}" == printed else "no",
                }
            )
    return Table(pd.DataFrame(rows), "Parameters in millions, to the paper's two decimals.", header=2)


def conclusion() -> Text:
    """How many of the ten published counts are met, in a sentence."""
    table = parameters().frame
    table = table[table["equal"] != DASH]
    met = int((table["equal"] == "yes").sum())
    return Text(f"{met} of {len(table)} published parameter counts are matched to the two printed decimals.")


def shapes(image_size: Size, num_classes: int) -> Table:
    """Input and output of each block of the full model, for one image."""
    model = build_model("full", num_classes).eval()
    seen: dict[str, tuple[str, str]] = {}
    handles = [module.register_forward_hook(_note(seen, name)) for name, module in _blocks(model)]
    with torch.no_grad():
        model(torch.zeros(1, 3, *sides(image_size)))
    for handle in handles:
        handle.remove()
    rows = [{"block": name, "in": shape_in, "out": shape_out} for name, (shape_in, shape_out) in seen.items()]
    caption = (
        f"The full model, block by block in the order of computation, for one image of {px(image_size)}."
    )
    return Table(pd.DataFrame(rows), caption, left=("in", "out"))


def _blocks(model: Normalized) -> list[tuple[str, nn.Module]]:
    return [(name, model.network.get_submodule(path)) for name, path in BLOCKS.items()]


def _note(seen: dict[str, tuple[str, str]], name: str) -> Callable[..., None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name] = _shape(inputs[0]), _shape(output)

    return hook


def _shape(tensor: Tensor) -> str:
    """Without the batch dimension: "512 × 2 × 2"."""
    return " × ".join(str(side) for side in tensor.shape[1:])
