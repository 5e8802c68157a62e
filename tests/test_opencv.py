"""Other releases of OpenCV and other processors draw and prepare the same images, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rerun import AS_AVX2

ROOT = Path(__file__).parents[1]
OLDER = ROOT / ".opencv"


def computed(**environment: str) -> dict[str, str]:
    """The output of ``opencv_digests`` in a separate process."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "opencv_digests.py"],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    return computed(PYTHONPATH=str(ROOT))


def test_an_older_opencv_makes_the_same_images(here: dict[str, str]) -> None:
    if not (OLDER / ".ready").is_file():
        pytest.skip("no older OpenCV in .opencv: 'make .opencv/.ready' installs it")
    older = computed(PYTHONPATH=os.pathsep.join((str(ROOT), str(OLDER))))
    assert older.pop("OpenCV") == "4.10.0"
    assert older == {name: digest for name, digest in here.items() if name != "OpenCV"}
    assert here["OpenCV"] != "4.10.0"


def test_avx2_makes_the_same_images(here: dict[str, str]) -> None:
    """It is what runs here too where the processor has no AVX-512."""
    assert computed(PYTHONPATH=str(ROOT), **AS_AVX2) == here
