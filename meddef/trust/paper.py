"""The target page of findings' links: the paper's claims and tables, in the order of its sections."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import pandas as pd

from meddef.paper import CLAIMS, EXHIBITS, VARIANT_LABELS, comparison_table, compression_table, epsilon_table
from meddef.printed.finding import Finding
from meddef.printed.published import ATTACKS, EPSILON_TABLE
from meddef.report.display import Table, place
from meddef.report.labels import attack_name

PAPER_PAGE = "trust_paper.html"
FINDINGS_PAGE = "trust_arithmetic.html"


def paper_page(found: Iterable[Finding]) -> dict[str, str]:
    """Every quoted sentence at its place with the verdict on it, and the five tables."""
    verdicts = {finding.id: finding.verdict.replace("_", " ") for finding in found}
    quotes: dict[str, list[str]] = {}
    for claim in CLAIMS:
        name = f"claim:{claim['id']}"
        verdict = f'<a href="{FINDINGS_PAGE}#find={name}">{verdicts[name]}</a>'
        quotes.setdefault(claim["section"], []).append(f"“{_plain(claim['quote'])}” ({verdict})")
    places = list(dict.fromkeys([*quotes, *(f"table{number}" for number in range(1, 6))]))
    parts = [_place(section, quotes.get(section, [])) for section in sorted(places, key=_order)]
    return {"paper_places.md": "\n\n".join(parts) + "\n"}


def anchor(section: str) -> str:
    """Of a place on this page: "V-D" -> "place-v-d"."""
    return f"place-{section.lower().replace(' ', '-')}"


def link(section: str) -> str:
    """From another page of the book to a place in the paper, as HTML."""
    return f'<a href="{PAPER_PAGE}#{anchor(section)}">{escape(place(section))}</a>'


def _place(section: str, quotes: list[str]) -> str:
    caption = next((e["caption"] for e in EXHIBITS if e["id"] == section), "")
    title = place(section)
    parts = [f'<div id="{anchor(section)}"></div>', f"## {title[0].upper()}{title[1:]}"]
    parts += [f"*{caption}*"] if caption else []
    parts += ["\n".join(f"- {quote}" for quote in quotes)] if quotes else []
    parts += [_table(section)._repr_html_()] if section.startswith("table") else []
    return "\n\n".join(parts)


def _plain(quote: str) -> str:
    """Without what Markdown would take for markup."""
    return escape(quote, quote=False).replace("[", "\\[").replace("*", "\\*").replace("~", "\\~")


def _table(exhibit: str) -> Table:
    if exhibit == "table5":
        frame = comparison_table().drop(columns=["exhibit", "citation", "bold"])
        names = {name: name.replace("_", " ") for name in frame.columns}
        return Table(frame.rename(columns=names), "As printed.", left=tuple(names.values()))
    accuracies = exhibit in EPSILON_TABLE.values()
    cells = epsilon_table() if accuracies else compression_table()
    level, attacks = ("eps", ("clean", *ATTACKS)) if accuracies else ("prune_rate", ATTACKS)
    rows = []
    for (variant, value), own in cells[cells["exhibit"] == exhibit].groupby(["variant", level], sort=False):
        printed = own.set_index("attack")["printed"]
        what = {
            "model": VARIANT_LABELS[str(variant)],
            "ε" if accuracies else "pruned": _level(value, accuracies),
        }
        rows.append(what | {attack_name(attack): printed[attack] for attack in attacks})
    unit = "Accuracy" if accuracies else "Attack success rate"
    return Table(pd.DataFrame(rows), f"{unit} in percent, as printed.", header=2)


def _level(value: float, accuracies: bool) -> str:
    return f"{value:.2f}" if accuracies else f"{100 * value:.0f} %"


def _order(section: str) -> tuple[int, int]:
    """Sections as the ledger has them, then figures, then tables by number."""
    kind = 2 if section.startswith("table") else 1 if section.startswith("fig") else 0
    known = list(dict.fromkeys(claim["section"] for claim in CLAIMS))
    number = int(section.removeprefix("table").removeprefix("fig")) if kind else known.index(section)
    return kind, number
