"""What a page of the finished book may load: its own files, whoever's words are on it.

The book is read from a folder or a server and needs no network. Inline scripts and styles are Jupyter Book's own;
``wasm-unsafe-eval`` and ``blob:`` are for the playground's models. Source: W3C, Content Security Policy Level 3.
"""

from __future__ import annotations

import re
from pathlib import Path

_OWN = "'self' file:"  # file: for browsers to which a page opened as a file has no origin of its own
RULES = {
    "default-src": "'none'",
    "script-src": f"{_OWN} blob: 'unsafe-inline' 'wasm-unsafe-eval'",
    "style-src": f"{_OWN} 'unsafe-inline'",
    "img-src": f"{_OWN} data: blob:",
    "font-src": f"{_OWN} data:",
    "connect-src": f"{_OWN} data: blob:",
    "worker-src": f"{_OWN} blob:",
    "base-uri": "'none'",
    "form-action": _OWN,
}
POLICY = "; ".join(f"{name} {sources}" for name, sources in RULES.items())
_HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)
_META = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'


def protect_pages(folder: Path) -> None:
    """Put the policy into every page under ``folder``, in place; a theme's templates among them are no pages."""
    for page in folder.rglob("*.html"):
        page.write_text(protected(page.read_text(encoding="utf-8")), encoding="utf-8")


def protected(html: str) -> str:
    """``html`` with the policy first in its head; unchanged if it has none."""
    return _HEAD.sub(lambda head: head[0] + _META, html, count=1)
