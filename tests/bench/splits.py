"""What each way of splitting gives for the real images at hand: python -m tests.bench.splits --data-dir DATA.

Counts only, no name of a file: for the figure of class distributions, whose records hold one policy a profile.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meddef.atomic import write_text
from meddef.data import Preprocessing, load_splits
from meddef.data.policies import POLICIES
from meddef.evaluation.provenance import provenance

PLACE = Path(__file__).parents[2] / "results" / "bench" / "splits.json"
DATASETS = ("chest_xray", "octdl4")
SIZE = 32  # enough to decode every image and to find those that are the same


def rows(data_dir: Path) -> Iterator[dict[str, Any]]:
    """One row per dataset and policy."""
    with tempfile.TemporaryDirectory() as cache:
        for dataset in DATASETS:
            for policy in POLICIES:
                splits = load_splits(
                    dataset, image_size=SIZE, split_policy=policy, preprocessing=Preprocessing(),
                    data_dir=data_dir, cache_dir=Path(cache), skip_unreadable=True, progress=False,
                )  # fmt: skip
                found = splits.report
                yield {
                    "dataset": dataset,
                    "policy": policy,
                    "fingerprint": splits.fingerprint,
                    "counts": found["counts_before_removal"],
                    "removed_from_training": len(found["removed_from_training"]),
                    "duplicates_across": {
                        kind: d["groups_across"] for kind, d in found["duplicates"].items()
                    },
                    "patients": found["patients"]["patients"],
                    "patients_in_several_splits": found["patients"]["in_several_splits"],
                }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.splits")
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    started = time.perf_counter()
    found = list(rows(given.data_dir))
    content = {"provenance": provenance("cpu", time.perf_counter() - started), "rows": found}
    write_text(PLACE, json.dumps(content, indent=1) + "\n")
    print(f"written to {PLACE}")
