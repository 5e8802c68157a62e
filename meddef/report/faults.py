"""The book's page on faults: the table is read from the tests that commit them, which are not imported.

A test of a fault is marked ``@pytest.mark.fault(tried, outcome, says=...)``: what is done, what happens then, and the
words that the message must hold, which the test gets as the fixture ``says`` and checks.
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
    found = faults(root / "tests")
    return {"faults.md": f"{table(found)._repr_html_() if found else NOTHING}\n"}


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
