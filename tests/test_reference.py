"""The reference, the cards and the printed book's links."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report_records import provenance, small_run
from sphinx.ext.napoleon import GoogleDocstring

from meddef.book.api_page import MODULES, api_page
from meddef.book.cards_page import cards_page
from meddef.book.pdf import one_page
from meddef.data import CARDS
from meddef.report.report import Report

ROOT = Path(__file__).resolve().parents[1]


def documented(member: Any) -> str:
    """The docstring as Sphinx reads it, in reStructuredText: ``:param eps: ...``."""
    return str(GoogleDocstring(inspect.getdoc(member) or ""))


def public(name: str) -> dict[str, Any]:
    """The functions and classes that the reference shows of a module."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [
        n for n, member in vars(module).items() if getattr(member, "__module__", "") == name and n[0] != "_"
    ]
    found = {n: getattr(module, n) for n in names}
    return {n: member for n, member in found.items() if inspect.isclass(member) or inspect.isroutine(member)}


PUBLIC = {f"{name}.{n}": member for name in MODULES for n, member in public(name).items()}


def test_the_page_names_every_module_and_where_constants_are_defined() -> None:
    page = api_page(ROOT)["api.md"]
    assert re.findall(r"(?m)^## (\S+)$", page) == re.findall(r"automodule:: (\S+)", page) == list(MODULES)
    constants = re.findall(r"autodata:: (\S+)\.(\w+)", page)
    assert ("meddef.attacks.registry", "ATTACKS") in constants
    assert all(hasattr(importlib.import_module(module), name) for module, name in constants)
    exported = {n for name in MODULES for n in getattr(importlib.import_module(name), "__all__", [])}
    assert {n for n in exported if n.isupper()} - {n.rpartition(".")[2] for n in PUBLIC} == {
        n for _, n in constants
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_is_read_as_it_was_meant(name: str) -> None:
    """A colon in the first line of Returns would make a type of what precedes it; a description is never missing."""
    text = documented(PUBLIC[name])
    assert text.strip()
    assert ":rtype:" not in text
    told = re.findall(r"(?m)^:param \W*(\w+):", text)
    assert not told or set(told) <= set(inspect.signature(PUBLIC[name]).parameters)


def test_there_is_a_card_for_every_dataset_and_model() -> None:
    page = cards_page([Report("cpu", small_run("chest_xray"), provenance())], (0.031373, 0.05))
    assert re.findall(r"(?m)^### (\S+)", page["cards_data.md"]) == list(CARDS)
    for card in CARDS.values():
        assert card.licence in page["cards_data.md"]
    assert page["cards_models.md"].count("epochs") == 3
    assert "37.5" in page["cards_models.md"]  # 3 of 8 images under PGD at 0.05


def test_links_between_pages_lead_within_the_one_page() -> None:
    page = '<span id="document-notebooks/cpu/01_data"></span><span id="document-cards"></span>'
    page += '<a href="notebooks/cpu/01_data.html#x"></a><a href="../../cards.html"></a>'
    page += '<a href="https://o.org/cards.html"></a><a href="#y"></a>'
    links = re.findall(r'href="([^"]*)"', one_page(page))
    assert links == ["#document-notebooks/cpu/01_data", "#document-cards", "https://o.org/cards.html", "#y"]


def test_the_pages_do_without_torch() -> None:
    code = "import sys, meddef.book.build, meddef.book.frontpage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
