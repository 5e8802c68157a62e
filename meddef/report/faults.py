"""The book's page on faults: the table is read from the tests that commit them, which are not imported.

A test of a fault is marked ``@pytest.mark.fault(tried, outcome, says=...)``: what is done, what happens then, and the
words that the message must hold, which the test gets as the fixture ``says`` and checks. ``tests/corruptions.csv`` says
what becomes of each kind of file under each corruption; ``tests/test_corruptions.py`` compares it with what does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from meddef.report.display import Table

NOTHING = "The tests are not part of this installation, so there is nothing to show."


@dataclass(frozen=True)
class Fault:
    """One test of a fault; ``says`` is None where there is nothing to tell; ``checks_words``: it takes ``says``."""

    tried: str
    outcome: str
    says: str | None
    test: str
    checks_words: bool


def faults_page(root: Path) -> dict[str, str]:
    """File name -> content, for ``book/_generated/``."""
    found, path = faults(root / "tests"), root / "tests" / "corruptions.csv"
    shown = [table(found)] if found else []
    if path.is_file():
        shown.append(corruptions(pd.read_csv(path, index_col=0)))
    return {
        "faults.md": "\n\n".join(each._repr_html_() for each in shown) + "\n" if shown else f"{NOTHING}\n"
    }


def faults(tests: Path) -> list[Fault]:
    """The marked tests of the files ``test_*.py`` in ``tests``, by file and in their order."""
    return [fault for path in sorted(tests.glob("test_*.py")) for fault in _marked(path)]


def _marked(path: Path) -> Iterator[Fault]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    tried, outcome = (ast.literal_eval(argument) for argument in mark.args)
                    words = {str(k.arg): ast.literal_eval(k.value) for k in mark.keywords}
                    takes = {argument.arg for argument in node.args.args}
                    test = f"{path.name}::{node.name}"
                    yield Fault(tried, outcome, words.get("says"), test, "says" in takes)


def table(found: list[Fault]) -> Table:
    """Faults tried, outcome, message, and the test that did it."""
    rows = [
        {
            "fault": fault.tried,
            "what happens": fault.outcome,
            "the message contains": f"“{fault.says}”" if fault.says else None,
            "test": fault.test.replace("::", "\n"),
        }
        for fault in found
    ]
    caption = f"{len(found)} faults, each injected by a test that checks the outcome and the message."
    left = ("what happens", "the message contains", "test")
    return Table(pd.DataFrame(rows), caption, left=left)


OUTCOMES = {
    "computed again": "a line, and made again as it was",
    "refused": "refused in one line that names it",
    "no harm": "read as it is, or written anew",
}


def corruptions(found: pd.DataFrame) -> Table:
    """One row per kind of file: the corruptions that led to each outcome; ``found`` is file by corruption."""
    rows = [
        {"file": file, **{words: _listed(row == outcome) for outcome, words in OUTCOMES.items()}}
        for file, row in found.iterrows()
    ]
    caption = (
        f"{found.size} corruptions, of {len(found)} kinds of files: {', '.join(found.columns)}. After each the next "
        "command ended in one of three ways; none gave a wrong number without a word, a traceback, or a state in which "
        "the same command stops again once the file that it names is removed."
    )
    return Table(pd.DataFrame(rows), caption, left=tuple(OUTCOMES.values()))


def _listed(here: pd.Series) -> str | None:
    """The names where it holds, or but for which it does, whichever are fewer."""
    yes, no = here.index[here], here.index[~here]
    if len(no) < len(yes):
        return f"all but {', '.join(no)}" if len(no) else "all"
    return ", ".join(yes) or None
