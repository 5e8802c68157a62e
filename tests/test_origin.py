"""Provenance of figures: the records' circumstances, each once, and nothing of the drawing machine."""

import base64
import io
import json

import nbformat
import pytest
from PIL import Image
from report_records import provenance, small_run

from meddef.figures import curves as figures
from meddef.figures import interactive
from meddef.figures.drawing import MIME
from meddef.figures.origin import KEYS_NAMED, origin
from meddef.figures.published import code_page, explain, forget
from meddef.figures.svg import compact
from meddef.report.report import Report


def report(cells: int) -> Report:
    """A report whose records have keys of their own, half of them computed at another commit."""
    records = small_run("chest_xray", ("full",))
    for number, record in enumerate(records):
        record["key"] = f"k{number % cells}"
    origins = [
        provenance()[0] | {"key": f"k{n}", "commit": "ab" * 20 if n % 2 else "cd" * 20, "dirty": bool(n % 2)}
        for n in range(cells)
    ]
    return Report("tiny", records, origins)


def test_origin_tells_each_value_once_and_counts_the_cells_of_a_commit() -> None:
    run = report(4)
    said = origin(run, run.records)
    assert said["records"]["keys"] == ["k0", "k1", "k2", "k3"]
    assert said["commits"] == [
        {"commit": "ab" * 20, "clean": False, "cells": 2},
        {"commit": "cd" * 20, "clean": True, "cells": 2},
    ]
    assert said["data"] == {"chest_xray": "data-chest_xray"}
    assert (said["seeds"], said["seconds"], len(said["versions"])) == ([0], 360.0, 1)


def test_many_keys_are_counted_and_digested() -> None:
    run = report(KEYS_NAMED + 1)
    records = origin(run, run.records)["records"]
    assert (records["count"], records["keys"]) == (KEYS_NAMED + 1, None)
    assert records["sha256"] != origin(run, run.records[:5])["records"]["sha256"]


def notebook_with(figure: object) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(
        "draw", metadata={"mystnb": {"image": {"alt": "Some curves of a test."}}}
    )
    cell.outputs = [nbformat.v4.new_output("execute_result", figure._repr_mimebundle_())]  # type: ignore[attr-defined]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [cell]
    return notebook


def test_a_figure_in_the_book_says_folded_where_it_comes_from() -> None:
    notebook = notebook_with(figures.security_curves(report(4)))
    explain(notebook, stem="05_epsilon", section="epsilon")
    _, below = notebook.cells[0].outputs
    html = below.data["text/html"]
    assert html.startswith('<details class="meddef-origin"><summary>Provenance of this figure')
    for told in (
        'download="05_epsilon_security_curves.csv"', "figures_code.html#curves.security_curves",
        "_sources/notebooks/tiny/05_epsilon.ipynb", "abababababab, with local changes", "Some CPU, 2 cores",
        "meddef reproduce --profile tiny --only epsilon --data-dir DATA", "data-chest_xray",
    ):  # fmt: skip
        assert told in html
    assert "curves.security_curves" in code_page()["figures_code.md"]


def test_stored_notebooks_keep_the_picture_only() -> None:
    notebook = notebook_with(figures.security_curves(report(4)))
    forget(notebook)
    (output,) = notebook.cells[0].outputs
    assert sorted(output.data) == ["image/svg+xml", "text/plain"]


def test_figures_without_records_are_not_published() -> None:
    shown = figures.security_curves(Report("bare", [], []))._repr_mimebundle_()
    assert MIME not in shown


def test_compacting_keeps_what_is_seen() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><style>*{}</style><g id="a"><g id="b">'
        '<path d="M 1.23456 -0.0001&#10;L 2 3" style="fill: red"/></g></g>'
        '<text style="font: 9px; font-family: \'DejaVu Sans\'" x="1.005">0.00500</text></svg>'
    )
    small = compact(svg)
    assert 'd="M1.23 0 2 3"' in small
    assert ">0.00500<" in small  # text is not rounded
    assert "<g" not in small
    assert "Verdana" in small


