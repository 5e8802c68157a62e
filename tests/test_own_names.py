"""A dataset unrelated to the paper's, a further variant, a further attack: pages and plans accept them."""

import ast
import re
from inspect import getdoc, signature
from pathlib import Path
from typing import Any

import nbformat
import pytest
import report_records
from pydantic import ValidationError
from report_records import attack_record, provenance, small_run, train_record
from sphinx.ext.napoleon import GoogleDocstring
from tiny_profile import TINY

from meddef import attacks, catalogue
from meddef.attacks import ATTACKS
from meddef.attacks.options import options
from meddef.book.build import generated
from meddef.book.cards_page import cards_page
from meddef.book.exhibits import exhibits_page
from meddef.book.frontpage import front_page
from meddef.book.results_page import results_page
from meddef.claims.verdicts import rows, score
from meddef.cost_model import passes
from meddef.data import CARDS
from meddef.errors import InputError
from meddef.models import components_of
from meddef.models import meddef as models
from meddef.report import architecture
from meddef.report.display import DASH
from meddef.report.labels import model_label, ordered_attacks
from meddef.report.report import Report
from meddef.sections import Section, own_sections
from meddef.settings import DatasetSettings, Profile
from meddef.smoke_test import trial
from meddef.yaml_reader import read_yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(set((ROOT / "notebooks").glob("*.ipynb")) - {ROOT / "notebooks" / "02_architecture.ipynb"})
MINE = catalogue.Variant("no_msf", "MedDef w/o MSF", ("afd", "mfe"))


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    """Skin lesions, of which the paper has none, also attacked by "mine"; "no_msf" beside the paper's models."""
    for table, value in (("CLASSES", ["A", "B"]), ("STANDS_FOR", None), ("TITLES", "Skin lesions")):
        monkeypatch.setitem(getattr(report_records, table), "skin", value)
    where = ("skin", "no_msf")
    more: list[dict[str, Any]] = [train_record(*where, "adversarial")]
    more += [attack_record(*where, "mine", "0101", "0101", "0110", eps=eps) for eps in (0.05, 0.1)]
    return Report("skin", small_run("skin") + more, provenance())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_notebook_shows_what_the_paper_has_not(path: Path, report: Report) -> None:
    names: dict[str, Any] = {}
    shown = []
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "code":
            continue
        if "parameters" in cell.metadata.get("tags", []):
            exec(cell.source, names)
            continue
        code, _, last = cell.source.rpartition("\nrun = Report.load(profile, results_dir)\n")
        exec(code, names)
        names["run"] = report
        value = eval(compile(ast.parse(last.strip(), mode="eval"), path.name, "eval"), names)
        shown += [
            made() for name in ("_repr_html_", "_repr_markdown_") if (made := getattr(value, name, None))
        ]
    text = "".join(str(part) for part in shown)
    assert text
    if path.stem == "05_epsilon":
        assert all(name in text for name in ("Skin lesions", "mine", "no_msf"))


def test_the_pages_of_the_whole_book_do_too(report: Report) -> None:
    found = rows([report])
    counts = score(found)
    pages = front_page([report], counts) | results_page([report], found, counts)
    pages |= exhibits_page([report], {"skin": ["data", "epsilon", "pruning", "confusion"]})
    assert "Skin lesions" in "".join(pages.values())


def test_the_whole_book_takes_every_variant_on_the_papers_own_images() -> None:
    """The models that the paper does not have, too: none of them has a printed value."""
    records = [
        record | {"key": str(number)}
        for number, record in enumerate(small_run("chest_xray", tuple(catalogue.VARIANTS)))
    ]
    made = Report("cpu", records, [provenance()[0] | {"key": record["key"]} for record in records])
    assert set(catalogue.VARIANTS) <= {variant for variant, _ in made.models()}
    assert "ResNet18 + CBAM" in "".join(generated(ROOT, [made]).values())


def test_a_further_variant_has_its_parameters_and_no_printed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    before = architecture.conclusion()
    monkeypatch.setitem(catalogue.VARIANTS, MINE.name, MINE)
    monkeypatch.setattr(models, "KNOWN_VARIANTS", (*models.KNOWN_VARIANTS, MINE.name))
    table = architecture.parameters().frame
    mine = table[table["model"] == MINE.label]
    assert list(mine["the paper (M)"]) == list(mine["equal"]) == [DASH, DASH]
    assert str(architecture.conclusion()) == str(before)
    assert architecture.parameter_blocks(2).loc["no_msf", "AFD"] > 0
    assert components_of("no_msf") == ("afd", "mfe")
    assert model_label("no_msf", "clean").endswith(", clean training")


