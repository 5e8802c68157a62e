"""The outputs in the how-to, printed again: ``python tests/howto_outputs.py`` writes them into the page.

A ``text`` block shows what the last command of the ``bash`` block before it prints, or its first lines. Numbers depend
on the processor; words do not, and ``tests/test_howto_outputs.py`` compares them.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from data_folders import picture, save

PAGE = Path(__file__).resolve().parents[1] / "book" / "howto.md"
FENCE = re.compile(r"(?ms)^```(\w+)\n(.*?)^```$")
CLASSES = ("NORMAL", "PNEUMONIA")
SIZES = {"train": 120, "val": 40, "test": 60}
PYTHON_FILES = {"my_models.py": "def small_net", "my_attacks.py": "def brighter"}


@dataclass(frozen=True)
class Example:
    """Commands of one ``bash`` block, and where in the page the output of its last one stands."""

    commands: list[list[str]]
    shown: str
    start: int
    end: int


def examples(page: str) -> list[Example]:
    """The ``bash`` blocks that the next block shows the output of, in the order of the page."""
    blocks = list(FENCE.finditer(page))
    found = []
    for before, after in pairwise(blocks):
        if before[1] == "bash" and after[1] == "text":
            lines = before[2].replace("\\\n", " ").splitlines()
            commands = [shlex.split(line, comments=True) for line in lines]
            found.append(Example(commands, after[2], after.start(2), after.end(2)))
    return found


def write_files(page: str, folder: Path) -> None:
    """What the commands name: own code from the page's blocks, and smooth noise as one's own images."""
    code = [block[2] for block in FENCE.finditer(page) if block[1] == "python"]
    for name, line in PYTHON_FILES.items():
        (folder / name).write_text(next(block for block in code if line in block), encoding="utf-8")
    rows = []
    for split, count in SIZES.items():
        for number in range(count):
            label = CLASSES[number % 2]
            image = picture(len(rows), 64, 64) // 2 + 16 * (number % 2)  # the second class is brighter
            path = Path("my_images", split, label, f"{number:03}.png")
            save(image, folder / path)
            rows.append((path, label, f"{split}{number // 2}", split))
    save(image, folder / "x.png")
    with (folder / "my_images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "patient", "split"), *rows])


def run(command: list[str], folder: Path) -> str:
    """What a command prints, its error lines last."""
    environment = os.environ | {"MEDDEF_CACHE_DIR": str(folder / "cache"), "COLUMNS": "130"}
    program = [sys.executable, "-c", "from meddef.cli import main; main()"]  # as the script "meddef"
    done = subprocess.run(
        [*program, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    lines = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
    return lines + "".join(line for line in done.stderr.splitlines(True) if line.startswith("meddef: "))


def printed(page: str, folder: Path) -> list[tuple[Example, str]]:
    """Each example with what its last command prints now, as much of it as the page shows."""
    write_files(page, folder)
    found = []
    for example in examples(page):
        for command in example.commands[:-1]:
            if "train" in command:  # what the last one needs
                run(command, folder)
        text = run(example.commands[-1], folder)
        lines = text.splitlines(True)
        whole = words(text).startswith(words(example.shown)) and len(words(text)) > len(words(example.shown))
        found.append((example, "".join(lines[: len(example.shown.splitlines())]) if whole else text))
    return found


def words(text: str) -> str:
    """The text without what depends on the processor (numbers, predicted classes), rules and spacing."""
    return re.sub(r"[\s─#]+", " ", re.sub(r"[-+]?\d[\d,.]*(e-?\d+)?|–|NORMAL|PNEUMONIA", "#", text)).strip()


def main() -> None:
    """Write today's outputs into the page."""
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for example, text in reversed(printed(page, Path(folder))):
            page = page[: example.start] + text + page[example.end :]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
