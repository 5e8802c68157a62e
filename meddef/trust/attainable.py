"""The figure on attainability: of each model's printed accuracies, the share that is k/n, beside chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from meddef.catalogue import usual_training
from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.paper import VARIANT_LABELS
from meddef.printed import grim
from meddef.printed.attainability import model_values, test_sizes
from meddef.printed.published import DATASETS, EPSILON_TABLE, Published
from meddef.report.display import place
from meddef.report.labels import short_label
from meddef.report.report import PAPER_DATASETS

GREYS = ("#333333", "#8a8a8a", "#c8c8c8", "#0072B2", "#D55E00")
COLUMNS = ["dataset", "variant", "n", "size", "attainable", "distinct values", "share (%)", "by chance (%)"]
ALT = (
    "Bars: of each model's distinct accuracies in Tables 1 and 2, the share that is a whole number of n images, for "
    "each candidate n; the line across each bar is the share expected by chance. The findings “group” contain the "
    "same numbers."
)


@styled
def attainable(published: Published) -> SvgFigure:
    """One panel per dataset, one group of bars per model, one bar per test-set size."""
    figure = style.new_figure(7.4, 5.4)
    panels = figure.subplots(len(DATASETS), 1)
    drawn = []
    for panel, dataset in zip(panels, DATASETS, strict=True):
        sizes = test_sizes(published, dataset)
        values = {variant: model_values(published, dataset, (variant,)) for variant in VARIANT_LABELS}
        width = 0.8 / len(sizes)
        handles: list[Patch | Line2D] = []
        for i, ((n, origin), colour) in enumerate(zip(sizes.items(), GREYS, strict=False)):
            hits = [sum(bool(grim.hits(v, n)) for v in own) for own in values.values()]
            shares = [100 * h / len(own) for h, own in zip(hits, values.values(), strict=True)]
            x = np.arange(len(values)) + (i - (len(sizes) - 1) / 2) * width
            panel.bar(x, shares, width * 0.92, color=colour)
            chance = 100 * grim.share(n)
            panel.hlines([chance] * len(x), x - width / 2, x + width / 2, color=style.OTHER)
            for at, share, hit, (variant, own) in zip(x, shares, hits, values.items(), strict=True):
                panel.text(at, share + 1, f"{hit}/{len(own)}", ha="center", va="bottom", fontsize=6.5)
                drawn.append((dataset, variant, n, origin, hit, len(own), share, chance))
            handles.append(Patch(color=colour, label=f"n = {n:,}: {_short(origin)}"))
        handles.append(Line2D([], [], color=style.OTHER, label="by chance"))
        panel.set_title(f"{place(EPSILON_TABLE[dataset])}, {PAPER_DATASETS[dataset]}", loc="left")
        panel.set_xticks(range(len(values)), [short_label(v, usual_training(v)) for v in values])
        panel.set_ylim(0, 112)
        panel.set_yticks(range(0, 101, 25))
        panel.set_ylabel("attainable (%)")
        panel.grid(visible=False, axis="x")
        panel.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0, -0.13),
            ncols=3,
            frameon=False,
            columnspacing=1.2,
        )
    figure.numbers = pd.DataFrame(drawn, columns=COLUMNS)
    return figure


def _short(origin: str) -> str:
    return "implied by the table" if origin.startswith("implied") else origin.removeprefix("the ")
