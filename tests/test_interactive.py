"""Interactive twins in a browser without network: a button loads plotly, a slider changes what is drawn and said."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from report_records import provenance, small_run

from meddef.figures import interactive
from meddef.report.report import Report

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", "--virtual-time-budget=20000",
)  # fmt: skip
PRESS = """
<script>
addEventListener("load", function () {
  document.querySelectorAll(".meddef-interactive").forEach(function (box) {
    document.body.dataset.loadedBefore = String(Boolean(window.Plotly));
    box.querySelector("button").click();
    var timer = setInterval(function () {
      var slider = box.querySelector("input[type=range]");
      if (!slider || !box.querySelector(".js-plotly-plot .main-svg")) return;
      clearInterval(timer);
      box.dataset.first = box.querySelector("ul").textContent;
      slider.value = slider.max;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      box.dataset.last = box.querySelector("ul").textContent;
      box.dataset.focus = document.activeElement.tagName;
    }, 50);
  });
});
</script>
"""


def browse(twin: interactive.Twin, folder: Path) -> str:
    """The page after its button was pressed and its slider moved to the end."""
    plotly = find_spec("plotly")
    if CHROMIUM is None or plotly is None:
        pytest.skip("needs chromium and plotly")
    shutil.copy(Path(str(plotly.origin)).parent / "package_data" / "plotly.min.js", folder)
    shutil.copy(STATIC / "interactive.js", folder)
    page = f'<!doctype html><body>{twin._repr_html_()}<script src="interactive.js"></script>{PRESS}</body>'
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        f"file://{folder}/page.html",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=280).stdout


def said(page: str, which: str) -> str:
    return re.findall(rf'data-{which}="([^"]*)"', page)[0]


def test_the_slider_reads_every_model_at_one_epsilon(tmp_path: Path) -> None:
    report = Report("tiny", small_run("chest_xray", ("resnet18", "full")), provenance())
    page = browse(interactive.security_curves(report), tmp_path)
    assert said(page, "loaded-before") == "false"  # plotly comes with the button, not with the page
    # 3 of 8 at 0.05, where the slider starts, and 1 of 8 at its end, 0.1
    assert "Full DAAM: 3 of 8 images correct" in said(page, "first")
    assert "Full DAAM: 1 of 8 images correct" in said(page, "last")
    assert "Full DAAM: the paper prints" in said(page, "last")
    assert said(page, "focus") == "SELECT"  # keyboard focus continues where the button was
    assert re.search(r"<label>ε <input", page)


def test_the_slider_changes_the_matrix(tmp_path: Path) -> None:
    records = small_run("chest_xray", ("full",))
    pruned = next(
        r
        for r in records
        if (r.get("grid"), r.get("prune_rate"), r.get("attack")) == ("pruning", 0.3, "clean")
    )
    pruned["after"] = "1" * 8
    report = Report("tiny", records, provenance())
    page = browse(interactive.pruned_confusion(report, 0.05), tmp_path)
    assert said(page, "first").startswith("right: 7 of 8, 87.5 %")
    assert said(page, "last").startswith("right: 4 of 8, 50.0 %")
    assert "PNEUMONIA: 4 of 4 found, 100.0 %" in said(page, "last")