def test_compacting_says_nothing_twice() -> None:
    small = compact(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        '<defs><path id="m1" d="M 0 0 C 1 1 2 2 3 3 C 4 4 5 5 6 6 L 7 7 z" style="stroke: red; fill: none"/></defs>'
        '<use xlink:href="#m1" x="1" style="stroke: red; fill: none"/>'
        '<use xlink:href="#m1" x="2" style="fill: blue"/>'
        '<g clip-path="url(#p)"><use xlink:href="#m1" x="3" style="fill: red"/>'
        '<use xlink:href="#m1" x="4" style="fill: red"/></g><path d="M 2 2" clip-path="url(#p)"/>'
        '<path d="M 3 3" clip-path="url(#q)"/>'
        '<path d="M 4 4" style="opacity: 0.5"/><path d="M 5 5" style="opacity: 0.5"/></svg>'
    )
    assert small.split("\n")[1:-2] == [
        "<defs>",
        '<path id="m1" d="M0 0C1 1 2 2 3 3 4 4 5 5 6 6L7 7z" style="stroke:red;fill:none"/>',
        "</defs>",
        '<use xlink:href="#m1" x="1"/>',
        '<use xlink:href="#m1" x="2" style="fill:blue"/>',
        '<g clip-path="url(#p)">',
        '<g style="fill:red">',
        '<use xlink:href="#m1" x="3"/>',
        '<use xlink:href="#m1" x="4"/>',
        "</g>",
        '<path d="M2 2"/>',
        "</g>",
        '<path d="M3 3" clip-path="url(#q)"/>',
        '<path d="M4 4" style="opacity:0.5"/>',  # half of each is not half of both
        '<path d="M5 5" style="opacity:0.5"/>',
    ]


def test_compacting_embeds_a_picture_once_however_often_it_is_shown() -> None:
    pixel = base64.b64encode(png(2)).decode()
    other = base64.b64encode(png(3)).decode()
    images = "".join(
        f'<image xlink:href="data:image/png;base64,{data}" width="{size}" height="1" transform="scale({scale})" '
        'style="image-rendering: pixelated"/>'
        for data, size, scale in ((pixel, 1, 2), (pixel, 1, 3), (pixel, 9, 4), (other, 1, 5))
    )
    small = compact(
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{images}</svg>'
    )
    lines = small.split("\n")[1:-2]
    names = [line.split(" ")[0] for line in lines]
    assert names == ["<defs>", "<image", "</defs>", "<g", "<use", "<use", "<image", "<image", "</g>"]
    assert 'id="picture0"' in lines[1]
    assert "style" not in lines[1]  # what stands in a group there is not handed down
    assert lines[4:6] == [f'<use xlink:href="#picture0" transform="scale({scale})"/>' for scale in (2, 3)]


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1, 1), shade).save(buffer, "png")
    return buffer.getvalue()


class TestInteractive:
    def test_curves_hold_the_counts_of_the_records(self) -> None:
        twin = interactive.security_curves(report(4))
        pgd = next(choice for choice in twin.choices if choice["label"] == "Chest X-Ray, PGD")
        measured, constant, published = pgd["data"]
        # 7 of 8 on clean images, 3 and 1 of 8 at the two budgets
        assert measured["text"][1] == "Full DAAM: 3 of 8 images correct, 37.5 % [13.7, 69.4], balanced 37.5 %"
        assert measured["y"] == [87.5, 37.5, 12.5]
        assert constant["text"][1] == "constant classifier NORMAL: 50.0 % correct, n = 8"
        assert published["text"][1] == "Full DAAM: the paper prints 98.83 %"  # Table 2, at 0.05
        assert pgd["steps"][twin.start]["label"] == "0.05"

    def test_matrices_hold_the_counts_of_the_records(self) -> None:
        twin = interactive.pruned_confusion(report(4), 0.05)
        pgd = next(choice for choice in twin.choices if choice["label"].endswith("PGD"))
        assert [step["label"] for step in pgd["steps"]] == ["0", "30"]
        for step in pgd["steps"]:  # 2 of 8 right in the pruning grid; the ε-grid, with 3, is another
            assert step["counts"] == [[1, 3], [3, 1]]

    def test_it_is_what_plotly_takes_and_stays_in_its_script(self) -> None:
        graph_objects = pytest.importorskip("plotly.graph_objects")
        twin = interactive.security_curves(report(4))
        for choice in twin.choices:
            for trace in choice["data"]:
                graph_objects.Scatter(trace)  # raises where plotly does not know a property
        html = twin._repr_html_()
        inside = html.split('<script type="application/json">')[1].split("</script>")[0]
        assert json.loads(inside)["slider"] == "ε"
        assert html.count("</script>") == 1
