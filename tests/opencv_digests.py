"""Print what this OpenCV and this processor make of the same images: JSON, a name -> the start of a SHA-256.

The processor works as that of ``tests.rerun.AS_AVX2`` where the environment says so.
"""

import hashlib
import json
from collections.abc import Callable

import cv2
import numpy as np

from meddef.data.duplicates import thumbnail
from meddef.data.phantom import FAMILIES, draw_phantoms
from meddef.data.preprocessing import denoise, equalise, resize_area

SHAPES = ((1040, 1310), (448, 448), (97, 61), (28, 28))
STEPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "resized to 64": lambda image: resize_area(image, 64, keep_aspect=True),
    "resized to 224": lambda image: resize_area(image, 224, keep_aspect=False),
    "non-local means": lambda image: denoise(resize_area(image, 64, keep_aspect=True), "nl_means", 3),
    "median": lambda image: denoise(resize_area(image, 64, keep_aspect=True), "median", 3),
    "CLAHE": lambda image: equalise(resize_area(image, 64, keep_aspect=True), 2.0, 8),
    "thumbnail": thumbnail,
}
"""Without the bilateral filter, whose docstring says that releases differ."""


def digests() -> dict[str, str]:
    """Of phantoms of each family at two sizes, and of each step on images of every shape."""
    drawn = {
        f"{family} at {size}": [draw_phantoms(family, 44, size=size).images]
        for family in FAMILIES
        for size in (32, 64)
    }
    images = [_image(*shape) for shape in SHAPES]
    stepped = {name: [step(image) for image in images] for name, step in STEPS.items()}
    return {name: _digest(arrays) for name, arrays in {**drawn, **stepped}.items()}


def _image(height: int, width: int) -> np.ndarray:
    """Plateaus with noise, uint8 (height, width)."""
    rng = np.random.default_rng([height, width])
    plateaus = np.kron(rng.random((height // 8 + 1, width // 8 + 1)), np.ones((8, 8)))[:height, :width]
    return np.rint(np.clip(255 * plateaus + rng.normal(0, 12, (height, width)), 0, 255)).astype(np.uint8)


def _digest(arrays: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


if __name__ == "__main__":
    print(json.dumps({"OpenCV": cv2.__version__, **digests()}))
