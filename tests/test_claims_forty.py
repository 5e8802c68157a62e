"""Forty claims of the ledger against small records whose verdicts were worked out by hand: ``claims_forty.yaml``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_records import PAPER_SIZES, chosen_labels, data_record, provenance, runs, train_record

from meddef.claims import verdicts
from meddef.claims.entries import claims
from meddef.claims.ledger import printed_findings
from meddef.claims.model import ATTACKS, GROUPS, RATES
from meddef.claims.verdicts import BY_CONSTRUCTION, DEVIATES, FOLLOWED, VERDICTS
from meddef.paper import CLAIMS
from meddef.printed.published import Published
from meddef.report.report import Report

Records = list[dict[str, Any]]
TABLE = yaml.safe_load(Path(__file__).with_name("claims_forty.yaml").read_text(encoding="utf-8"))
NAMES = [f"{number}-{row['claim']}" for number, row in enumerate(TABLE)]


def numbers(text: str) -> list[float]:
    return list(RATES) if text == "all" else [float(each) for each in text.split(",")]


def cells(line: str, right: list[int] | str, n: int) -> Iterator[dict[str, Any]]:
    """The records of one line of ``runs``; its grammar stands at the head of the table."""
    words = line.split()
    given = dict(word.split("=") for word in words if "=" in word)
    models = [word for word in words if word.split("/")[0] in GROUPS["all"]]
    attacks = [word for word in words if word in (*ATTACKS, "clean")]
    assert len(words) == len(given) + len(models) + len(attacks), line
    grid = "pruning" if "rates" in given else "test" if attacks == ["clean"] else "epsilon"
    settings = {"steps": int(given.get("steps", 40)), "step_size": 0.01}
    counts = [0, 0, 0] if right == "one class" else list(right)
    for model in models:
        variant, _, training = model.partition("/")
        for attack in attacks:
            for eps in numbers(given.get("eps", "0.05"))[: None if attack in ("fgsm", "pgd", "bim") else 1]:
                for rate in numbers(given.get("rates", "0")):
                    for record in runs(
                        variant, attack, counts, n=n, training=training or None, eps=eps, grid=grid, rate=rate,
                        settings=settings if attack in ("pgd", "bim") else None,
                    ):  # fmt: skip
                        yield one_class(record) if right == "one class" else record


def one_class(record: dict[str, Any]) -> dict[str, Any]:
    said, kept = "1" * record["n"], record["labels"].count("1")
    return record | {
        "before": said, "after": said, "correct_before": kept, "correct_after": kept, "flipped": 0,
    }  # fmt: skip


def reports(row: dict[str, Any]) -> list[Report]:
    """One report a profile."""
    profiles = row.get("runs", {})
    found = []
    for number, lines in enumerate(profiles if isinstance(profiles, list) else [profiles]):
        records = [data_record("chest_xray", PAPER_SIZES) | row.get("data", {})]
        if "trained" in row or "parameters" in row:
            record = train_record("chest_xray", "full", "adversarial")
            settings = record["settings"] | row.get("trained", {})
            records.append(record | {"settings": settings, "parameters": row.get("parameters", 1000)})
        for line, right in lines.items():
            records += cells(line, right, row.get("n", 400))
        found.append(Report(f"profile{number}", records, provenance()))
    return found


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_the_measured_verdict_is_the_one_by_hand(
    row: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This claim only, to avoid judging the others."""
    monkeypatch.setattr(verdicts, "claims", lambda: [each for each in claims() if each.id == row["claim"]])
    written = [each for each in CLAIMS if each["id"] == row["claim"]]
    (found,) = verdicts.rows(reports(row), Published(claims=written))
    assert found.measured == row["verdict"], [
        (each.profile, each.reading, each.outcome) for each in found.judged
    ]


def test_the_printed_verdict_is_the_one_by_hand() -> None:
    found = {finding.id: finding for finding in printed_findings(Published())}
    by_hand = {row["claim"]: row["printed"] for row in TABLE if "printed" in row}
    assert len(by_hand) >= 10
    assert {name: found[f"claim:{name}"].verdict for name in by_hand} == by_hand


def test_the_table_is_of_forty_claims_and_of_every_verdict() -> None:
    assert len({row["claim"] for row in TABLE}) >= 40
    assert {row["verdict"] for row in TABLE} == {*VERDICTS, BY_CONSTRUCTION, FOLLOWED, DEVIATES}


def test_the_constant_classifier_of_the_table_is_the_one_that_it_says() -> None:
    assert chosen_labels(400).count("1") / 400 == 0.665
