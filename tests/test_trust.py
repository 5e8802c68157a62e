"""The pages on trust: every finding with its code, and pages that follow from records."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_book import browse, needs_chromium, serving

from meddef import trust_arithmetic, trust_laboratory
from meddef.audit import findings
from meddef.audit.lab.tables import of_the_paper
from meddef.audit.published import Published
from meddef.trust import PAGES, trust_pages

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return trust_pages(ROOT)


def test_every_page_finds_what_it_includes(pages: dict[str, str]) -> None:
    for page in PAGES:
        text = (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")
        included = re.findall(r"\{include\} _generated/(\S+)", text)
        assert included
        assert set(included) <= set(pages)


def test_every_finding_is_a_row_with_a_link_to_the_code_that_decides_it(pages: dict[str, str]) -> None:
    rows = re.findall(r"<tr data-place=.*?</tr>", pages["findings.md"])
    assert len(rows) == len(findings())
    anchors = set(re.findall(r'<div id="([^"]+)"></div>', pages["findings_code.md"]))
    linked = [match for row in rows for match in re.findall(r"trust_code\.html#([^\"]+)", row)]
    assert len(linked) == len(rows)
    assert set(linked) == anchors
    assert "def above_clean(" in pages["findings_code.md"]
    assert sum('data-verdict="does not hold"' in row for row in rows) == sum(
        finding.verdict == "does_not_hold" for finding in findings()
    )


def test_quotes_and_details_are_escaped(pages: dict[str, str]) -> None:
    assert "<script" not in pages["findings.md"]
    assert trust_arithmetic._row(next(f for f in findings() if f.kind == "claim")).count("<em>") == 1


PAGE = """
<link rel="icon" href="data:,"><script src="findings.js"></script>
<div class="meddef-scroll"><table class="meddef-findings"><tbody>
<tr id="a" data-place="Table 1" data-kind="claim" data-verdict="holds"><td>alpha</td></tr>
<tr id="b" data-place="Table 2" data-kind="claim" data-verdict="does not hold"><td>beta</td></tr>
<tr id="c" data-place="Table 2" data-kind="claim" data-verdict="holds"><td>gamma</td></tr>
</tbody></table></div>
<script>addEventListener("load", function () {
  var bar = document.querySelector(".meddef-filters");
  bar.querySelectorAll("select")[0].value = "Table 2";
  bar.querySelector("input").value = "GAM";
  bar.dispatchEvent(new Event("input"));
});</script>
"""


@needs_chromium
def test_filters_hide_what_was_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(PAGE)
    shutil.copy(ROOT / "book" / "_static" / "findings.js", tmp_path)
    with serving(tmp_path) as (address, failed):
        shown, _ = browse(f"{address}/index.html", tmp_path)
    assert failed == []
    rows = dict(re.findall(r'<tr id="(\w)"[^>]*?( hidden="")?>', shown))
    assert rows == {"a": ' hidden=""', "b": ' hidden=""', "c": ""}
    assert "<output>1 of 3 shown</output>" in shown


def test_pages_say_so_where_the_laboratory_was_not_run(tmp_path: Path) -> None:
    pages = trust_pages(tmp_path)
    assert pages["lab_results.md"].startswith("The laboratory was not run")
    assert pages["robustness.md"].startswith("The laboratory was not run")


def test_the_conclusion_follows_from_the_tables() -> None:
    paper = of_the_paper(Published())
    sound, copied = trust_laboratory.cases()[:2]
    tables = {sound: paper["chest_xray"][:1], copied: paper["roct"]}
    told = trust_laboratory.conclusion(tables, paper)
    assert f"- ROCT: nearest is {copied.label} (1.00); 1 of 2 cases lie within 0.05 of it" in told
    assert "It does not explain: nothing that was asked." in told


def test_reports_show_every_verdict(pages: dict[str, str]) -> None:
    rows = (ROOT / "results" / "lab" / "robustness.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(row, parse_constant=pytest.fail) for row in rows]  # NaN is not JSON
    failed = [record for record in records if record["verdict"] == "FAIL"]
    sound = {"undefended", "adversarially trained"}
    assert [record for record in failed if record["model"] in sound] == []
    assert {record["model"] for record in failed} == {record["model"] for record in records} - sound
    assert pages["robustness.md"].count(">FAIL<") == len(failed)


def test_the_pages_and_the_audit_do_without_torch() -> None:
    code = "import sys, meddef.audit, meddef.trust; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
