"""The book's table of faults is what the tests say of themselves."""

from pathlib import Path

import pandas as pd
import pytest

from meddef.report.faults import NOTHING, OUTCOMES, Fault, corruptions, faults, faults_page

TESTS = Path(__file__).parent
SAMPLE = """
@pytest.mark.fault("a disk is full", "it stops", says="no space")
@pytest.mark.parametrize("size", [1, 2])
def test_full(size, says): ...

class TestMore:
    @pytest.mark.fault("a clock goes wrong", "nothing")
    def test_clock(self): ...

def test_other(): ...
"""


def test_the_table_is_read_from_the_marks(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_sample.py").write_text(SAMPLE)
    assert faults(tmp_path / "tests") == [
        Fault("a disk is full", "it stops", "no space", "test_sample.py::test_full", True),
        Fault("a clock goes wrong", "nothing", None, "test_sample.py::test_clock", False),
    ]
    page = faults_page(tmp_path)["faults.md"]
    assert "2 faults" in page
    assert "no space" in page
    assert "test_clock" in page


def test_corruptions_are_listed_by_their_outcome(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    text = "file,cut,emptied,missing\na cell,computed again,computed again,no harm\nan export,refused,refused,refused\n"
    (tmp_path / "tests" / "corruptions.csv").write_text(text)
    shown = corruptions(pd.read_csv(tmp_path / "tests" / "corruptions.csv", index_col=0))
    assert shown.caption.startswith("6 corruptions, of 2 kinds of files: cut, emptied, missing.")
    again, refused, no_harm = OUTCOMES.values()
    first = shown.frame.iloc[0].dropna().to_dict()
    assert first == {"file": "a cell", again: "all but missing", no_harm: "missing"}
    assert shown.frame.iloc[1][refused] == "all"
    assert "6 corruptions, of" in faults_page(tmp_path)["faults.md"]


def test_the_published_table_knows_three_outcomes_only() -> None:
    found = pd.read_csv(TESTS / "corruptions.csv", index_col=0)
    assert found.size >= 150
    assert set(found.to_numpy().ravel()) == set(OUTCOMES)


def test_without_tests_the_page_says_so(tmp_path: Path) -> None:
    assert faults_page(tmp_path) == {"faults.md": f"{NOTHING}\n"}


def test_every_promised_message_is_checked_by_its_test() -> None:
    found = faults(TESTS)
    assert len(found) > 10
    assert [fault.test for fault in found if (fault.says is not None) != fault.checks_words] == []
    assert len({fault.tried for fault in found}) == len(found)


def test_every_marked_test_that_pytest_collected_is_in_the_table(request: pytest.FixtureRequest) -> None:
    marked = [item for item in request.session.items if item.get_closest_marker("fault")]
    collected = {f"{item.path.name}::{item.originalname}" for item in marked}  # type: ignore[attr-defined]
    assert collected <= {fault.test for fault in faults(TESTS)}
