"""The table of libraries' defaults: sorted, counted by hand, and what it claims in words holds in the stored rows."""

from pathlib import Path

from meddef.book import peers as page

ROOT = Path(__file__).parents[1]
ABOUT = {"eps": 4 / 255, "n": 20, "dataset": "phantom_xray", "variant": "resnet18", "training": "adversarial"}
SHARED = {"version": "1.0", "labels": "true", "n": 20, "before": 15, "became_right": 0}


def test_the_most_successful_attack_comes_first() -> None:
    rows = [
        {
            **SHARED,
            "library": "weak",
            "settings": "by default",
            "after": 14,
            "cpu_seconds": 1.4,
            "beyond": 3e-8,
        },
        {
            **SHARED,
            "library": "strong",
            "settings": "equal",
            "after": 5,
            "cpu_seconds": 9.0,
            "beyond": -1e-10,
        },
    ]
    table = page.comparison(rows, ABOUT)
    assert list(table.frame["library"]) == ["strong 1.0", "weak 1.0"]
    assert list(table.frame["robust accuracy"]) == ["0.250", "0.700"]
    assert list(table.frame["beyond ε"]) == ["0", "3.0e-08"]
    assert "ε = 4/255 on 20 test images" in table.caption
    assert "15 correct before" in table.caption


def test_in_the_stored_rows_equal_settings_agree_and_no_default_is_stronger(tmp_path: Path) -> None:
    assert all("No comparison is stored" in text for text in page.peers_page(tmp_path).values())
    rows = page.stored(ROOT, "peers")["rows"]
    equal = [row for row in rows if row["settings"].endswith("random start") and row["labels"] == "true"]
    assert len({row["library"] for row in equal}) == 6
    assert len({row["after"] for row in equal}) == 1
    others = [row for row in rows if row not in equal and "ensemble" not in row["settings"]]
    assert all(row["after"] > equal[0]["after"] for row in others if row["library"] != "meddef")
    assert all(row["after"] == equal[0]["after"] for row in others if row["library"] == "meddef")
    predicted = [row for row in rows if row["labels"] == "predicted" and row["settings"] != "by default"]
    assert all(row["became_right"] > 0 for row in predicted)
    assert all(row["beyond"] <= 0 for row in rows if row["library"] == "meddef")
    assert "on 128 test images" in page.peers_page(ROOT)["peers.md"]


def test_faulty_situations_are_one_row_each_and_named_here() -> None:
    bench = page.stored(ROOT, "peers_faults")
    table = page.faults(bench["rows"], bench["versions"])
    assert len(table.frame) * (len(table.frame.columns) - 1) == len(bench["rows"])
    ours = dict(zip(table.frame["situation"], table.frame["meddef"], strict=True))
    assert ours["logits are NaN"] == ours["images from 0 to 255"] == "error"
    assert ours["the model rounds its input: no gradient"] == "warning"
    assert ours["the model is in training mode"] == "nothing changes"
    assert "torchattacks 3.5.1" in table.frame.columns
