"""What the finished pages do to running text, and what they leave alone."""

from pathlib import Path

import pytest

from meddef.book.typography import typeset, typeset_pages


@pytest.mark.parametrize(
    ("written", "set_"),
    [
        (
            "<p>49.0 % [42.2, 55.8] of n = 200</p>",
            "<p>49.0\u00a0% [42.2,\u00a055.8] of n\u00a0=\u00a0200</p>",
        ),
        ("<td>-4.0 points [-9.4, +2.0]</td>", "<td>\u22124.0 points [\u22129.4,\u00a0+2.0]</td>"),
        ("p = 8.6e-11", "p\u00a0=\u00a08.6e\u201111"),
        ("see Fig. 4 and Table 2", "see Fig.\u00a04 and Table\u00a02"),
        ("<b>-3</b> at 64 px", "<b>\u22123</b> at 64\u00a0px"),
    ],
)
def test_numbers_stay_with_what_belongs_to_them(written: str, set_: str) -> None:
    assert typeset(written) == set_


@pytest.mark.parametrize(
    "text",
    [
        "<code>x = 5 % -3</code>",
        '<pre>n = 200\n<span class="o">-</span>1</pre>',
        "<script>var n = 5 % -2;</script>",
        '<a href="?n = 3 %" title="-1 %">x</a>',
        "<!-- n = 5 % -->",
        '<dt class="sig py" id="f">f(<em>rate</em>=-1, <em>lr</em>=1e-3)</dt>',
        "2026-11-25 at 3-5, sha-1, a-2, octdl-4",
        "CC-BY-4.0 and 10.1000/x-7",
    ],
)
def test_code_attributes_dates_and_names_stay(text: str) -> None:
    assert typeset(text) == text


def test_the_lines_of_a_signature_are_no_list_without_terms(tmp_path: Path) -> None:
    parameter = '<dd><em class="sig-param">eps</em>,</dd>'
    page = tmp_path / "api.html"
    page.write_text(
        f'<dt class="sig">f(\n<dl>\n{parameter}\n{parameter}\n</dl>\n)</dt><dl><dt>a</dt><dd>b</dd></dl>'
    )
    typeset_pages(tmp_path)
    text = page.read_text()
    assert text.count('<div class="meddef-parameter"><em class="sig-param">eps</em>,</div>') == 2
    assert text.count("<dl>") == text.count("<dd>") == 1
