"""Files of a published figure: image, numbers and provenance; and its code."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from meddef.atomic import write_text
from meddef.figures.drawing import MIME, SvgFigure
from meddef.figures.origin import code_anchor, details

ENDINGS = ("svg", "csv", "json")


def described(content: Mapping[str, Any], *, stem: str, section: str, alt: str) -> dict[str, Any]:
    """The JSON of a figure: the notebook's ``content`` without its numbers, and its place.

    Args:
        content: of ``SvgFigure.content``.
        stem, section: the notebook's file name without ending, and its section.
        alt: the alternative text.
    """
    origin, function = content["origin"], content["function"]
    profile = origin["profile"]
    said = [
        value if isinstance(value, str) else f"{value:g}" for _, value in sorted(content["arguments"].items())
    ]
    data = " --data-dir DATA" if content["real"] else ""
    return {
        "name": "_".join([stem, function.rpartition(".")[2], *said]),
        "alt": alt,
        "function": function,
        "arguments": dict(content["arguments"]),
        "notebook": f"notebooks/{stem}.ipynb",
        "command": content.get("command") or f"meddef reproduce --profile {profile} --only {section}{data}",
        "draw": f"meddef book --profile {profile} --section {section}",
        **origin,
    }


def explain(notebook: NotebookNode, *, stem: str, section: str) -> None:
    """Add the provenance below each figure of an executed notebook."""
    for cell, output in _figures(notebook):
        figure = described(output.data[MIME], stem=stem, section=section, alt=alt_text(cell))
        address = f"../../_sources/notebooks/{figure['profile']}/{stem}.ipynb"
        html = details(figure, output.data[MIME]["numbers"], notebook=address)
        place = cell.outputs.index(output) + 1
        cell.outputs.insert(
            place, new_output("display_data", {"text/html": html, "text/plain": "its origin"})
        )


def below(figure: SvgFigure, *, stem: str, section: str, alt: str) -> str:
    """The provenance of a notebook's figure also shown on a top-level page; empty without numbers."""
    content = figure.content()
    if content is None:
        return ""
    return details(described(content, stem=stem, section=section, alt=alt), content["numbers"], root="")


def forget(notebook: NotebookNode) -> None:
    """Remove numbers and provenance from the figures of a notebook that is not published."""
    for _, output in _figures(notebook):
        del output.data[MIME]


def _figures(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, NotebookNode]]:
    """Each cell with a figure that shows numbers, and its output."""
    for cell in notebook.cells:
        for output in list(cell.get("outputs", [])):
            if MIME in output.get("data", {}):
                yield cell, output


def alt_text(cell: NotebookNode) -> str:
    """The alternative text of the cell's picture; empty if missing."""
    return str(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", ""))


def publish(notebook: NotebookNode, folder: Path, *, stem: str, section: str) -> list[Path]:
    """Write ``<folder>/<name>.svg``, ``.csv`` and ``.json`` for each figure of an executed notebook."""
    written = []
    for cell, output in _figures(notebook):
        figure = described(output.data[MIME], stem=stem, section=section, alt=alt_text(cell))
        texts = {
            "svg": output.data["image/svg+xml"],
            "csv": output.data[MIME]["numbers"],
            "json": json.dumps(figure, indent=1, ensure_ascii=False) + "\n",
        }
        for ending in ENDINGS:
            path = folder / f"{figure['name']}.{ending}"
            write_text(path, texts[ending])
            written.append(path)
    return written


def code_page() -> dict[str, str]:
    """File name -> content for ``book/_generated/``: the source of every function that draws, one heading each."""
    parts = []
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and "styled" in [
                ast.unparse(d) for d in node.decorator_list
            ]:
                anchor = code_anchor(f"{module}.{node.name}")
                source = ast.get_source_segment(text, node)
                parts.append(f'<div id="{anchor}"></div>\n\n## {anchor}\n\n```python\n{source}\n```\n')
    return {"figures_code.md": "\n".join(parts)}
