"""One quantity has one value in the book: what the pages of every stored profile print, and how it is chosen."""

from pathlib import Path

import pytest
from printed_numbers import disagreements, outputs, read
from report_records import attack_record, provenance, small_run

from meddef.attacks.options import options
from meddef.book.build import published_profiles
from meddef.report.report import Report
from meddef.report.strongest import alike, quantity, reaches, shown, strength, strongest

ROOT = Path(__file__).resolve().parents[1]
PROFILES = published_profiles(ROOT)
LABELS = "0101010101"
HARD, EASY = {"steps": 40, "step_size": 0.01}, {"steps": 10, "step_size": 0.01}


@pytest.fixture(scope="module", params=PROFILES)
def report(request: pytest.FixtureRequest) -> Report:
    return Report.load(request.param, ROOT / "results")


def test_no_two_pages_print_different_numbers_for_one_quantity(report: Report) -> None:
    assert disagreements(report, ROOT) == []


def test_every_page_takes_a_quantity_from_the_same_record(report: Report) -> None:
    grids = sorted({record["grid"] for record in report.of("attack")} - {"pruning"})
    known: dict = {}
    for grid in grids:
        for record in report.grid(grid):
            assert known.setdefault(quantity(record), record) == record
    chosen = {quantity(record): record for record in strongest(report.of("attack"))}
    pruned = {quantity(record) for record in report.as_run("pruning")}
    assert set(known) <= set(chosen) <= set(known) | pruned
    for record in report.of("attack"):
        assert strength(record) <= strength(chosen[quantity(record)])


def test_models_are_compared_by_the_records_whose_values_are_printed(report: Report) -> None:
    printed = {quantity(record): record for record in report.grid("epsilon")}
    for dataset in report.datasets:
        for record in report.alike("epsilon", dataset=dataset.name):
            assert record == printed[quantity(record)]


def seen(report: Report) -> set[str]:
    """The kinds of places in which the reader of pages finds one quantity at least."""
    return {place.partition("(")[0] for place, output in outputs(report, ROOT) if any(read(report, output))}


def test_the_reader_of_pages_reads_them() -> None:
    found = seen(Report.load("cpu", ROOT / "results"))
    assert {
        "ablation, curves.models_at", "epsilon, curves.security_curves", "epsilon, interactive.security_curves",
        "epsilon, tables.epsilon", "pruning, curves.asr_against_pruning", "pruning, tables.compression",
        "pruning, curves.accuracy_against_pruning", "pruning, interactive.pruned_confusion",
        "confusion, figures_confusion.confusion", "confusion, findings.confusion",
        "controls, figures_controls.two_by_two",
        "comparison, tables_comparison.comparison", "comparison, findings.comparison", "front page", "results",
    } <= found  # fmt: skip


@pytest.mark.parametrize("profile", ["cpu_oct", "smoke"])
def test_the_check_sees_pages_that_read_their_own_grids(
    profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Report, "grid", Report.as_run)
    told = disagreements(Report.load(profile, ROOT / "results"), ROOT)
    assert any("attack='clean'" in line for line in told)


def test_the_check_sees_one_number_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    from meddef.report import tables_comparison

    def changed(row: dict, rate: str) -> str:
        return "12.3\n[1.0, 20.0]"

    monkeypatch.setattr(tables_comparison, "percent", changed)
    (line, *_) = disagreements(Report.load("smoke", ROOT / "results"), ROOT)
    assert "what='asr'" in line
    assert "12.3" in line


def pgd(grid: str, settings: dict, n: int = 10, **more: object) -> dict:
    after = {"epsilon": "1", "pruning": "0"}.get(grid, "0") * n
    record = attack_record("phantom_oct", "full", "pgd", LABELS[:n], LABELS[:n], after, grid=grid, **more)  # type: ignore[arg-type]
    return record | {"settings": settings}


def chosen(*records: dict) -> dict:
    (record,) = strongest(records)
    return record


def test_effort_goes_before_images_and_reach_before_effort() -> None:
    few, many = pgd("epsilon", HARD, n=4), pgd("pruning", EASY)
    assert chosen(few, many) is few
    assert chosen(pgd("a", EASY, n=4), many) is many
    assert chosen(many, pgd("a", EASY | {"restarts": 3}, n=4))["n"] == 4
    # 40 steps of 0.001 do not cross a ball of 0.05; 10 of 0.01 do
    short = pgd("epsilon", {"steps": 40, "step_size": 0.001})
    assert chosen(short, many) is many
    assert chosen(many, short) is many


