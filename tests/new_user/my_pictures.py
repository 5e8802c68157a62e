"""What a user has: folders of pictures, drawn here. Bright ones are called PNEUMONIA."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("NORMAL", "PNEUMONIA")
GREYS = (90, 165)


def picture(label: int, number: int) -> np.ndarray:
    """Noise around the grey of a class, uint8 (32, 32)."""
    noise = np.random.default_rng((label, number)).normal(GREYS[label], 20, (32, 32))
    return np.clip(noise, 0, 255).astype(np.uint8)


def folder(place: str, each: int = 6) -> None:
    """PLACE/CLASS/number.png."""
    for label, name in enumerate(CLASSES):
        (Path(place) / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(picture(label, number)).save(Path(place) / name / f"{number}.png")
