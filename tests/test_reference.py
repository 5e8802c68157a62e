"""The reference, the cards and the printed book's links."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from report_records import provenance, small_run

from meddef.book.api_page import MODULES, api_page
from meddef.book.cards_page import cards_page
from meddef.book.pdf import one_page
from meddef.data import CARDS
from meddef.report.report import Report

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def api() -> str:
    return api_page(ROOT)["api.md"]


def test_every_public_name_of_a_module_is_there_and_can_be_imported(api: str) -> None:
    parts = dict(re.findall(r"(?ms)^## (\S+)\n(.*?)(?=^## |\Z)", api))
    assert list(parts) == list(MODULES)
    for name, text in parts.items():
        module = importlib.import_module(name)
        shown = set(re.findall(r"(?m)^### (\S+)", text))
        assert shown >= set(getattr(module, "__all__", [])) - {"COMPONENTS"} or name == "meddef.models"
        assert all(hasattr(module, member) for member in shown)


def test_signatures_and_docstrings_are_those_of_the_code(api: str) -> None:
    section = api.split("### prune_l1\n")[1].split("### ")[0]
    assert "prune_l1(model: nn.Module, rate: float, *, scope: str = 'global') -> nn.Module" in section
    assert "- `rate`: in [0, 1); round(rate * n) of n weights become zero." in section
    assert "- `InputError`: rate or scope out of range" in section
    result = "A new model on the same device; the zeros are in the weights themselves, without masks."
    assert f"*Returns*\n\n{result}" in section
    image = (
        "*Returns*\n\nImages within ``eps`` and [0, 1] exactly: one that fools the model if any attack found"
    )
    assert image in api  # a colon inside the sentence, and a second line
    assert "MedDef(\n    components: tuple[str, ...] | None,\n    num_classes: int,\n    *,\n" in api
    assert "self" not in re.findall(r"(?m)^    (\w+),$", api)


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
