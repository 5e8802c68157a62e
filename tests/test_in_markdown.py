"""Words from records are shown as they are where sentences are Markdown: never markup, never live HTML."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import yaml
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

import meddef.report
from meddef.book import chapters, frontpage
from meddef.errors import InputError
from meddef.records import Record
from meddef.report.in_markdown import in_markdown
from meddef.report.report import Report
from meddef.report.scope import in_short, measured_on

ROOT = Path(__file__).resolve().parents[1]
TITLE = (
    "Eyes <macula> *a* _b_ |c| [x](y) $z$ &lt; {term}`t` ~~s~~ www.example.org \\ <script>alert(1)</script>"
)
CPU = "Make <b>X</b> *1* $2$"
WORDS = (
    TITLE, CPU, "# one", "- one", "+ one", "1. one", "12) one", "> one", "===", "---", ":::{note}", "% one", "(a)=",
    "a_b_c", "_a_", "__a__", "**a**", "`a`", "``a``", "a\\*b", "![i](j)", "<!-- a", "<a@b.org>", "a@b.org", "https://b.org",
    "b.org/c", "&amp; &#60;", "AT&T", "{{ a }}", "{ref}`a`", "[^1]", "[a]: b", "a\n\nb", "a  \nb", "$$a$$", "| a | b |",
    "Intel(R) Xeon(R) CPU @ 2.60GHz", "Chest X-Ray Images (Pneumonia)", "OCTDL, the four largest classes", "x86_64",
)  # fmt: skip


class Shown(HTMLParser):
    """The text that a reader sees, and the tags around it."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def shown(markdown: str) -> Shown:
    """``markdown`` as the book's own parser reads it."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    extensions = config["parse"]["myst_enable_extensions"]
    parser = create_md_parser(MdParserConfig(enable_extensions=set(extensions)), RendererHTML)
    page = Shown()
    page.feed(str(parser.render(markdown)))
    page.close()
    return page


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("around", ["- {}", "- Measured on {}, 64 px.", "*{}*", "## [{}](a.md)", "{}"])
def test_words_are_text_wherever_they_stand(words: str, around: str) -> None:
    page, plain = shown(around.format(in_markdown(words))), shown(around.format("words"))
    assert page.text.strip() == plain.text.replace("words", " ".join(words.split())).strip()
    assert page.tags == plain.tags


@pytest.mark.parametrize(
    "words", ["Chest X-Ray Images (Pneumonia)", "AMD EPYC, 2 cores", "x86_64", "CPU @ 2.60GHz"]
)
def test_usual_words_are_unchanged(words: str) -> None:
    assert in_markdown(words) == words


def sentences() -> Iterator[tuple[str, Callable[[Report], object]]]:
    """Every function of the report that makes Markdown from a report alone, and those of the book."""
    for found in iter_modules(meddef.report.__path__):
        module = import_module(f"meddef.report.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith("_"):
                continue
            first, *rest = inspect.signature(function).parameters.values() or [None]
            if first is None or first.annotation != "Report" or any(p.default is p.empty for p in rest):
                continue
            if "Text" in str(inspect.signature(function).return_annotation):
                yield f"{found.name}.{name}", function
    yield "front page", lambda report: frontpage.three([report])
    yield "measured on", measured_on
    yield "in short", in_short


def hostile() -> list[Report]:
    """The stored records of each profile under another title, of another processor."""

    def renamed(record: Record) -> Record:
        return record | {
            "title": TITLE,
            "dataset": "mine" if record["dataset"] in ("chest_xray",) else record["dataset"],
        }

    found = []
    for folder in sorted((ROOT / "results").iterdir()):
        if not (folder / "records.jsonl").is_file():
            continue
        report = Report.load(folder.name, folder.parent)
        provenance = [each | {"hardware": each["hardware"] | {"cpu": CPU}} for each in report.provenance]
        found.append(replace(report, records=[*map(renamed, report.records)], provenance=provenance))
    return found


def test_every_sentence_shows_the_words_of_the_records_as_they_are() -> None:
    told = 0
    for report in hostile():
        for name, function in sentences():
            try:
                made = str(function(report))
            except (KeyError, InputError, ValueError, StopIteration):
                continue  # not what this profile has
            page = shown(made)
            assert not page.tags & {"macula", "script", "b"}, name
            for begins, words in (("Eyes ", TITLE), ("Make ", CPU)):
                assert page.text.count(begins) == page.text.count(words), (name, page.text)
                told += page.text.count(words)
    assert told > 50


def test_a_chapter_s_heading_and_the_table_of_evidence_show_them_too() -> None:
    reports = hostile()
    (made,) = chapters.evidence_table(reports).values()
    table = Shown()
    table.feed(made)
    assert not table.tags & {"macula", "script"}
    assert table.text.count("Eyes ") == table.text.count("Eyes <macula>") > 0
