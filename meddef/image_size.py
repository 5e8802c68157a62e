"""The size of prepared images: one side of a square, or height and width."""

from __future__ import annotations

from collections.abc import Sequence

from meddef.errors import InputError

Size = int | Sequence[int]


def sides(size: Size) -> tuple[int, int]:
    """Height and width in pixels."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)


def simplest(size: Size) -> int | list[int]:
    """A square as its side, so that [64, 64] and 64 are one thing; else [height, width], as JSON has it."""
    height, width = sides(size)
    return height if height == width else [height, width]


def area(size: Size) -> int:
    """Pixels of an image."""
    height, width = sides(size)
    return height * width


def px(size: Size) -> str:
    """ "64 px", or "192 x 256 px" (height x width)."""
    size = simplest(size)
    return f"{size if isinstance(size, int) else ' x '.join(map(str, size))} px"


def parse_size(text: str) -> Size:
    """A size as people write it: "224", or height x width: "192x256"; ``InputError`` for anything else, or below 28."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--image-size '{text}' is neither a side nor height x width: write 224 or 192x256")
    numbers = [int(part) for part in parts]
    if min(numbers) < 28:
        raise InputError(f"--image-size {text}: sides must be at least 28 pixels")
    return simplest((numbers[0], numbers[-1]))
