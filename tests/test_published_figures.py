"""Every stored figure has its numbers, its provenance and an alternative text, and follows from ``results/``."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from published_figures import drawn_again, expected, pages_drawn_again, problems

from meddef.book.build import generated, published_profiles
from meddef.book.pages import in_order
from meddef.report.report import Report

ROOT = Path(__file__).resolve().parents[1]
PROFILES = published_profiles(ROOT)


@pytest.fixture(scope="module")
def drawn() -> dict:
    return expected(ROOT, PROFILES)


@pytest.mark.parametrize("folder", [*PROFILES, "pages"])
def test_published_figures_follow_from_the_records(drawn: dict, folder: str) -> None:
    assert problems(ROOT / "figures" / folder, drawn[folder]) == [], "run 'meddef book'"


def test_under_every_picture_of_a_page_stands_where_it_comes_from() -> None:
    reports = in_order(Report.load(profile, ROOT / "results") for profile in PROFILES)
    texts = generated(ROOT, reports)
    pictures = [picture for text in texts.values() for picture in re.findall(r"_generated/(\S+\.svg)", text)]
    assert sorted(pictures) == sorted(name for name in texts if name.endswith(".svg"))
    for name, text in texts.items():
        functions = re.findall(r'figures_code\.html#([^"]+)"', text)
        assert len(functions) == text.count('class="meddef-origin"') == text.count("{image}"), name
        assert all(f'<div id="{function}">' in texts["figures_code.md"] for function in functions)


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
    """One more image correct under one attack: the CSV of the curves is out of date."""
    report = Report.load("smoke", ROOT / "results")
    attacked = [r for r in report.of("attack") if (r["grid"], r["attack"]) == ("epsilon", "pgd")]
    record = next(r for r in attacked if r["flipped"] and r["variant"] == "no_afd")  # not on the front page
    record["correct_after"] += 1
    record["flipped"] -= 1
    changed = drawn["smoke"] | drawn_again(ROOT, report, "epsilon")
    assert problems(ROOT / "figures" / "smoke", changed) == [
        f"{FIGURE}: the CSV does not follow from the records"
    ]


ON_PAGES = (
    "trust_arithmetic_attainable",
    "trust_laboratory_patterns_phantoms",
    "trust_robustness_strengths_phantom_oct_0.03",
    "cost_growth_avx512_bf16",
)


def with_another_digit(text: str) -> str:
    """A CSV whose last digit is another one."""
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), text)


@pytest.mark.parametrize("name", ON_PAGES)
def test_the_check_sees_a_number_changed_under_a_page(name: str, drawn: dict, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    shutil.copytree(ROOT / "figures" / "pages", folder)
    edit(folder / f"{name}.csv", with_another_digit)
    assert problems(folder, drawn["pages"]) == [
        f"{name}: the CSV does not follow from the records",
        f"{name}: the picture was drawn from other numbers than the CSV's",
    ]


def test_the_check_sees_a_laboratory_that_changed(drawn: dict, tmp_path: Path) -> None:
    """One count of the robustness reports is another: digest and CSV are out of date."""
    shutil.copytree(ROOT / "results" / "lab", tmp_path / "results" / "lab")
    changed = tmp_path / "results" / "lab" / "robustness_phantom_oct.jsonl"
    edit(changed, lambda text: re.sub(r'("broken_by_noise": )\d+', r"\g<1>0", text, count=1))
    name = "trust_robustness_strengths_phantom_oct_0.03"
    again = drawn["pages"] | {name: pages_drawn_again(tmp_path)[name]}
    assert problems(ROOT / "figures" / "pages", again) == [
        f"{name}: files is not what the records say",
        f"{name}: the CSV does not follow from the records",
    ]
