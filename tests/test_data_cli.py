"""``meddef data``: what is printed, and the exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from data_folders import make_chest
from typer.testing import CliRunner

from meddef.commands.data import DATASETS, app
from meddef.data import CARDS
from meddef.errors import InputError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_chest(tmp_path / "data")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def on(data: Path) -> list[str]:
    return ["--dataset", "chest_xray", "--data-dir", str(data)]


def size_and_cache(data: Path) -> list[str]:
    return ["--image-size", "32", "--cache-dir", str(data.parent / "cache")]


def test_show_prints_counts_duplicates_and_patients(data: Path) -> None:
    root = data / "chest_xray"
    shutil.copy(root / "test/NORMAL/IM-0006-0000.png", root / "train/NORMAL/IM-9000-0000.png")
    code, text = run("show", *on(data), *size_and_cache(data), "--split-policy", "released")
    assert code == 0
    row = next(
        line for line in text.splitlines() if line.split("│")[1:2] and line.split("│")[1].strip() == "train"
    )
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["9", "8", "17"]
    assert "train, duplicates removed" in text
    assert "files: 25 of 5,856 published; skipped: 0" in text
    assert "exact duplicates: 1 groups, 1 surplus files" in text
    assert "removed from training: 1" in text
    assert "in several splits: 0" in text


def test_show_as_json_is_only_json(data: Path) -> None:
    code, text = run("show", *on(data), *size_and_cache(data), "--split-policy", "paper", "--format", "json")
    shown = json.loads(text)
    assert code == 0
    assert shown["report"]["counts"]["train"] == {"NORMAL": 8, "PNEUMONIA": 8}
    assert shown["image_size"] == 32
    assert shown["card"]["licence"] == "CC BY 4.0"
    assert len(shown["fingerprint"]) == 64


def test_show_says_what_was_not_looked_for(tmp_path: Path) -> None:
    cache = ["--image-size", "32", "--cache-dir", str(tmp_path)]
    code, text = run("show", "--dataset", "phantom_oct", *cache)
    assert code == 0
    assert "split policy as drawn" in " ".join(text.split())
    assert "near duplicates: not searched for" in text


def test_prepare_fills_the_cache(data: Path) -> None:
    code, text = run("prepare", *on(data), *size_and_cache(data))
    assert (code, text) == (0, "chest_xray: 24 images ready at 32 x 32 pixels\n")
    assert len(list((data.parent / "cache").glob("chest_xray-32-*.npy"))) == 1


def test_check_passes_clean_data_and_leaves_no_cache(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDEF_CACHE_DIR", str(data.parent / "cache"))
    code, text = run("check", *on(data))
    assert code == 0
    assert "files: 24" in text
    assert not (data.parent / "cache").exists()


def test_check_lists_every_problem(data: Path) -> None:
    root = data / "chest_xray"
    (root / "train/NORMAL/IM-8000-0000.png").touch()
    shutil.copy(root / "test/NORMAL/IM-0006-0000.png", root / "train/NORMAL/IM-9000-0000.png")
    shutil.copy(root / "val/NORMAL/IM-0004-0000.png", root / "val/PNEUMONIA/person1_virus_1.png")
    code, text = run("check", *on(data))
    assert code == 1
    assert "cannot be used: train/NORMAL/IM-8000-0000.png (empty file)" in text
    assert "1 groups of exact duplicates have different labels" in text
    assert (
        "in different splits, such as train/NORMAL/IM-9000-0000.png = test/NORMAL/IM-0006-0000.png"
        in text.replace(
            "test/NORMAL/IM-0006-0000.png = train/NORMAL/IM-9000-0000.png",
            "train/NORMAL/IM-9000-0000.png = test/NORMAL/IM-0006-0000.png",
        )
    )
    assert "1 patients are in several splits, such as person1" in text
    code, text = run("check", *on(data), "--format", "json")
    assert code == 1
    assert len(json.loads(text)["problems"]) == 4


def test_duplicates_within_a_split_are_no_problem(data: Path) -> None:
    root = data / "chest_xray/train/NORMAL"
    shutil.copy(root / "IM-0000-0000.png", root / "IM-0000-0009.png")
    code, text = run("check", *on(data))
    assert code == 0
    assert "exact duplicates: 1 groups" in text


def test_skip_unreadable(data: Path) -> None:
    (data / "chest_xray/train/NORMAL/IM-8000-0000.png").touch()
    with pytest.raises(InputError, match="1 of 25 files cannot be used"):
        run("show", *on(data), *size_and_cache(data))
    code, text = run("show", *on(data), *size_and_cache(data), "--skip-unreadable")
    assert code == 0
    assert "skipped: 1" in text


def test_bad_options_exit_with_2(data: Path) -> None:
    assert run("show", "--dataset", "chest_xray", "--format", "xml")[0] == 2
    assert run("show")[0] == 2


def test_help_names_every_dataset() -> None:
    assert DATASETS.split(", ") == list(CARDS)
    for command in ("prepare", "show", "check"):
        assert run(command, "--help")[0] == 0


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'torchvision', 'cv2', 'numpy', 'scipy'}"
    code = f"import sys, meddef.commands.data; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_cards_and_preprocessing_do_not_import_torch() -> None:
    code = "import sys, meddef.data; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
