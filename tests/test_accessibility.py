"""Accessibility of every page of the finished book, by axe-core in Chromium, in both themes; and nothing overflows.

``MEDDEF_BUILT_BOOK`` names the ``html`` folder of the book (``make test`` builds it); the check itself is tried on a
page with faults.
"""

import os
from pathlib import Path

import pytest
from browser import CHROMIUM, axe_source, check_pages

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
SKIP: tuple[str, ...] = ()
SOURCES = 5  # pages of source code that are checked

FAULTY = """<!doctype html><html lang="en"><head><title>faults</title><link rel="icon" href="data:,"></head><body><main>
<h1>One</h1><h3>Three</h3><img src="data:,"><p style="color: #999; background: #fff">pale</p>
<div class="meddef-scroll" style="overflow-x: auto" tabindex="0"><div style="width: 3000px">wide</div></div>
</main></body></html>"""
SOUND = """<!doctype html><html lang="en"><head><title>sound</title><link rel="icon" href="data:,"></head><body><main>
<h1>One</h1><h2>Two</h2><p>dark on light</p></main></body></html>"""


def test_the_check_sees_planted_faults_and_passes_a_sound_page(tmp_path: Path) -> None:
    (tmp_path / "faulty.html").write_text(FAULTY)
    (tmp_path / "sound.html").write_text(SOUND)
    found = check_pages(tmp_path, ["faulty.html", "sound.html"], axe_source())
    text = "\n".join(found["faulty.html"])
    for fault in (
        "light: heading-order",
        "light: image-alt",
        "dark: color-contrast",
        "1280 px: 'wide' is 3000 px",
    ):
        assert fault in text
    assert found["sound.html"] == []


@pytest.mark.skipif("MEDDEF_BUILT_BOOK" not in os.environ, reason="MEDDEF_BUILT_BOOK names no finished book")
def test_every_page_is_accessible_and_fits_a_laptop_and_a_telephone() -> None:
    book = Path(os.environ["MEDDEF_BUILT_BOOK"])
    pages = sorted(
        page.relative_to(book).as_posix()
        for page in book.rglob("*.html")
        if "_static" not in page.relative_to(book).parts and page.name not in ("genindex.html", "search.html")
    )
    assert "index.html" in pages
    sources = [page for page in pages if page.startswith("_modules/")]  # of one template: some stand for all
    pages = [page for page in pages if page not in sources[SOURCES:]]
    found = check_pages(book, pages, axe_source(), skip=SKIP)
    assert {page: faults for page, faults in found.items() if faults} == {}
