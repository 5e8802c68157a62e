"""The constant classifier in a chart: a thin line at the accuracy of always predicting the largest class."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

COLOUR = "#8C510A"
DASHES = (0, (1, 1.2))
NAMES = {
    "robust": "constant",
    "clean": "constant",
    "balanced": "constant_balanced",
}  # rate drawn -> its column


def constant_line(panel: Axes, rows: pd.DataFrame, rate: str = "robust", *, where: str = "") -> None:
    """Draw it for ``rows`` of ``Report.attacks``, in percent: at the share for the most common set of images.

    Clean rows count only where all are clean, since the line is a reference for robust accuracy. Where rows also cover
    other images, a faint band spans their shares, and the label gives the range. ``where``: "left", the label below the
    line; "right", above it; otherwise, in small panels with a legend (``constant_handle``), only its number at the
    right.
    """
    attacked = rows[rows["attack"] != "clean"]
    shares = (attacked if len(attacked) else rows)[NAMES[rate]].dropna()
    if shares.empty:
        return
    low, high, most = shares.min(), shares.max(), shares.mode().iloc[0]
    panel.axhline(most, color=COLOUR, linestyle=DASHES, linewidth=0.9, zorder=1.5, gid="constant classifier")
    if high - low > 0.05:
        panel.axhspan(low, high, color=COLOUR, alpha=0.12, linewidth=0, zorder=1)
    _label(panel, most, f"{share_text(low, high)} %", where)


def constant_share(panel: Axes, share: float) -> None:
    """The line at ``share`` percent, with its number, for a single set of images."""
    panel.axhline(share, color=COLOUR, linestyle=DASHES, linewidth=0.9, zorder=1.5, gid="constant classifier")
    _label(panel, share, f"{share:.0f} %", "")


def _label(panel: Axes, height: float, number: str, where: str) -> None:
    texts = {"left": f"constant classifier ({number})", "right": f"constant\nclassifier\n({number})"}
    x, offset, align = (0.01, -2.0, "left") if where == "left" else (0.995, 1.5, "right")
    panel.annotate(
        texts.get(where, number), (x, height), xycoords=("axes fraction", "data"),
        xytext=(0, offset), textcoords="offset points", ha=align, va="top" if offset < 0 else "bottom",
        fontsize=6.5, color=COLOUR, zorder=4,
    )  # fmt: skip


def share_text(low: float, high: float) -> str:
    """ "68", or "68 to 73"."""
    ends = f"{low:.0f}", f"{high:.0f}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def constant_handle() -> Line2D:
    """For a legend."""
    return Line2D([], [], color=COLOUR, linestyle=DASHES, linewidth=0.9, label="constant classifier")
