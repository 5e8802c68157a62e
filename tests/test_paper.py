"""The paper's numbers as data, against the LaTeX (MEDDEF_PAPER_TEX) and against a sample copied by hand."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from paper_text import NUMBER, read_tex

from meddef import paper
from meddef.claims.entries import bounds

LABELS = {
    "table1": "tab:roct_epsilon_analysis",
    "table2": "tab:chest_epsilon_analysis",
    "table3": "tab:roct_compression_security",
    "table4": "tab:chest_compression_security",
}
VARIANT_OF = {label: variant for variant, label in paper.VARIANT_LABELS.items()}


@pytest.fixture(scope="session")
def tex() -> str:
    return read_tex()


def tabular_rows(tex: str, label: str) -> list[list[str]]:
    start = tex.index(r"\begin{tabular}", tex.index(rf"\label{{{label}}}"))
    block = tex[start : tex.index(r"\end{tabular}", start)]
    return [
        [cell.strip() for cell in line.rsplit(r"\\", 1)[0].split(" & ")]
        for line in block.splitlines()
        if line[:1].isdigit()
    ]


def as_latex(printed: str, bold: bool) -> str:
    return rf"\textbf{{{printed}}}" if bold else printed


@pytest.mark.parametrize("exhibit", ["table1", "table2"])
def test_epsilon_tables_equal_the_latex_cell_by_cell(tex: str, exhibit: str) -> None:
    table = paper.epsilon_table().query("exhibit == @exhibit")
    rows = tabular_rows(tex, LABELS[exhibit])
    assert len(rows) == 15
    for eps, model, params, *cells in rows:
        ours = table[(table["eps"] == float(eps)) & (table["variant"] == VARIANT_OF[model])]
        assert list(ours["attack"]) == ["clean", "fgsm", "pgd", "bim", "jsma"]
        assert set(ours["params_m"]) == {params}
        assert [as_latex(p, b) for p, b in zip(ours["printed"], ours["bold"], strict=True)] == cells


@pytest.mark.parametrize("exhibit", ["table3", "table4"])
def test_compression_tables_equal_the_latex_cell_by_cell(tex: str, exhibit: str) -> None:
    table = paper.compression_table().query("exhibit == @exhibit")
    rows = tabular_rows(tex, LABELS[exhibit])
    assert len(rows) == 15
    for rate, model, *cells in rows:
        fraction = int(rate.removesuffix(r"\%")) / 100
        ours = table[(table["prune_rate"] == fraction) & (table["variant"] == VARIANT_OF[model])]
        assert list(ours["attack"]) == ["fgsm", "pgd", "bim", "jsma"]
        assert [as_latex(p, b) for p, b in zip(ours["printed"], ours["bold"], strict=True)] == cells


def test_comparison_table_words_stand_in_the_latex(tex: str) -> None:
    start = tex.index(r"\begin{tabular}", tex.index(r"\label{tab:sota_comparison}"))
    block = tex[start : tex.index(r"\end{tabular}", start)].replace("\\", "").replace("$rho$", "ρ")
    for _, row in paper.comparison_table().iterrows():
        for cell in row.drop(["exhibit", "bold"]).astype(str):
            assert all(word in block for word in cell.split()), cell
    ours = paper.comparison_table().to_csv(index=False)
    printed = re.sub(r"cite\{\w+\}", "", block[block.index("Chen") :])
    assert [match[0] for match in NUMBER.finditer(printed) if match[0] not in ours] == []


def test_every_labelled_exhibit_is_listed_in_order(tex: str) -> None:
    printed = re.findall(r"\\label\{((?:fig|tab):[^}]+)\}", tex)
    whole = [exhibit for exhibit in paper.EXHIBITS if exhibit["kind"] != "subfigure"]
    for prefix in ("fig", "tab"):
        ours = [exhibit["label"] for exhibit in whole if exhibit["label"].startswith(prefix)]
        assert ours == [label for label in printed if label.startswith(prefix)]
    subfigures = [exhibit["caption"] for exhibit in paper.EXHIBITS if exhibit["kind"] == "subfigure"]
    blocks = re.findall(r"\\begin\{subfigure\}.*?\\caption\{([^}]*)\}", tex, flags=re.S)
    assert [caption.rstrip(".") for caption in blocks] == subfigures


def test_figure_claims_quote_the_latex(tex: str) -> None:
    plain = tex.replace(r"\%", "%").replace("$<$", "<")
    found = list(bounds("asr"))
    assert len(found) > 8
    assert [claim.quote for claim, _ in found if claim.quote not in plain] == []


# Copied by hand from the paper, not from the data files.
HAND_EPSILON = [
    ("table1", 0.01, "resnet18", "fgsm", "12.71", False),
    ("table1", 0.05, "resnet18", "pgd", "100.00", False),
    ("table1", 0.10, "no_afd_mfe_msf", "pgd", "99.69", True),
    ("table1", 0.05, "no_afd", "clean", "99.79", True),
    ("table1", 0.05, "full", "bim", "75.35", True),
    ("table1", 0.10, "full", "bim", "9.82", True),
    ("table2", 0.01, "resnet18", "bim", "15.81", False),
    ("table2", 0.05, "no_afd_mfe_msf", "jsma", "73.61", False),
    ("table2", 0.10, "no_afd", "pgd", "97.67", False),
    ("table2", 0.10, "full", "pgd", "99.89", True),
]
HAND_COMPRESSION = [
    ("table3", 0.3, "resnet18", "fgsm", "87.76", False),
    ("table3", 0.8, "no_afd_mfe", "jsma", "32.97", True),
    ("table3", 0.3, "no_afd", "pgd", "6.54", False),
    ("table3", 0.3, "full", "pgd", "1.25", False),
    ("table4", 0.8, "resnet18", "pgd", "1.87", False),
    ("table4", 0.7, "no_afd", "bim", "0.74", False),
    ("table4", 0.7, "full", "bim", "0.49", False),
    ("table4", 0.3, "full", "bim", "96.34", True),
]


@pytest.mark.parametrize(("exhibit", "eps", "variant", "attack", "printed", "bold"), HAND_EPSILON)
def test_epsilon_sample(
    exhibit: str, eps: float, variant: str, attack: str, printed: str, bold: bool
) -> None:
    cell = paper.epsilon_table().query(
        "exhibit == @exhibit and eps == @eps and variant == @variant and attack == @attack"
    )
    assert cell[["printed", "accuracy", "bold"]].values.tolist() == [[printed, float(printed), bold]]


@pytest.mark.parametrize(("exhibit", "rate", "variant", "attack", "printed", "bold"), HAND_COMPRESSION)
def test_compression_sample(
    exhibit: str, rate: float, variant: str, attack: str, printed: str, bold: bool
) -> None:
    cell = paper.compression_table().query(
        "exhibit == @exhibit and prune_rate == @rate and variant == @variant and attack == @attack"
    )
    assert cell[["printed", "asr", "bold"]].values.tolist() == [[printed, float(printed), bold]]


def test_shapes_and_dtypes() -> None:
    for table, rows in ((paper.epsilon_table(), 150), (paper.compression_table(), 120)):
        assert len(table) == rows
        assert not table.isna().any().any()
        assert pd.api.types.is_bool_dtype(table["bold"])
    assert len(paper.comparison_table()) == 7


def test_protocol_sample() -> None:
    protocol = paper.PROTOCOL
    assert protocol["datasets"]["chest_xray"]["splits"] == {"train": 4099, "val": 878, "test": 879}
    assert protocol["datasets"]["roct"]["mean"] == 0.19338988
    assert protocol["training"]["adversarial_share"]["val"] == 0.70
    assert protocol["attacks"]["jsma"] == {"theta": 0.1, "gamma": 0.14}
    assert protocol["parameters_m"]["chest_xray"]["no_afd_mfe"] == "16.56"


def test_importing_the_paper_does_not_import_torch() -> None:
    code = "import sys, meddef.paper; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