@pytest.mark.parametrize(
    ("attack", "eps", "settings", "verdict"),
    [
        ("bim", 0.1, EASY, True),  # exactly to the edge
        ("bim", 0.11, EASY, False),
        ("pgd", 0.1, EASY, False),  # from a random start the other edge is 0.2 away
        ("pgd", 0.05, EASY, True),
        ("pgd", 0.1, EASY | {"random_start": False}, True),
        ("pgd", 0.1, {}, True),  # the defaults: 40 steps of 0.01
        ("fgsm", 0.1, {}, True),
        ("jsma", None, {}, True),
    ],
)
def test_reach(attack: str, eps: float | None, settings: dict, verdict: bool) -> None:
    record = attack_record("phantom_oct", "full", attack, "01", "01", "10", eps=eps) | {"settings": settings}
    assert reaches(record) is verdict
    if attack in ("bim", "pgd"):
        assert {k: options(attack)[k] for k in HARD} == HARD


def test_quantities_are_kept_apart_but_for_the_scope_of_no_pruning() -> None:
    records = [
        pgd("epsilon", HARD), pgd("epsilon", HARD, eps=0.1), pgd("epsilon", HARD, seed=1),
        pgd("epsilon", HARD, rate=0.3), pgd("epsilon", HARD, rate=0.3) | {"prune_scope": "layer"},
        pgd("epsilon", HARD, training="clean"), pgd("epsilon", HARD) | {"dataset": "phantom_xray"},
    ]  # fmt: skip
    assert len(strongest(records)) == len(records)
    assert len(strongest([records[0], pgd("pruning", HARD) | {"prune_scope": "layer"}])) == 1


def test_equal_records_are_chosen_the_same_in_any_order() -> None:
    first, second = pgd("epsilon", HARD), pgd("pruning", HARD)
    assert chosen(first, second) is chosen(second, first) is first


def test_along_the_pruning_rate_all_points_are_of_the_pruning_grid() -> None:
    """A stronger attack on the unpruned model elsewhere would make pruning look protective."""
    elsewhere = [pgd("epsilon", HARD), pgd("epsilon", HARD, seed=1)]
    start, pruned = pgd("pruning", EASY, n=4), pgd("pruning", EASY, n=4, rate=0.3)
    rest = small_run("phantom_oct", ("resnet18",))
    whole = Report("made", [*rest, *elsewhere, start, pruned], provenance())
    ours = [record for record in whole.grid("pruning") if record["variant"] == "full"]
    assert ours == [start, pruned]
    assert [r for r in whole.grid("epsilon") if r["variant"] == "full"] == elsewhere
    without = Report("made", [*rest, *elsewhere, pruned], provenance())
    assert [record for record in without.grid("pruning") if record["variant"] == "full"] == [pruned]
    assert [q[5] for q in shown(elsewhere, "epsilon")] == [0.0, 0.0]


def test_every_published_point_along_the_pruning_rate_is_as_run(report: Report) -> None:
    assert {id(r) for r in report.grid("pruning")} <= {id(r) for r in report.as_run("pruning")}
    assert {r["prune_rate"] for r in report.grid("pruning")} == {
        r["prune_rate"] for r in report.as_run("pruning")
    }


def test_models_are_compared_in_the_way_that_most_were_measured_in() -> None:
    """The full model alone was attacked harder, on more images: all are compared on what all have."""
    both = [{**pgd("epsilon", EASY, n=4), "variant": variant} for variant in ("full", "no_afd")]
    harder = pgd("pruning", HARD)
    assert alike([*both, harder]) == both
    assert alike([*both, harder, {**harder, "variant": "no_afd"}])[0]["settings"] == HARD
    report = Report("made", [*small_run("phantom_oct", ("resnet18",)), *both, harder], provenance())
    assert {record["n"] for record in report.grid("epsilon") if record["variant"] == "full"} == {10}


def test_one_eps_in_two_norms_is_two_quantities() -> None:
    linf, l2 = pgd("epsilon", HARD), pgd("l2", HARD | {"norm": "l2", "steps": 1000})
    assert {record["grid"] for record in strongest([linf, l2])} == {"epsilon", "l2"}
