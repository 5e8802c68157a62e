"""The playground as a plain page, for tests that need no book around it."""

import shutil
from pathlib import Path

from meddef.playground.page import SOURCE, TARGET, publish_playground
from meddef.playground.runtime import NoRuntime, provide

ROOT = Path(__file__).resolve().parents[1]


def standing_alone(folder: Path) -> Path:
    """``folder``/html with ``playground.html``, what it loads, and its modules; ``NoRuntime`` without npm registry."""
    provide(ROOT / TARGET / "onnxruntime.js")  # kept there, so that it is downloaded once
    shutil.copytree(ROOT / SOURCE, folder / SOURCE)
    (folder / TARGET).mkdir(parents=True)
    shutil.copy(ROOT / TARGET / "onnxruntime.js", folder / TARGET)
    publish_playground(folder)
    html = folder / "html"
    shutil.copytree(folder / TARGET, html / "playground")
    shutil.copytree(folder / SOURCE, html / "modules")
    body = (folder / SOURCE / "playground.html").read_text(encoding="utf-8")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><body>{body}</body>'
    (html / "playground.html").write_text(page, encoding="utf-8")
    return html


__all__ = ["NoRuntime", "standing_alone"]
