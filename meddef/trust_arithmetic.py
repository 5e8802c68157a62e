"""The chapter on the published numbers: every finding in one table, and the code that decides each. No torch here."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

import pandas as pd

from meddef.audit import Finding, decided_by, findings
from meddef.display import Table, place

VERDICTS = {"holds": "holds", "does_not_hold": "does not hold", "cannot_be_checked": "cannot be checked"}
KINDS = {"consistency": "consistency", "claim": "claim of the text", "attainability": "attainability"}
CODE_PAGE = "trust_code.html"


@cache
def _found() -> tuple[Finding, ...]:
    return tuple(findings())


def arithmetic_page() -> dict[str, str]:
    """The counts of verdicts and the table of all findings, which ``findings.js`` makes filterable."""
    found = _found()
    rows = "".join(_row(finding) for finding in found)
    heads = "".join(
        f'<th class="left" scope="col">{name}</th>' for name in ("verdict", "place", "finding", "")
    )
    table = (
        '<div class="meddef-scroll" tabindex="0"><table class="meddef meddef-findings"><caption>All '
        f"{len(found):,} findings.</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return {"findings_counts.md": f"{counts(found)._repr_html_()}\n", "findings.md": f"{table}\n"}


def counts(found: tuple[Finding, ...]) -> Table:
    """How many findings of each kind have each verdict."""
    tally = Counter((finding.kind, finding.verdict) for finding in found)
    rows = [
        {"kind": words} | {name: f"{tally[kind, verdict]:,}" for verdict, name in VERDICTS.items()}  # type: ignore[index]
        for kind, words in KINDS.items()
    ]
    return Table(pd.DataFrame(rows), "Findings by kind and verdict.")


def code_page() -> dict[str, str]:
    """The source of every function that decides a finding, one heading each."""
    functions = sorted({_named(decided_by(finding)) for finding in _found()})
    parts = []
    for module, name in functions:
        source = inspect.getsource(getattr(importlib.import_module(module), name))
        anchor = _anchor(module, name)
        parts.append(f'<div id="{anchor}"></div>\n\n## {anchor}\n\n```python\n{source.rstrip()}\n```\n')
    return {"findings_code.md": "\n".join(parts)}


def _named(function: Callable[..., Any]) -> tuple[str, str]:
    """Module and name at its top level: of a function made by another, the maker."""
    return function.__module__, function.__qualname__.partition(".")[0]


def _anchor(module: str, name: str) -> str:
    return f"{module.rpartition('.')[2]}.{name}"


def _row(finding: Finding) -> str:
    where = place(finding.exhibit)
    anchor = _anchor(*_named(decided_by(finding)))
    quote = f"<em>“{escape(finding.value)}”</em> " if isinstance(finding.value, str) else ""
    verdict = VERDICTS[finding.verdict]
    return (
        f'<tr data-place="{escape(where)}" data-kind="{KINDS[finding.kind]}" data-verdict="{verdict}">'
        f'<td class="left verdict-{finding.verdict}">{verdict}</td><td class="left">{escape(where)}</td>'
        f'<td class="left">{quote}{escape(finding.detail)}<br><small>{escape(finding.id)}</small></td>'
        f'<td class="left"><a href="{CODE_PAGE}#{anchor}">code</a></td></tr>'
    )
