"""The pages on trust: every finding with its code, and pages that follow from records."""

import json
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest
from test_book import browse, needs_chromium, serving

from meddef.audit import findings
from meddef.book.reach_page import reach_page
from meddef.laboratory.defects import BY_NAME
from meddef.laboratory.signatures import SIGNATURES
from meddef.laboratory.tables import is_drawn, of_the_paper, read
from meddef.printed.published import Published
from meddef.robustness.registry import CHECKS
from meddef.trust import arithmetic as trust_arithmetic
from meddef.trust import attainable as trust_attainable
from meddef.trust import laboratory as trust_laboratory
from meddef.trust import robustness as trust_robustness
from meddef.trust import robustness_figures as trust_robustness_figures
from meddef.trust.pages import PAGES, trust_pages

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return trust_pages(ROOT)


def test_every_page_finds_what_it_includes(pages: dict[str, str]) -> None:
    for page in PAGES:
        text = (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")
        included = re.findall(r"\{include\} _generated/(\S+)", text)
        assert included
        assert set(included) <= set(pages) | set(reach_page([]))


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


MANY = """
<link rel="icon" href="data:,"><script src="findings.js"></script>
<div class="meddef-scroll"><table class="meddef-findings"><tbody>{rows}</tbody></table></div>
<script>addEventListener("load", function () {{
  var later = function () {{ return document.querySelectorAll("tr.meddef-later").length; }};
  var button = document.querySelector("button.meddef-more");
  var told = [later(), button.textContent];
  button.click();
  told.push(later(), button.hidden);
  document.body.dataset.told = told.join("; ");
}});</script>
"""


@needs_chromium
def test_a_long_table_shows_its_first_rows_until_more_is_asked_for(tmp_path: Path) -> None:
    row = '<tr data-place="Table 1" data-kind="claim" data-verdict="holds"><td>alpha</td></tr>'
    (tmp_path / "index.html").write_text(MANY.format(rows=row * 35))
    shutil.copy(ROOT / "book" / "_static" / "findings.js", tmp_path)
    with serving(tmp_path) as (address, _):
        shown, _ = browse(f"{address}/index.html", tmp_path)
    assert 'data-told="5; Show 5 more; 0; true"' in shown


@needs_chromium
def test_filters_hide_what_was_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "asked.html").write_text(PAGE.partition("<script>addEventListener")[0])
    shutil.copy(ROOT / "book" / "_static" / "findings.js", tmp_path)
    with serving(tmp_path) as (address, failed):
        shown, _ = browse(f"{address}/index.html", tmp_path)
        asked, _ = browse(f"{address}/asked.html#find=bet", tmp_path)
    assert failed == []
    assert dict(re.findall(r'<tr id="(\w)"[^>]*?( hidden="")?>', asked)) == {
        "a": ' hidden=""',
        "b": "",
        "c": ' hidden=""',
    }
    rows = dict(re.findall(r'<tr id="(\w)"[^>]*?( hidden="")?>', shown))
    assert rows == {"a": ' hidden=""', "b": ' hidden=""', "c": ""}
    assert "<output>1 of 3 shown</output>" in shown


def test_pages_say_so_where_the_laboratory_was_not_run(tmp_path: Path) -> None:
    pages = trust_pages(tmp_path)
    assert pages["lab_results.md"].startswith("The laboratory was not run")
    assert pages["robustness_lab.md"].startswith("The laboratory was not run")


def test_the_conclusion_follows_from_the_tables() -> None:
    paper = of_the_paper(Published())
    sound, copied = trust_laboratory.cases()[:2]
    bench = trust_laboratory.Bench(
        "phantoms", [], {sound: paper["chest_xray"][:1], copied: paper["roct"]}, paper
    )
    told = trust_laboratory.conclusion([bench])
    nearest = copied.label.replace("_", " ")
    assert f"- ROCT, by phantoms: nearest is *{nearest}* (1.00); 1 of 2 cases lies within 0.05 of it" in told
    assert "It does not explain: nothing." in told


