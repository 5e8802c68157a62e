"""The chapter on the printed numbers: every finding in one table, and the code of each check."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from meddef.audit import Finding, Published, decided_by, findings
from meddef.audit.numbers import QUESTIONS
from meddef.figures.pages import PageFigure
from meddef.printed.published import DATASETS
from meddef.report.display import in_plain_words, place
from meddef.trust.attainable import ALT, attainable
from meddef.trust.paper import link
from meddef.trust.sources import PAPER

VERDICTS = {"holds": "holds", "does_not_hold": "does not hold", "cannot_be_checked": "cannot be checked"}
KINDS = {"consistency": "consistency", "claim": "claim of the text", "attainability": "attainability"}
CODE_PAGE = "trust_code.html"
# One finding of each kind as examples; the text is computed.
FIRST = (
    "group:table1:full",
    "group:table2:ablated",
    "repeated_value:table2:72.89",
    "clean_above_prior:table2:resnet18",
    "bim_and_pgd:table1:0.05:resnet18",
    "above_clean:table1:resnet18:pgd",
    "jsma_ignores_epsilon:table1:full",
    "some_attack_succeeds:table4:0.8:full",
    "claim:abstract.up-to",
    "claim:V-C.msf-clean",
    "confusion:chest_xray:PNEUMONIA",
)


STATED, TRIED = "the stated test sets", "sizes not stated in the paper"


@cache
def found_in(root: Path) -> tuple[Finding, ...]:
    """Every finding, with measurements from the records under ``root``."""
    return tuple(findings(results=root / "results"))


def arithmetic_page(root: Path) -> dict[str, str]:
    """A summary, a figure, and the table of all findings, which ``findings.js`` filters."""
    found = found_in(root)
    rows = "".join(_row(finding) for finding in found)
    heads = "".join(
        f'<th class="left" scope="col">{name}</th>' for name in ("verdict", "place", "finding", "decided by")
    )
    table = (
        '<div class="meddef-scroll" tabindex="0"><table class="meddef meddef-findings"><caption>All '
        f"{len(found):,} findings.</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    figure = PageFigure(
        attainable(Published()), "trust_arithmetic_attainable", "trust_arithmetic", PAPER, ALT
    )
    return figure.files() | {
        "findings_counts.md": f"{counts(found)}\n",
        "findings_first.md": f"{first(found)}\n",
        "attainable.md": f"{figure.shown()}\n",
        "findings.md": f"{table}\n",
    }


def first(found: tuple[Finding, ...]) -> str:
    """The findings of ``FIRST`` as a list."""
    known = {finding.id: finding for finding in found}
    return "\n".join(_bullet(known[name]) for name in FIRST)


def _bullet(finding: Finding) -> str:
    quote = f"<em>“{escape(finding.value)}”</em> " if isinstance(finding.value, str) else ""
    return (
        f"- {link(finding.exhibit)}, {in_plain_words(finding.id.partition(':')[0])}: "
        f'<span class="verdict-{finding.verdict}">{VERDICTS[finding.verdict]}</span>. {quote}{escape(finding.detail)}'
    )


def counts(found: tuple[Finding, ...]) -> str:
    """Every check with its question and how many of its findings have each verdict, as an HTML table."""
    tally: dict[tuple[str, str], Counter[str]] = {}
    stated = {Published().test_attention_or_size(dataset) for dataset in DATASETS}
    sizes: dict[str, set[int]] = {}
    for finding in found:
        at = "" if finding.n is None else STATED if finding.n in stated else TRIED
        tally.setdefault((finding.id.partition(":")[0], at), Counter())[finding.verdict] += 1
        sizes.setdefault(at, set()).add(finding.n or 0)
    kinds = {finding.id.partition(":")[0]: finding.kind for finding in found}
    rows = ""
    for kind, words in KINDS.items():
        rows += f'<tr class="group"><th colspan="5" scope="rowgroup">{words}</th></tr>'
        for check, at in ((name, at) for name, at in sorted(tally, key=_stated_first) if kinds[name] == kind):
            cells = "".join(f"<td>{tally[check, at][verdict]:,}</td>" for verdict in VERDICTS)
            name = f'<a href="#find={check}:">{in_plain_words(check)}</a>'
            listed = ", ".join(f"{n:,}" for n in sorted(sizes[at]))
            question = escape(QUESTIONS[check] + (f": {at} (n = {listed})" if at else ""))
            rows += (
                f'<tr><th class="left" scope="row">{name}</th><td class="left">{question}</td>{cells}</tr>'
            )
    heads = '<th class="left" scope="col">check</th><th class="left" scope="col">holds if</th>'
    heads += "".join(f'<th scope="col">{name}</th>' for name in VERDICTS.values())
    return (
        '<div class="meddef-scroll" tabindex="0"><table class="meddef"><caption>The checks and the number of '
        f"findings per verdict; click a name to show them below.</caption><thead><tr>{heads}</tr></thead><tbody>{rows}"
        "</tbody></table></div>"
    )


def _stated_first(key: tuple[str, str]) -> bool:
    return key[1] == TRIED


def code_page(root: Path) -> dict[str, str]:
    """The source of every function that decides a finding, one heading each."""
    functions = sorted({_named(decided_by(finding)) for finding in found_in(root)})
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
        f'<td class="left verdict-{finding.verdict}">{verdict}</td><td class="left">{link(finding.exhibit)}</td>'
        f'<td class="left">{quote}{escape(finding.detail)}<br><small>{escape(finding.id)}</small></td>'
        f'<td class="left"><a href="{CODE_PAGE}#{anchor}">code</a></td></tr>'
    )
