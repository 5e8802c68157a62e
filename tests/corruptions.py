"""What can happen to a file: thirteen corruptions, and what a command makes of each."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from meddef.records import _digest

Corruption = Callable[[Path, Path], object]
"""Of a file, and of a file of its kind that belongs to something else."""


def flip(place: float) -> Corruption:
    def change(path: Path, sibling: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return change


def edit(path: Path, sibling: Path) -> None:
    """One digit more, behind the middle."""
    content = path.read_bytes()
    digit = re.compile(rb"[0-8]").search(content, len(content) // 2)
    assert digit is not None
    path.write_bytes(content[: digit.start()] + bytes([digit[0][0] + 1]) + content[digit.end() :])


def exchange(path: Path, sibling: Path) -> None:
    kept = path.read_bytes()
    path.write_bytes(sibling.read_bytes())
    sibling.write_bytes(kept)


def make_folder(path: Path, sibling: Path) -> None:
    path.unlink()
    path.mkdir()


def as_before(path: Path, sibling: Path) -> None:
    """The same, as it was written before there were names and checksums."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["header"])
        for name in ("sha256", "best"):
            header.pop(name, None)
        save_file(load_file(path), path, metadata={"header": json.dumps(header, sort_keys=True)})
    elif path.suffix == ".jsonl":
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '{"export": ' not in line))
    elif path.suffix in (".json", ".ipynb"):
        content = json.loads(path.read_text())
        if "body" in content:
            content["body"].pop("key")
            content["sha256"] = _digest(content["body"])
        else:
            content.pop("sha256", None)
            content.pop("key", None)
            content.get("metadata", {}).get("meddef", {}).pop("sha256", None)
        path.write_text(json.dumps(content))


CORRUPTIONS: dict[str, Corruption] = {
    "cut in half": lambda path, sibling: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path, sibling: path.write_bytes(b""),
    "first bit": flip(0),
    "bit at a third": flip(0.33),
    "bit at two thirds": flip(0.66),
    "last bit": flip(1),
    "digit edited": edit,
    "exchanged with a sibling": exchange,
    "a sibling copied over": lambda path, sibling: shutil.copy(sibling, path),
    "of an earlier version": as_before,
    "rubbish": lambda path, sibling: path.write_bytes(b"\xff\x00rubbish\n" * 30),
    "a folder in its place": make_folder,
    "missing": lambda path, sibling: path.unlink(),
}


def remove(path: Path) -> None:
    """What a message asks for."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
