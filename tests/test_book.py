"""The book: builds with warnings as errors, only when something changed, and is read without a network.

``MEDDEF_BUILT_BOOK`` may point to the ``html`` folder of a finished book; else a small one is built.
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from report_records import small_run, write_run
from test_reference import PUBLIC

from meddef.book.build import BookFailed, build_book, publish_figures
from meddef.book.notebooks import SECTIONS, seal
from meddef.errors import InputError
from meddef.figures.drawing import MIME

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="10" height="10"/></svg>'


def executed_notebook(path: Path) -> None:
    """What an executed notebook looks like: text, a formula, a table and a drawing."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["language_info"] = {"name": "python"}
    content = {
        "function": "meddef.figures.curves.curves", "arguments": {"grid": "small"}, "numbers": "n\n8\n", "real": False,
        "origin": {"profile": path.parent.name, "records": {"count": 0}},
    }  # fmt: skip
    outputs = [
        nbformat.v4.new_output(
            "display_data", {"text/html": "<table class='meddef'><tr><td>1</td></tr></table>"}
        ),
        nbformat.v4.new_output("display_data", {"image/svg+xml": SVG, "text/plain": "figure", MIME: content}),
    ]
    alt = {"mystnb": {"image": {"alt": "Curves of a test."}}}
    code = nbformat.v4.new_code_cell("show()", outputs=outputs, metadata=alt)
    text = "# A page\n\n$$x^2$$\n\n## Published and measured values"
    notebook.cells = [nbformat.v4.new_markdown_cell(text), code]
    path.parent.mkdir(parents=True, exist_ok=True)
    seal(notebook, "a key")
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real pages and settings around two profiles of hand-made records with one executed notebook each."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "_config.yml", root)
    generated = shutil.ignore_patterns("_toc.yml", "_generated", "notebooks", "figures")
    shutil.copytree(ROOT / "book", root / "book", ignore=generated)
    write_run(root / "results", "smoke", small_run("phantom_oct"))
    write_run(root / "results", "cpu", small_run("chest_xray"))
    for profile in ("smoke", "cpu"):
        executed_notebook(root / "book" / "notebooks" / profile / f"{SECTIONS['epsilon']}.ipynb")
    return root


def sources(root: Path) -> dict[str, Path]:
    return {"smoke": root / "results", "cpu": root / "results"}


@pytest.fixture(scope="module")
def html(root: Path) -> Path:
    built = os.environ.get("MEDDEF_BUILT_BOOK")
    return Path(built) if built else build_book(sources(root), root=root).parent


class Loaded(HTMLParser):
    """Collects what a browser would load automatically when showing a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"link": ("href",), "a": (), "form": ()}.get(tag, ("src", "srcset", "data", "poster", "href"))
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "search", "index", "next", "prev"):
            return
        self.urls += [str(values[name]) for name in names if values.get(name)]


def external(urls: list[str]) -> list[str]:
    return [url for url in urls if url.startswith("//") or urlsplit(url).scheme not in ("", "data", "file")]


def test_offline_check_sees_what_it_must_see() -> None:
    page = '<script src="https://cdn.org/x.js"></script><link rel="stylesheet" href="//f.org/c.css"><img src="a.png">'
    page += '<a href="https://ok.org">text</a><link rel="icon" href="data:,">'
    assert external(Loaded(page).urls) == ["https://cdn.org/x.js", "//f.org/c.css"]


def test_no_page_or_style_sheet_names_an_external_resource(html: Path) -> None:
    pages = list(html.rglob("*.html"))
    assert len(pages) >= 4
    found = {str(page): external(Loaded(page.read_text(encoding="utf-8")).urls) for page in pages}
    assert {page: urls for page, urls in found.items() if urls} == {}
    sheets = [sheet.read_text(encoding="utf-8") for sheet in html.rglob("*.css")]
    loaded = [
        url.strip("'\" ") for text in sheets for url in re.findall(r"(?:@import\s+|url\()([^);]+)", text)
    ]
    assert external([url.removeprefix("url(") for url in loaded]) == []


def test_the_reference_has_every_public_function_and_class(html: Path) -> None:
    names = Anchors((html / "api.html").read_text(encoding="utf-8")).names
    assert set(PUBLIC) <= names
    assert "meddef.attacks.registry.ATTACKS" in names


FILTER = "find="  # not a place in the page but a filter of its table, see findings.js


class Anchors(HTMLParser):
    """The names that a page can be entered at, and the addresses it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.names |= {str(values[name]) for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.add(str(values["href"]))


def dead_links(folder: Path) -> dict[str, set[str]]:
    """Page -> links to other pages, or to places in them, that are not there."""
    pages = {page.resolve(): Anchors(page.read_text(encoding="utf-8")) for page in folder.rglob("*.html")}
    found: dict[str, set[str]] = {}
    for page, anchors in pages.items():
        for link in anchors.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            names = pages[target].names if target in pages else None
            entered = address.fragment and not address.fragment.startswith(FILTER)
            lost = entered and names is not None and unquote(address.fragment) not in names
            if not target.exists() or lost:
                found.setdefault(str(page.relative_to(folder.resolve())), set()).add(link)
    return found


def test_link_check_sees_what_it_must_see(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x"></a><a href="#y"></a><a href="c.html"></a><p id="z">'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#z"></a><a href="a.html#w"></a><a href="http://o.org">')
    assert dead_links(tmp_path) == {"a.html": {"b.html#x", "#y", "c.html"}, "b.html": {"a.html#w"}}


def test_every_link_between_pages_resolves(html: Path) -> None:
    dead = dead_links(html)
    assert {page: links for page, links in dead.items() if not page.startswith("_static")} == {}
    exhibits = Anchors((html / "exhibits.html").read_text(encoding="utf-8")).links
    assert sum("#published-and-measured-values" in link for link in exhibits) >= 2


def browse(url: str, folder: Path) -> tuple[str, set[str]]:
    """The page as the browser shows it, and every address that the page (not the browser for itself) asked for."""
    log = folder / "net-log.json"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
        "--disable-default-apps", f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=10000", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    text = log.read_text(encoding="utf-8").rstrip().rstrip(",")
    try:
        events = json.loads(text)["events"]
    except ValueError:  # the browser may stop before it closes the list
        events = json.loads(text + "]}")["events"]
    origin = "http://" + urlsplit(url).netloc
    asked = [event["params"] for event in events if event.get("params", {}).get("initiator") == origin]
    return done.stdout, {params["url"] for params in asked if "url" in params}


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """``folder`` on a local port, and the requests that failed."""
    failed: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_error(self, format: str, *args: object) -> None:
            failed.append(f"{self.path}: {format % args}")

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    place = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), place) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", failed
        server.shutdown()


