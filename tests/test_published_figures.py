"""Every published figure has its numbers, its origin and an alternative text, and follows from ``results/``."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from published_figures import drawn_again, expected, problems

from meddef.book.build import published_profiles
from meddef.report.report import Report

ROOT = Path(__file__).resolve().parents[1]
PROFILES = published_profiles(ROOT)


@pytest.fixture(scope="module")
def drawn() -> dict:
    return expected(ROOT, PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
def test_published_figures_follow_from_the_records(drawn: dict, profile: str) -> None:
    assert problems(ROOT / "figures" / profile, drawn[profile]) == [], "run 'meddef book'"


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="utf-8")


def without(name: str) -> Callable[[str], str]:
    """A JSON text without ``name``."""

    def change(text: str) -> str:
        content = json.loads(text)
        content.pop(name)
        return json.dumps(content)

    return change


FIGURE = "05_epsilon_security_curves"
DEFECTS = {
    "no origin": (lambda folder: (folder / f"{FIGURE}.json").unlink(), f"{FIGURE}.json is missing"),
    "no alternative text": (
        lambda folder: edit(folder / f"{FIGURE}.json", without("alt")),
        f"{FIGURE}: has no alternative text",
    ),
    "no commit": (
        lambda folder: edit(folder / f"{FIGURE}.json", without("commits")),
        f"{FIGURE}: says no commits",
    ),
    "another commit": (
        lambda folder: edit(
            folder / f"{FIGURE}.json", lambda text: text.replace('"clean": true', '"clean": false', 1)
        ),
        f"{FIGURE}: commits is not what the records say",
    ),
    "a number changed": (
        lambda folder: edit(folder / f"{FIGURE}.csv", lambda text: text.replace("measured", "published", 1)),
        f"{FIGURE}: the CSV does not follow from the records",
    ),
    "an older picture": (
        lambda folder: edit(folder / f"{FIGURE}.svg", lambda text: text.replace("sha256:", "sha256:0", 1)),
        f"{FIGURE}: the picture was drawn from other numbers than the CSV's",
    ),
    "a picture that nothing draws": (
        lambda folder: (folder / "99_gone.svg").write_text("<svg/>"),
        "99_gone.svg belongs to no figure",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_the_check_sees_a_planted_defect(name: str, drawn: dict, tmp_path: Path) -> None:
    plant, said = DEFECTS[name]
    folder = tmp_path / "smoke"
    shutil.copytree(ROOT / "figures" / "smoke", folder)
    plant(folder)
    assert said in problems(folder, drawn["smoke"])


def test_the_check_sees_records_that_changed(drawn: dict) -> None:
    """One image of one attack more that is right after it: the CSV under the curves is out of date."""
    report = Report.load("smoke", ROOT / "results")
    attacked = [r for r in report.of("attack") if (r["grid"], r["attack"]) == ("epsilon", "pgd")]
    record = next(record for record in attacked if record["flipped"])
    record["correct_after"] += 1
    record["flipped"] -= 1
    changed = drawn["smoke"] | drawn_again(ROOT, report, "epsilon")
    assert problems(ROOT / "figures" / "smoke", changed) == [
        f"{FIGURE}: the CSV does not follow from the records"
    ]
