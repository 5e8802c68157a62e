"""The whole book as one PDF: Jupyter Book's single page, printed by Chromium. Needs no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from meddef.book.build import run_builder
from meddef.errors import InputError, RunFailed

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE_LINK = re.compile(r'href="([\w./-]*?)([\w-]+(?:/[\w-]+)*)\.html(?:#[^"]*)?"')
TIMEOUT = 600


def print_book(root: Path) -> Path:
    """Print the pages that ``build_book`` has laid out into ``_build/meddef.pdf``; returns its path.

    Raises:
        InputError: no Chromium on the PATH.
        RunFailed: the page could not be built or printed; an older PDF is left as it was.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise InputError(
            "no Chromium to print with: apt-get install chromium, or print _build/html page by page"
        )
    folder = run_builder(root, "singlehtml")
    page = folder / "index.html"
    page.write_text(one_page(page.read_text(encoding="utf-8")), encoding="utf-8")
    target = root / "_build" / "meddef.pdf"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        printed = Path(scratch) / "book.pdf"
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
            f"--user-data-dir={scratch}/profile", "--no-pdf-header-footer", "--virtual-time-budget=60000",
            f"--print-to-pdf={printed}", page.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        if done.returncode or not printed.is_file():
            raise RunFailed(f"Chromium could not print {page}: {done.stderr[-2000:]}")
        shutil.move(printed, target)
    shutil.rmtree(folder.parents[1], ignore_errors=True)
    return target


def one_page(html: str) -> str:
    """``html`` with links between pages turned into links within the page, and light colours forced."""
    known = set(re.findall(r'id="document-([^"]+)"', html))

    def within(match: re.Match[str]) -> str:
        name = match[2]
        return f'href="#document-{name}"' if name in known else match[0]

    return PAGE_LINK.sub(within, html).replace('data-mode=""', 'data-mode="light" data-theme="light"')
