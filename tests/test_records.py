"""The record store: whole or not at all, damage found, exports that do not change."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from meddef.errors import InputError
from meddef.records import CellResult, RecordStore, attack_frame, load_provenance, load_records

RECORD = {"kind": "attack", "n": 10, "correct_before": 8, "correct_after": 3, "flipped": 6, "eps": 0.05}


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    store = RecordStore(tmp_path / "smoke")
    store.put(CellResult("b" * 16, [RECORD], {"seconds": 1.0}))
    store.put(CellResult("a" * 16, [{**RECORD, "eps": 0.1}], {"seconds": 2.0}))
    return store


def test_what_was_put_comes_back(store: RecordStore) -> None:
    assert store.get("b" * 16) == CellResult("b" * 16, [RECORD], {"seconds": 1.0})
    assert store.get("c" * 16) is None


@pytest.mark.fault(
    "a cell's file is emptied, truncated or edited",
    "the cell counts as missing and is recomputed",
    says="is damaged",
)
@pytest.mark.parametrize("damage", ["", "{", '{"sha256": "x"}', "EDIT"])
def test_a_damaged_cell_counts_as_missing_and_is_named(
    store: RecordStore, damage: str, caplog: pytest.LogCaptureFixture, says: str
) -> None:
    path = store.cells / f"{'b' * 16}.json"
    text = path.read_text()
    path.write_text(text.replace('"flipped": 6', '"flipped": 5') if damage == "EDIT" else damage)
    assert store.get("b" * 16) is None
    assert says in caplog.text


@pytest.mark.fault(
    "two files of cells are exchanged, or one is copied over another",
    "a file names its cell; neither is believed, both are computed again",
    says="it is the file of cell",
)
def test_a_cell_under_another_s_name_is_not_believed(
    store: RecordStore, caplog: pytest.LogCaptureFixture, says: str
) -> None:
    (store.cells / f"{'a' * 16}.json").replace(store.cells / f"{'b' * 16}.json")
    assert store.get("b" * 16) is None
    assert says in caplog.text


def test_a_cell_that_an_earlier_version_wrote_is_read_under_its_own_key_only(store: RecordStore) -> None:
    """It named no key; what it says of its cell is what the key was made from."""
    cell = {"kind": "attack", "dataset": "d", "settings": {"eps": 0.05}, "needs": None}
    key = hashlib.sha256(json.dumps(cell, sort_keys=True).encode()).hexdigest()[:16]
    body = {"records": [RECORD], "provenance": {}, "cell": cell}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    for name in (key, "c" * 16):
        (store.cells / f"{name}.json").write_text(json.dumps({"sha256": digest, "body": body}))
    assert store.get(key) == CellResult(key, [RECORD], {}, cell)
    assert store.get("c" * 16) is None


def test_export_is_sorted_and_stable(store: RecordStore) -> None:
    keys = ["b" * 16, "a" * 16, "c" * 16]
    records = store.export(keys)
    first = (store.folder / "records.jsonl").read_bytes()
    store.export(reversed(keys))
    assert (store.folder / "records.jsonl").read_bytes() == first
    assert [r["key"] for r in records] == ["a" * 16, "b" * 16]
    assert load_records(store.folder.parent, "smoke", kind="attack") == records
    assert load_records(store.folder.parent, "smoke", kind="train") == []
    assert [p["seconds"] for p in load_provenance(store.folder.parent, "smoke")] == [2.0, 1.0]


def test_circumstances_are_written_once_and_read_back_with_each_cell(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "smoke")
    here, there = {"commit": "1", "hardware": {"gpu": None}}, {"commit": "1", "hardware": {"gpu": "H100"}}
    given = {
        "a": {**here, "seconds": 1.0},
        "b": {**there, "seconds": 2.0, "weights": "f"},
        "c": {**here, "seconds": 3.0},
    }
    for key, circumstances in given.items():
        store.put(CellResult(key, [{"kind": "attack"}], circumstances))
    store.export(given)
    text = (tmp_path / "smoke" / "provenance.jsonl").read_text()
    assert [text.count(word) for word in ("commit", "H100", "null", "weights")] == [2, 1, 1, 1]
    assert {row.pop("key"): row for row in load_provenance(tmp_path, "smoke")} == given
    again = RecordStore(tmp_path / "again" / "smoke")
    assert again.adopt(tmp_path / "smoke") == 3
    again.export(given)
    assert (tmp_path / "again" / "smoke" / "provenance.jsonl").read_text() == text


def test_no_temporary_file_is_left(store: RecordStore) -> None:
    assert sorted(path.name for path in store.cells.iterdir()) == [f"{'a' * 16}.json", f"{'b' * 16}.json"]


def test_missing_and_broken_exports_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run 'meddef reproduce --profile cpu' first"):
        load_records(tmp_path, "cpu")
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "records.jsonl").write_text(json.dumps(RECORD) + "\n{broken\n")
    with pytest.raises(InputError, match="line 2 is not JSON"):
        load_records(tmp_path, "cpu")


def test_frame_has_rates_by_hand() -> None:
    frame = attack_frame([RECORD, {"kind": "train"}])
    assert len(frame) == 1
    row = frame.iloc[0]
    assert (row.clean, row.robust, row.asr) == (0.8, 0.3, 0.75)
    assert row.asr_low < 0.75 < row.asr_high


def test_an_export_can_be_adopted(tmp_path: Path) -> None:
    first = RecordStore(tmp_path / "first" / "p")
    result = CellResult("a" * 16, [{"kind": "train", "n": 1}, {"kind": "train", "n": 2}], {"seconds": 1.0})
    first.put(result)
    first.put(CellResult("b" * 16, [{"kind": "data"}], {"seconds": 2.0}))
    first.export(["a" * 16])
    second = RecordStore(tmp_path / "second" / "p")
    assert second.adopt(first.folder) == 1
    assert second.get("a" * 16) == result
    assert second.get("b" * 16) is None
    assert second.adopt(first.folder) == 0
    with pytest.raises(InputError, match="no records"):
        second.adopt(tmp_path)


COUNTED = {
    "kind": "attack", "n": 4, "correct_before": 3, "correct_after": 1, "flipped": 2, "classes": ["a", "b"],
    "labels": "0110", "before": "0111", "after": "0001",
}  # fmt: skip


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two cells of a profile, exported."""
    store = RecordStore(tmp_path / "p")
    store.put(CellResult("a" * 16, [COUNTED], {"seconds": 1.0}))
    store.put(CellResult("b" * 16, [{**COUNTED, "eps": 0.1}], {"seconds": 2.0}))
    store.export(["a" * 16, "b" * 16])
    return tmp_path / "p"


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    return lambda path: path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def edit(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


@pytest.mark.fault(
    "exported records are edited, doubled, cut or exchanged with those of another profile",
    "the book and --adopt refuse the file in one line",
    says="restore the file or reproduce it",
)
@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            edit('"correct_after": 1', '"correct_after": 2'),
            "correct_after is 2, and the predictions beside it make 1",
        ),
        (edit('"n": 4', '"n": 40'), "n is 40, and labels are of 4 images"),
        (edit('"before": "0111"', '"before": "0121"'), "it holds the class 2, and there are 2 classes"),
        (edit('"labels": "0110"', '"labels": 1'), "it has another form than records of its kind"),
        (edit('"kind": "attack"', '"kind": null'), "it is no record"),
        (lines(lambda rows: [*rows, rows[-1]]), "line 3: it is there twice"),
        (lines(lambda rows: rows[:1]), "cell bbbbbbbbbbbbbbbb is only in one of it"),
        (lines(lambda rows: []), "cell aaaaaaaaaaaaaaaa is only in one of it"),
        (lambda path: path.write_bytes(b"\xff" + path.read_bytes()), "byte 0 is no text in UTF-8"),
        (lambda path: path.write_text("[]\n"), "line 1 is no record"),
    ],
)
def test_an_edited_export_is_refused(
    export: Path, change: Callable[[Path], object], why: str, checksums: bool, says: str
) -> None:
    if not checksums:  # as earlier versions wrote it
        lines(lambda rows: rows[1:])(export / "provenance.jsonl")
    assert len(load_records(export.parent, "p")) == 2
    change(export / "records.jsonl")
    for read in (
        lambda: load_records(export.parent, "p"),
        lambda: RecordStore(export.parent / "q").adopt(export),
    ):
        with pytest.raises(InputError, match=why) as refused:
            read()
        assert says in str(refused.value)


