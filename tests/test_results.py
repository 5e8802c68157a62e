"""The stored records, from their raw predictions: every count recomputed, every cell with its provenance."""

import re
from pathlib import Path

import pytest

from meddef.records import Record, load_provenance, load_records

RESULTS = Path(__file__).parents[1] / "results"
PROFILES = sorted(path.parent.name for path in RESULTS.glob("*/records.jsonl"))


@pytest.fixture(scope="module", params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_counts_follow_from_the_predictions(profile: str) -> None:
    attacked = load_records(RESULTS, profile, kind="attack")
    assert attacked
    for record in attacked:
        rows = list(zip(record["labels"], record["before"], record["after"], strict=True))
        assert counts(record) == (
            len(rows),
            sum(label == before for label, before, _ in rows),
            sum(label == after for label, _, after in rows),
            sum(label == before != after for label, before, after in rows),
        )


def counts(record: Record) -> tuple[int, ...]:
    return tuple(record[name] for name in ("n", "correct_before", "correct_after", "flipped"))


def test_attacks_stay_in_their_budget(profile: str) -> None:
    for record in load_records(RESULTS, profile, kind="attack"):
        if record["eps"] is not None:
            assert record["linf"] <= record["eps"] + 1e-6
        elif record["attack"] == "jsma":
            assert record["l0"] > 0


def test_one_model_answers_the_same_image_alike_in_every_grid(profile: str) -> None:
    """A grid of fewer images sees the first of a larger one's: predictions before the attack must agree."""
    longest: dict[tuple[object, ...], str] = {}
    for record in sorted(load_records(RESULTS, profile, kind="attack"), key=lambda r: -r["n"]):
        model = tuple(
            record[name] for name in ("dataset", "variant", "training", "seed", "prune_rate", "prune_scope")
        )
        assert longest.setdefault(model, record["before"]).startswith(record["before"])


def test_every_record_says_where_it_came_from(profile: str) -> None:
    origin = {row["key"]: row for row in load_provenance(RESULTS, profile)}
    for record in load_records(RESULTS, profile):
        circumstances = origin[record["key"]]
        assert re.fullmatch(r"[0-9a-f]{40}", circumstances["commit"])
        assert {"python", "torch", "meddef"} <= set(circumstances["versions"])
        assert circumstances["hardware"]["cpu"]
        assert record["kind"] == "data" or record.get("data_fingerprint") or record["kind"] == "saliency"