@needs_chromium
def test_browser_asks_for_nothing_but_the_book_and_gets_all_of_it(html: Path, tmp_path: Path) -> None:
    notebook = min((html / "notebooks").glob("*/*.html")).relative_to(html).as_posix()
    with serving(html) as (address, failed):
        runs = (
            html / "playground" / "onnxruntime.js"
        ).is_file()  # else the npm registry could not be reached
        for page in ("index.html", "definitions.html", notebook, *["playground.html"] * runs):
            shown, urls = browse(f"{address}/{page}", tmp_path)
            assert any(url.endswith(".css") or ".css?" in url for url in urls)
            assert {url for url in urls if not url.startswith(address)} == set()
            if page == "definitions.html":
                assert "<mjx-container" in shown  # formulas were set by the local MathJax
    assert failed == []


@needs_chromium
def test_browser_check_sees_a_planted_request(tmp_path: Path) -> None:
    page = '<link rel="icon" href="data:,"><img src="http://example.org/x.png"><script>fetch("missing.json")</script>'
    (tmp_path / "index.html").write_text(page)
    with serving(tmp_path) as (address, failed):
        _, urls = browse(f"{address}/index.html", tmp_path)
    assert "http://example.org/x.png" in urls
    assert [line.partition(":")[0] for line in failed] == ["/missing.json"]


@pytest.mark.skipif("MEDDEF_BUILT_BOOK" in os.environ, reason="a finished book was given")
class TestBuild:
    def test_real_images_come_first_and_the_front_page_shows_them(self, root: Path, html: Path) -> None:
        index = (html / "index.html").read_text(encoding="utf-8")
        assert index.index("Chest X-Ray, 32\u00a0px") < index.index("Phantoms, 32\u00a0px")
        assert "reproduced" in index
        results = (html / "results.html").read_text(encoding="utf-8")
        assert "paper 98.83" in results  # Table 2, full model, PGD at 0.05
        assert "up to 97.52% adversarial accuracy" in results

    def test_nothing_is_built_again_until_an_input_changes(
        self, root: Path, html: Path, capsys: pytest.CaptureFixture
    ) -> None:
        before = (html / "index.html").stat().st_mtime_ns
        build_book(sources(root), root=root)
        assert "book: up to date" in capsys.readouterr().out
        assert (html / "index.html").stat().st_mtime_ns == before

    def test_a_warning_fails_the_build_and_leaves_the_old_book(self, root: Path, html: Path) -> None:
        page = root / "book" / "howto.md"
        text = page.read_text(encoding="utf-8")
        page.write_text(text + "\n[nowhere](no-such-page.md)\n", encoding="utf-8")
        try:
            with pytest.raises(BookFailed, match="no-such-page"):
                build_book(sources(root), root=root)
        finally:
            page.write_text(text, encoding="utf-8")
        assert (html / "index.html").is_file()

    def test_profiles_without_records_or_notebooks_are_refused(self, root: Path) -> None:
        with pytest.raises(InputError, match="run 'meddef reproduce' first"):
            build_book({}, root=root)
        write_run(root / "elsewhere", "bare", small_run("phantom_oct"))
        with pytest.raises(InputError, match="profile 'bare' has no executed notebooks"):
            build_book({"bare": root / "elsewhere"}, root=root)

    def test_a_figure_is_published_with_its_numbers_and_origin(self, root: Path) -> None:
        stale = root / "figures" / "smoke" / "99_gone.svg"
        stale.parent.mkdir(parents=True)
        stale.write_text(SVG)
        written = publish_figures({"smoke": root / "results"}, root=root)
        name = root / "figures" / "smoke" / "05_epsilon_curves_small"
        paths = [path for path in written if path.parent == name.parent]
        assert {path.parent.name for path in written} == {"pages", "smoke"}
        assert paths == [Path(f"{name}.{ending}") for ending in ("svg", "csv", "json")]
        assert [path.read_text(encoding="utf-8") for path in paths[:2]] == [SVG, "n\n8\n"]
        said = json.loads(paths[2].read_text(encoding="utf-8"))
        assert said["command"] == "meddef reproduce --profile smoke --only epsilon"
        assert said["alt"] == "Curves of a test."
        assert not stale.exists()
