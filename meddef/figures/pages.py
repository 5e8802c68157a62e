"""A figure of a page without notebook: its files, and its display."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meddef.figures.drawing import SvgFigure
from meddef.figures.origin import circumstances, details
from meddef.records import Record

PACKAGE = Path(__file__).parents[1]


def digests(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Path of each file from ``root`` -> SHA-256 of what it holds, in hexadecimal digits."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def printed(*names: str) -> dict[str, str]:
    """``digests`` of files with what the paper prints: "epsilon_table.csv", "protocol.yaml"."""
    return digests(PACKAGE.parent, [PACKAGE / "paper" / name for name in names])


@dataclass(frozen=True)
class Source:
    """Provenance of a figure: the digest of each file, the command that recreates it, and the provenance of the files'
    contents (none for the paper's numbers)."""

    files: dict[str, str]
    command: str
    provenance: list[Record] = field(default_factory=list)


@dataclass(frozen=True)
class PageFigure:
    """A drawn figure: file name without ending, page ("trust_laboratory"), provenance and alternative text."""

    figure: SvgFigure
    name: str
    page: str
    source: Source
    alt: str

    def content(self) -> dict[str, Any]:
        """The content of the JSON file."""
        return {
            "name": self.name,
            "alt": self.alt,
            "function": self.figure.function,
            "arguments": self.figure.arguments,
            "page": f"book/{self.page}.md",
            "command": self.source.command,
            "draw": "meddef book",
            "files": self.source.files,
            **circumstances(self.source.provenance),
        }

    def files(self) -> dict[str, str]:
        """File name -> content: picture, numbers and origin. Raises ValueError where the figure has no numbers."""
        return {
            f"{self.name}.svg": self.figure.svg(),
            f"{self.name}.csv": self.figure.csv(),
            f"{self.name}.json": json.dumps(self.content(), indent=1, ensure_ascii=False) + "\n",
        }

    def shown(self) -> str:
        """The image in Markdown, with its provenance folded below."""
        picture = f":::{{image}} _generated/{self.name}.svg\n:alt: {self.alt}\n:::"
        return f"::::{{div}} meddef-scroll\n{picture}\n::::\n\n{details(self.content(), self.figure.csv(), root='')}"