def test_an_export_is_that_of_its_profile_and_whole(export: Path) -> None:
    other = export.with_name("other")
    shutil.copytree(export, other)
    with pytest.raises(InputError, match="it is of profile 'p'"):
        load_records(export.parent, "other")
    edit('"eps": 0.1', '"eps": 0.2')(export / "records.jsonl")
    with pytest.raises(InputError, match="its checksum is not that in"):
        load_records(export.parent, "p")
    edit("2.0", "3.0")(export / "provenance.jsonl")
    with pytest.raises(InputError, match="its checksum differs"):
        load_provenance(export.parent, "p")


def test_cells_written_in_a_burst_are_forced_to_the_disk_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may empty the last ones of a burst, which are then missing; one that took long is safe at once."""
    synced: list[int] = []
    now = [100.0]
    monkeypatch.setattr("os.fsync", synced.append)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    store = RecordStore(tmp_path)
    for number, passed in enumerate((0.0, 0.1, 0.2, 1.0, 0.1, 3600.0)):
        now[0] += passed
        store.put(CellResult(f"{number:016}", [], {}))
    assert len(synced) == 3
    (tmp_path / "cells" / f"{1:016}.json").write_bytes(b"")
    keys = store.keys()
    assert [store.get(key) is None for key in keys] == [False, True, False, False, False, False]
