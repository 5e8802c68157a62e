"""Sizes, colour modes and brightness of the image files at hand: python -m tests.bench.image_files --data-dir DATA.

Counts and ranges only, no name of a file: for claims of the paper about its image files.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from meddef.atomic import write_text
from meddef.data.decode import FORMATS, quiet_decoding, read_grey
from meddef.evaluation.provenance import provenance

PLACE = Path(__file__).parents[2] / "results" / "bench" / "image_files.json"
DATASETS = ("chest_xray", "roct")
PERCENTILES = (5, 50, 95)


def rows(data_dir: Path) -> Iterator[dict[str, Any]]:
    """One row a dataset that is there; brightness is each file's mean grey, contrast its standard deviation, in [0, 1]."""
    for dataset in DATASETS:
        paths = sorted(path for path in (data_dir / dataset).rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
        sizes, modes, brightness, contrast = [], Counter[str](), [], []
        for path in paths:
            with Image.open(path, formats=FORMATS) as image:
                sizes.append(image.size)
                modes[image.mode] += 1
            grey = read_grey(path) / 255
            brightness.append(float(grey.mean()))
            contrast.append(float(grey.std()))
        if paths:
            width, height = zip(*sizes, strict=True)
            yield {
                "dataset": dataset,
                "files": len(paths),
                "width": [min(width), max(width)],
                "height": [min(height), max(height)],
                "modes": dict(modes.most_common()),
                "brightness": [round(float(v), 4) for v in np.percentile(brightness, PERCENTILES)],
                "contrast": [round(float(v), 4) for v in np.percentile(contrast, PERCENTILES)],
            }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.image_files")
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    started = time.perf_counter()
    with quiet_decoding():
        found = list(rows(given.data_dir))
    content = {"provenance": provenance("cpu", time.perf_counter() - started), "rows": found}
    write_text(PLACE, json.dumps(content, indent=1) + "\n")
    print(f"written to {PLACE}")