def test_an_attack_without_a_row_is_behind_all_others() -> None:
    assert ordered_attacks(["lost", "noise", "pgd", "clean"]) == ["clean", "pgd", "noise", "lost"]


def test_a_trial_of_images_that_stand_for_none_takes_phantoms() -> None:
    profile = Profile.model_validate(read_yaml(TINY, "tiny"))
    skin = profile.datasets[0].model_copy(update={"name": "chest_xray", "sizes": None})
    assert [d.name for d in trial(profile.model_copy(update={"datasets": [skin]})).datasets] == [
        "phantom_xray"
    ]


def skin(**changes: Any) -> DatasetSettings:
    card = CARDS["chest_xray"].model_dump(exclude={"name"}) | {"title": "Skin lesions", "folders": ["skin"]}
    return DatasetSettings.model_validate(
        {"name": "lesions", "split_policy": "released", "card": card} | changes
    )


def test_a_card_in_a_profile_is_known_written_and_shown(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CARDS, "lesions", CARDS["octdl"])  # forgotten afterwards
    read = DatasetSettings.model_validate_json(skin().model_dump_json())
    assert CARDS["lesions"] == read.card
    assert "card" not in DatasetSettings(name="chest_xray").model_dump()  # existing cells keep their keys
    assert "### skin\n" not in cards_page([report], (0.05,))["cards_data.md"]
    report.datasets[0].record["card"] = read.model_dump()["card"]
    assert "### skin\n" in cards_page([report], (0.05,))["cards_data.md"]
    with pytest.raises(ValidationError, match="the package has a card named 'octdl'"):
        skin(name="octdl")


@pytest.mark.parametrize("said", [{"section": "epsilon", "needs": []}, {"section": "more", "needs": "train"}])
def test_a_notebook_that_names_no_new_section_is_refused(said: dict[str, Any], tmp_path: Path) -> None:
    good, bad = {"section": "mine", "needs": ["train"]}, tmp_path / "13_bad.ipynb"
    for path, metadata in ((tmp_path / "12_mine.ipynb", {"meddef": good}), (tmp_path / "99_other.ipynb", {})):
        nbformat.write(nbformat.v4.new_notebook(metadata=metadata), path)
    assert list(own_sections(tmp_path)) == [Section("mine", "12_mine", ("train",), ("train",))]
    nbformat.write(nbformat.v4.new_notebook(metadata={"meddef": said}), bad)
    with pytest.raises(InputError, match=r"13_bad\.ipynb: metadata .* must give a section"):
        list(own_sections(tmp_path))


def test_an_attack_needs_its_row_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that the function has by default count without being said again."""
    row = catalogue.Attack("universal", "Universal", "somewhere")
    monkeypatch.setitem(catalogue.ATTACKS, "universal", row)
    epochs = catalogue.declared("universal")["epochs"]
    assert epochs == signature(attacks.universal).parameters["epochs"].default
    monkeypatch.setitem(catalogue.ATTACKS, "lost", catalogue.Attack("lost", "Lost", "nowhere"))
    with pytest.raises(InputError, match=r"lost\.py has no function 'lost'"):
        passes("lost", {}, 12)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_row_says_what_the_function_takes(name: str) -> None:
    takes = signature(ATTACKS[name].func).parameters
    assert ("eps" in takes) == (catalogue.ATTACKS[name].eps is not None)
    assert set(catalogue.ATTACKS[name].defaults) <= set(takes)
    plain = {k: v for k, v in options(name).items() if isinstance(v, (int, float, str, bool))}
    known = catalogue.declared(name) | dict(catalogue.ATTACKS[name].defaults)
    assert {k: known.get(k) for k in plain} == plain


@pytest.mark.parametrize("name", attacks.__all__)
def test_every_parameter_of_an_attack_is_documented(name: str) -> None:
    function = getattr(attacks, name)
    if isinstance(function, (type, dict)):
        return
    text = str(GoogleDocstring(getdoc(function) or ""))
    assert set(signature(function).parameters) <= set(re.findall(r"(?m)^:param \W*(\w+):", text))