def test_the_laboratory_s_changes_are_those_of_the_table() -> None:
    paper = of_the_paper(Published())
    bench = trust_laboratory.Bench("phantoms", [], {trust_laboratory.cases()[0]: paper["roct"][:1]}, {})
    (row,) = trust_laboratory.changes(bench).frame.to_dict("records")
    # ResNet18 in Table 1: clean 99.59; FGSM 12.71 to 25.10, PGD 95.45 to 100.00, BIM 0.00, JSMA 19.52 to 25.83
    assert list(row.values()) == ["sound", "99.6", "↑ +12.4", "↑ +4.5", "→ +0.0", "↑ +6.3"]


def laboratory_records(*, without: str = "") -> list[dict]:
    """The stored records of phantoms with a stand-in for ``short_reach``, and X-ray phantoms posing as real; of
    the dataset ``without``, that defect is left out."""
    own = [r for r in read(ROOT) if is_drawn(r["dataset"]) and r["defect"] != "short_reach"]
    assert {r["dataset"] for r in own} == {"phantom_oct", "phantom_xray"}
    own += [r | {"dataset": "chest_xray"} for r in own if r["dataset"] == "phantom_xray"]
    columns = BY_NAME["short_reach"].columns
    sound = [r for r in own if r["defect"] == "sound" and r["attack"] in columns and r["dataset"] != without]
    return own + [r | {"defect": "short_reach", "accuracy": "50.00"} for r in sound]


def test_phantoms_are_compared_with_both_datasets_and_real_images_with_their_own() -> None:
    records = laboratory_records()
    benches = trust_laboratory.make_benches(records, of_the_paper(Published()))
    assert {bench.images: list(bench.paper) for bench in benches} == {
        "phantoms": ["roct", "chest_xray"],
        "real chest X-rays": ["chest_xray"],
    }
    assert [len(next(iter(bench.tables.values()))) for bench in benches] == [4, 2]
    assert len(trust_laboratory.similarities(benches)) == len(trust_laboratory.cases())
    assert trust_laboratory.missing(records) == []


@pytest.mark.parametrize("dataset", ["chest_xray", "phantom_oct"])
def test_a_defect_that_was_not_run_on_some_images_is_a_dash_there_and_said(dataset: str) -> None:
    records = laboratory_records(without=dataset)
    benches = trust_laboratory.make_benches(records, of_the_paper(Published()))
    images = {"chest_xray": "real chest X-rays", "phantom_oct": "phantoms"}[dataset]
    frame = trust_laboratory.ranking(benches).frame.set_index("case")
    dashes = {(case, column) for case in frame.index for column in frame if frame.loc[case, column] == "–"}
    assert {case.partition(":")[0] for case, _ in dashes} == {"short reach"}
    assert len(dashes) == 3 * sum(images in column for column in frame)
    assert {column.partition("by ")[2] for _, column in dashes} == {images}
    (said,) = trust_laboratory.missing(records)
    assert said.startswith("Not run yet on")
    assert f"short reach. Run `meddef lab --dataset {dataset}`" in said
    numbers = trust_laboratory._matrix(ROOT, benches).figure.numbers
    empty = numbers[numbers["share"].isna()]
    assert set(empty["images"]) == {images}
    assert len(empty) == 3 * len(SIGNATURES)


def robustness_records() -> list[dict]:
    found = []
    for path in sorted((ROOT / "results" / "lab").glob("robustness_*.jsonl")):
        rows = path.read_text(encoding="utf-8").splitlines()
        found += [json.loads(row, parse_constant=pytest.fail) for row in rows]  # NaN is not JSON
    return found


def test_planted_defects_fail_and_sound_models_do_not() -> None:
    own = [record for record in robustness_records() if record["source_of_models"] == "laboratory"]
    failed = [record for record in own if record["verdict"] == "FAIL"]
    sound = {"undefended", "adversarially trained"}
    assert [record for record in failed if record["model"] in sound] == []
    assert {record["model"] for record in failed} == {record["model"] for record in own} - sound


