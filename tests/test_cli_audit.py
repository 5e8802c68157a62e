"""``meddef audit`` in its four formats."""

import csv
import io
import json

from typer import Typer
from typer.testing import CliRunner

from meddef.audit import findings
from meddef.commands import audit as cli_audit

FOUND = findings()


def run(*arguments: str) -> str:
    app = Typer()
    app.command()(cli_audit.audit)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_json_has_the_fixed_keys() -> None:
    found = json.loads(run("--format", "json"))
    assert len(found) == len(FOUND)
    for finding in found:
        assert list(finding) == ["id", "kind", "exhibit", "value", "n", "verdict", "detail"]
        assert finding["kind"] in {"attainability", "consistency", "claim"}
        assert finding["verdict"] in {"holds", "does_not_hold", "cannot_be_checked"}
        assert finding["detail"]
    cell = next(f for f in found if f["id"] == "attainable:table2:0.05:full:fgsm:1114")
    assert (cell["value"], cell["n"], cell["verdict"]) == (75.67, 1114, "holds")


def test_csv_and_markdown_hold_every_finding() -> None:
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [row["id"] for row in rows] == [finding.id for finding in FOUND]
    markdown = run("--format", "markdown").splitlines()
    assert len(markdown) == len(FOUND) + 2
    assert markdown[0] == "| id | kind | exhibit | value | n | verdict | detail |"


def test_table_ends_with_the_counts() -> None:
    lines = run().strip().splitlines()
    assert lines[-4:-1] == cli_audit.summary(FOUND).splitlines()
    assert lines[-1].startswith("Every entry at every test-set size")


def test_table_gathers_attainability_by_exhibit_and_size() -> None:
    rows = {row[0]: row for row in cli_audit.table_rows(FOUND)}
    assert rows["attainable:table1:n=968"][1] == "does_not_hold"
    # 11 distinct values of the full model, each printed once; 75 - 11.
    assert rows["attainable:table1:n=968"][2].startswith("64 of 75 entries attainable; not: 99.52,")


def test_unknown_format_is_refused() -> None:
    app = Typer()
    app.command()(cli_audit.audit)
    result = CliRunner().invoke(app, ["--format", "xml"])
    assert result.exit_code == 2
    assert "xml" in result.output
