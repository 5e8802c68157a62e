"""The two independent checks: from the stored predictions, and from the images."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_profile import TINY

from meddef.evaluation.executor import InlineExecutor
from meddef.evaluation.plan import RunOptions, make_plan
from meddef.evaluation.run import run_plan
from meddef.report.report import Report
from meddef.settings import load_profile
from tests import recompute, rerun

PROFILES = sorted(path.parent.name for path in recompute.RESULTS.glob("*/records.jsonl"))


@pytest.mark.parametrize("profile", PROFILES)
def test_three_cells_chosen_at_random_are_what_the_tables_show(profile: str) -> None:
    seed = secrets.randbelow(10**6)
    assert recompute.check(Report.load(profile, recompute.RESULTS), seed) == [], f"seed {seed}"


def test_a_changed_answer_is_seen() -> None:
    report = Report.load("smoke", recompute.RESULTS)
    found = recompute.cells(report)
    cell = next(cell for cell in found if cell[0] == "epsilon")
    right = recompute.expected(cell, found[cell])
    first = found[cell][0]
    other = "1" if first["labels"][0] == "0" else "0"
    answer = other if first["after"][0] == first["labels"][0] else first["labels"][0]
    changed = [{**first, "after": answer + first["after"][1:]}, *found[cell][1:]]
    assert recompute.expected(cell, changed) != right == recompute.shown(cell, report)[: len(right)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a profile and the stored records of one training and one attack, and the attack's key."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("published")
    (folder / "tiny.yaml").write_text(TINY.replace("[resnet18, no_afd_mfe]", "[resnet18]"))
    plan = make_plan(load_profile(str(folder / "tiny.yaml")), options := RunOptions(folder / "tiny"))
    attack = next(cell for cell in plan.cells if cell.settings.get("attack") == "pgd")
    cells = tuple(cell for cell in plan.cells if cell.key in (attack.key, attack.needs))
    run_plan(type(plan)(plan.profile, cells), options, InlineExecutor(), inside=False)
    return folder, attack.key


def again(folder: Path, key: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    given = ["--profile", str(folder / "tiny.yaml"), "--results-dir", str(folder), "--here", "--key", key]
    with pytest.raises(SystemExit) as ended:
        rerun.main(given)
    return ended.value.code, capsys.readouterr().out


def test_a_cell_computed_again_is_the_same_bit_for_bit_and_an_edit_is_seen(
    published: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key = published
    code, said = again(folder, key, capsys)
    assert (code, said.splitlines()[-1]) == (0, "the same, bit for bit")
    shutil.copytree(folder, tmp_path / "edited")
    path = tmp_path / "edited" / "tiny" / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["key"] == key:
            row["linf"] += 1e-9
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = path.with_name("provenance.jsonl")  # without the checksums, which would tell first
    made.write_text(made.read_text().partition("\n")[2])
    code, said = again(tmp_path / "edited", key, capsys)
    assert code == 1
    assert said.splitlines()[-1].startswith("linf: published ")


def test_the_code_is_that_of_the_commit(tmp_path: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=rerun.ROOT, capture_output=True, text=True, check=False
    )
    if head.returncode:
        pytest.skip("not a git checkout")
    assert (rerun.unpack(head.stdout.strip(), tmp_path) / "meddef" / "records.py").is_file()


def test_avx2_is_all_that_is_used_where_the_cell_was_computed_with_it() -> None:
    environment = os.environ | rerun.limits({"hardware": {"instructions": "AVX2"}})
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() != "AVX512"
    assert rerun.limits({"hardware": {"instructions": "AVX512"}}) == {}


def test_an_unknown_cell_is_named(published: tuple[Path, str]) -> None:
    folder, _ = published
    with pytest.raises(SystemExit, match="no cell 0123 is recorded for 'tiny'"):
        rerun.main(["--profile", str(folder / "tiny.yaml"), "--results-dir", str(folder), "--key", "0123"])
