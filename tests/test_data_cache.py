"""The cache: what it reuses, what makes it stale, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import make_chest, make_pool, picture, save

from meddef.data import Preprocessing, Splits, load_splits, source_folder
from meddef.data import file_digests as digests_module
from meddef.errors import InputError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_chest(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load(data: Path, cache: Path, **options: object) -> Splits:
    given = {
        "image_size": 32,
        "preprocessing": Preprocessing(),
        "progress": False,
        "split_policy": "released",
    }
    return load_splits("chest_xray", data_dir=data, cache_dir=cache, **{**given, **options})  # type: ignore[arg-type]


def pools(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*.npy"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path that is decoded from here on."""
    seen: list[Path] = []
    read = source_folder.read_image
    monkeypatch.setattr(
        source_folder, "read_image", lambda path, *rest: (seen.append(path), read(path, *rest))[1]
    )
    return seen


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path whose bytes are hashed from here on."""
    seen: list[Path] = []
    digest = digests_module._digest
    monkeypatch.setattr(digests_module, "_digest", lambda path: (seen.append(path), digest(path))[1])
    return seen


def test_second_load_reads_no_image(data: Path, cache: Path, decoded: list[Path], hashed: list[Path]) -> None:
    first = load(data, cache)
    assert len(decoded) == len(hashed) == 24
    second = load(data, cache)
    assert len(decoded) == len(hashed) == 24
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.train.images, first.train.images)
    assert isinstance(second.train.images, np.memmap)
    assert not second.train.images.flags.writeable


def test_policies_and_seeds_share_one_pool(data: Path, cache: Path, decoded: list[Path]) -> None:
    prints = {load(data, cache, split_policy="paper", seed=seed).fingerprint for seed in range(3)}
    assert len(prints) == 3
    load(data, cache, split_policy="patient")
    assert len(decoded) == 24
    assert len(pools(cache)) == 1


def test_touched_and_moved_files_are_the_same_data(data: Path, cache: Path, decoded: list[Path]) -> None:
    first = load(data, cache)
    for path in data.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    assert load(data, cache).fingerprint == first.fingerprint
    moved = shutil.move(data, data.parent / "elsewhere")
    assert load(moved, cache).fingerprint == first.fingerprint
    assert len(decoded) == 24
    assert load(moved, cache.parent / "other cache").fingerprint == first.fingerprint


def test_a_changed_file_is_prepared_again(data: Path, cache: Path, hashed: list[Path]) -> None:
    first = load(data, cache)
    changed = save(picture(500), data / "chest_xray/train/NORMAL/IM-0000-0000.png")
    hashed.clear()
    second = load(data, cache)
    assert hashed == [changed]
    assert second.fingerprint != first.fingerprint
    np.testing.assert_array_equal(second.train.images[0], Preprocessing().apply(picture(500), 32))


@pytest.mark.parametrize("options", [{"image_size": 40}, {"preprocessing": Preprocessing(brightness=1.5)}])
def test_other_settings_are_another_pool(data: Path, cache: Path, options: dict[str, object]) -> None:
    first = load(data, cache)
    assert load(data, cache, **options).fingerprint != first.fingerprint
    assert len(pools(cache)) == 2


def test_renamed_patient_is_another_pool(data: Path, cache: Path) -> None:
    load(data, cache)
    folder = data / "chest_xray/train/NORMAL"
    (folder / "IM-0000-0000.png").rename(folder / "IM-0500-0000.png")
    assert "IM-0500" in load(data, cache).train.patients


def edit(index: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))


def rows(stored: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(stored, change(np.load(stored)))


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "npy cut": lambda npy, index: npy.write_bytes(npy.read_bytes()[:3000]),
    "npy noise": lambda npy, index: npy.write_bytes(b"noise"),
    "npy empty": lambda npy, index: npy.write_bytes(b""),
    "fewer rows": lambda npy, index: rows(npy, lambda images: images[:5]),
    "one bit of a pixel": lambda npy, index: npy.write_bytes(
        npy.read_bytes()[:-1] + bytes([npy.read_bytes()[-1] ^ 1])
    ),
    "inverted": lambda npy, index: rows(npy, lambda images: 255 - images),
    "rows reversed": lambda npy, index: rows(npy, lambda images: images[::-1]),
    "a hole": lambda npy, index: rows(npy, np.zeros_like),
    "npy missing": lambda npy, index: npy.unlink(),
    "json cut": lambda npy, index: index.write_text(index.read_text()[:100]),
    "a list": lambda npy, index: index.write_text("[]"),
    "labels": lambda npy, index: edit(index, lambda content: content["labels"].reverse()),
    "splits": lambda npy, index: edit(index, lambda content: content["splits"].sort()),
    "sums": lambda npy, index: edit(index, lambda content: content["sums"].sort()),
}


@pytest.mark.fault(
    "the cache of prepared images: a bit, rows, labels, splits or a whole file changed",
    "each image and what is known of it has a checksum; the images are prepared again and are the same",
    says="preparing again",
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pool_is_made_again(
    data: Path, cache: Path, damage: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = load(data, cache)
    stored = cache / pools(cache)[0]
    whole = np.load(stored), stored.with_suffix(".json").read_bytes()
    DAMAGES[damage](stored, stored.with_suffix(".json"))
    assert load(data, cache).fingerprint == first.fingerprint
    assert says in caplog.text
    np.testing.assert_array_equal(np.load(stored), whole[0])
    assert stored.with_suffix(".json").read_bytes() == whole[1]


def test_a_pool_of_an_earlier_version_is_read(data: Path, cache: Path, decoded: list[Path]) -> None:
    first = load(data, cache)
    (index,) = cache.glob("chest_xray-*.json")
    edit(index, lambda content: content.pop("sha256"))
    assert load(data, cache).fingerprint == first.fingerprint
    assert len(decoded) == 24


def test_a_damaged_memory_of_digests_costs_only_time(data: Path, cache: Path) -> None:
    first = load(data, cache)
    for damage in (b"{", b"[]", b'{"a": 1}', b"\xff"):
        for memory in cache.glob("files-*.json"):
            memory.write_bytes(damage)
        assert load(data, cache).fingerprint == first.fingerprint


SLOW_POOL = """
import sys, time
from pathlib import Path
from data_folders import make_pool
from meddef.data import source_folder
read, decoded = source_folder.read_image, []
source_folder.read_image = lambda path, *rest: (time.sleep(0.2), decoded.append(path), read(path, *rest))[2]
make_pool(Path(sys.argv[1]), Path(sys.argv[2]))
print(len(decoded))
"""


def start_slow_pool(data: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW_POOL, str(data), str(cache)]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_leaves_nothing_that_counts(data: Path, cache: Path) -> None:
    child = start_slow_pool(data, cache)
    deadline = time.monotonic() + 60
    while not list(cache.glob(".*.npy.*")):
        assert time.monotonic() < deadline, "the child never began to write"
        assert child.poll() is None, "the child ended before it was killed"
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert pools(cache) == []
    after = make_pool(data, cache)
    assert list(cache.glob(".*")) == []  # the half-written file is gone
    assert after.index == make_pool(data, cache.parent / "fresh").index
    np.testing.assert_array_equal(after.images, make_pool(data, cache.parent / "fresh").images)


def test_two_processes_at_once_prepare_once(data: Path, cache: Path) -> None:
    both = [start_slow_pool(data, cache) for _ in range(2)]
    printed = [child.communicate(timeout=120)[0] for child in both]
    assert [child.returncode for child in both] == [0, 0]
    assert sorted(printed) == ["0\n", "24\n"]  # one decoded everything, the other waited and decoded nothing


def test_cache_folder_that_cannot_be(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot make the cache folder .*; set MEDDEF_CACHE_DIR"):
        load(data, tmp_path / "file" / "cache")


def test_full_disk_is_named(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(data)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"the cache needs .* MB free; make room or set MEDDEF_CACHE_DIR"):
        load(data, cache)
    assert pools(cache) == []