def test_reports_show_every_verdict_and_every_failure(pages: dict[str, str]) -> None:
    records = robustness_records()
    shown = pages["robustness_lab.md"] + pages["robustness_profiles.md"]
    failed = [record for record in records if record["verdict"] == "FAIL"]
    assert shown.count(">FAIL<") == len(failed)
    assert shown.count(">N-A<") == sum(record["verdict"] == "N-A" for record in records)
    assert all(escape(record["detail"]) in shown for record in failed)
    assert {record["name"] for record in records} <= set(trust_robustness.QUESTIONS)
    assert list(trust_robustness.QUESTIONS) == [check.name for check in CHECKS]


def test_the_figure_of_strengths_shows_the_counts() -> None:
    def item(name: str, **numbers: int) -> dict:
        return {"model": "m", "eps": 0.03, "name": name, "numbers": numbers}

    records = [
        item("noise_does_little", images=8, broken_by_noise=1, broken_by_attack=4),
        item("iterative_beats_single_step", images=8, broken_by_weaker=2, broken_by_stronger=4),
        item("gradient_free_does_not_win", images=8, broken_by_weaker=3, broken_by_stronger=4),
        item("transfer_does_not_win"),  # N-A
        item("worst_case_is_near", images=8, broken_by_attack=4, broken_by_any=6),
        item("rises_with_epsilon", images=8, **{"broken_at_0.015": 2, "broken_at_0.03": 4}),
        item("everything_falls", images=8, count=0),
    ]
    left, right = trust_robustness_figures.strengths(records).axes
    marks = [float(line.get_xdata()[0]) for line in left.lines]
    assert [marks[i] for i in (0, 1, 2, 4, 5)] == [12.5, 25.0, 37.5, 50.0, 75.0]
    assert marks[3] != marks[3]  # none where there is no twin
    assert list(right.lines[0].get_xdata()) == [0.015, 0.03, 1.0]
    assert list(right.lines[0].get_ydata()) == [25.0, 50.0, 100.0]


def test_bars_of_attainability_are_what_counting_finds() -> None:
    figure = trust_attainable.attainable(Published())
    table1, table2 = figure.axes
    heights = [round(bar.get_height(), 1) for bar in table1.patches]
    # Table 1 at 968: all of the four models without AFD, 2 of the 13 values of the full one
    assert heights == [100.0] * 4 + [round(200 / 13, 1)]
    assert len(table2.patches) == 4 * 5


def test_every_place_of_a_finding_is_on_the_page_of_the_paper(pages: dict[str, str]) -> None:
    linked = set(re.findall(r'trust_paper\.html#([^"]+)"', pages["findings.md"] + pages["findings_first.md"]))
    anchors = re.findall(r'<div id="([^"]+)"></div>', pages["paper_places.md"])
    assert len(anchors) == len(set(anchors))
    assert linked <= set(anchors)
    assert pages["paper_places.md"].count("99.59") == 3  # ResNet18 on ROCT, once for each ε


def test_the_counts_of_every_check_are_those_of_its_findings(pages: dict[str, str]) -> None:
    rows = re.findall(r'href="#find=(\w+):">.*?((?:<td>[\d,]+</td>){3})', pages["findings_counts.md"])
    known = findings()
    shown: dict[str, list[list[int]]] = {}
    for check, cells in rows:
        counts = [int(count.replace(",", "")) for count in re.findall(r"<td>([\d,]+)", cells)]
        shown.setdefault(check, []).append(counts)
    for check, of_rows in shown.items():
        own = [finding for finding in known if finding.id.startswith(f"{check}:")]
        expected = [sum(f.verdict == v for f in own) for v in trust_arithmetic.VERDICTS]
        assert [sum(column) for column in zip(*of_rows, strict=True)] == expected
    stated = [f for f in known if f.kind == "attainability" and f.n in (968, 879)]
    assert shown["attainable"][0] == [sum(f.verdict == v for f in stated) for v in trust_arithmetic.VERDICTS]
    assert len(shown["attainable"]) == 2  # the stated test sets, and sizes that were tried
    assert {check for check, _ in rows} == {finding.id.partition(":")[0] for finding in known}


def test_the_pages_and_the_audit_do_without_torch() -> None:
    code = "import sys, meddef.audit, meddef.trust.pages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
