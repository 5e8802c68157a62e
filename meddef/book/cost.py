"""The book's page on cost: the table and the growth figure of ``make bench``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from meddef.figures import style
from meddef.figures.drawing import SvgFigure, styled
from meddef.figures.pages import PageFigure, Source, digests
from meddef.report.display import DASH, Table
from meddef.report.in_markdown import in_markdown
from meddef.report.tables_setup import circumstances

PLACE, PATTERN = Path("results") / "bench", "attacks_*.json"  # one per kind of machine
NOTHING = "No measurement is stored: run `make bench`."
MODES: dict[str, dict[str, Any]] = {
    "floor": {"color": style.PUBLISHED, "linestyle": "--", "marker": "none"},
    "torchattacks": {"color": style.OTHER, "marker": "v"},
    "reference": {"color": "#333333", "marker": "o"},
    "fast": {"color": "#0072B2", "marker": "s"},
    "fast bf16": {"color": "#D55E00", "marker": "D"},
}
AXES = {"batch": "batch size", "size": "image size (px)", "steps": "steps"}
ALT = (
    "Milliseconds per image of BIM against batch size, image size and steps: this package in three modes, "
    "torchattacks, "
    "and the lower bound, the passes that the attack cannot avoid."
)
Bench = dict[str, Any]


def cost_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``: one tab per machine; a note if nothing was measured."""
    benches = {
        path: json.loads(path.read_text(encoding="utf-8")) for path in sorted((root / PLACE).glob(PATTERN))
    }
    if not benches:
        return {"cost.md": f"{NOTHING}\n"}
    tabs: list[str] = []
    pages: dict[str, str] = {}
    for path, bench in benches.items():
        name = f"cost_growth_{path.stem.removeprefix('attacks_')}"
        source = Source(digests(root, [path]), "make bench", [bench["provenance"]])
        figure = PageFigure(growth(bench), name, "cost", source, ALT)
        pages |= figure.files()
        tabs += [
            f"::::::{{tab-item}} {machine(bench)}",
            summary(bench),
            table(bench)._repr_html_(),
            figure.shown(),
            origin(bench)._repr_html_(),
            "::::::",
        ]
    parts = [together(benches.values()), ":::::::{tab-set}", *tabs, ":::::::"]
    return pages | {"cost.md": "\n\n".join(parts) + "\n"}


def together(benches: Iterable[Bench]) -> str:
    """How many targets were met wherever measured, and which are missed somewhere or everywhere."""
    verdicts: dict[str, set[bool]] = {}
    for row in (row for bench in benches for row in bench["rows"]):
        if row["verdict"] not in (DASH, "not measured"):
            verdicts.setdefault(row["workload"], set()).add(row["verdict"] == "PASS")
    some = [name for name, met in verdicts.items() if met == {True, False}]
    never = [name for name, met in verdicts.items() if met == {False}]
    always = len(verdicts) - len(some) - len(never)
    sentences = [f"Of {len(verdicts)} targets, {always} are met on every machine that measured them."]
    sentences += [f"Met on one and missed on another: {'; '.join(some)}."] if some else []
    sentences.append(f"Met on none: {'; '.join(never)}." if never else "None is missed on all of them.")
    return " ".join(sentences)


def machine(bench: Bench) -> str:
    """The kind of machine a bench ran on, for a heading."""
    origin = bench["provenance"]
    cpu = in_markdown(origin["hardware"]["cpu"])
    return f"{cpu}, {origin['hardware']['instructions']}, {origin['threads']} threads"


def summary(bench: Bench) -> str:
    """How many targets were met, missed or not measured."""
    asked = [row for row in bench["rows"] if row["verdict"] != DASH]
    verdicts = Counter(row["verdict"].lower() for row in asked)
    others = [f"{count} {verdict}" for verdict, count in sorted(verdicts.items()) if verdict != "pass"]
    return ", ".join([f"{verdicts['pass']} of {len(asked)} targets are met", *others]) + "."


def table(bench: Bench) -> Table:
    """Every row of the benchmark: measured value and target."""
    rows = []
    for row in bench["rows"]:
        workload, _, what = row["workload"].partition(": ")
        rows.append(
            {
                "workload": workload,
                "compared": what or workload,
                "measured": DASH if row["measured"] is None else f"{row['measured']:.4g} {row['unit']}",
                "wanted": _wanted(row),
                "verdict": row["verdict"],
                "note": row["note"],
            }
        )
    caption = "Speed as ratios of medians of interleaved runs in one process: 2 x is twice as fast."
    return Table(pd.DataFrame(rows), caption, header=2, left=("wanted", "note"))


def _wanted(row: dict[str, Any]) -> str:
    bounds = (("at least", row["least"]), ("at most", row["most"]))
    return "\n".join(f"{words} {bound:.3g}" for words, bound in bounds if bound is not None) or DASH


def origin(bench: Bench) -> Table:
    """Hardware, versions, commit and date."""
    origin = bench["provenance"]
    values = circumstances([origin])
    values["hardware"] += f", {origin['hardware']['instructions']}"
    rows = {"threads": str(origin["threads"])} | {k: v for k, v in values.items() if k != "cells"}
    frame = pd.DataFrame({"": list(rows), "value": list(rows.values())})
    return Table(frame, "Provenance.", left=("value",))


@styled
def growth(bench: Bench) -> SvgFigure:
    """Milliseconds per image of BIM against batch size, image size and steps, one panel each, both axes logarithmic."""
    points = pd.DataFrame(bench["growth"])
    figure, axes = style.grid(1, len(AXES), width=2.5, height=2.5, sharey=False)
    for panel, (axis, label) in zip(axes[0], AXES.items(), strict=True):
        ours = points[points["axis"] == axis]
        for mode, look in MODES.items():
            line = ours[ours["mode"] == mode]
            panel.plot(line["value"], line["ms"], **look)
        values = sorted(set(ours["value"]))
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks(values, [str(value) for value in values])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        panel.set_xlabel(label)
    axes[0][0].set_ylabel("milliseconds per image")
    measured = set(points["mode"])
    style.legend_below(
        figure, [Line2D([], [], label=mode, **look) for mode, look in MODES.items() if mode in measured]
    )
    figure.numbers = points[points["mode"].isin(MODES)]
    return figure
