"""The attack playground in headless Chromium: what a reader does, and the same attacks in Python."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import CHROMIUM
from playground_page import ROOT, NoRuntime, standing_alone
from steered_browser import Page, browser
from torch import Tensor

from meddef.attacks import fgsm, jsma, pgd, reach
from meddef.playground.images import shown
from meddef.playground.onnx_file import load
from meddef.playground.page import NAMES, SOURCE

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
LOADED = "globalThis.meddefPlayground && meddefPlayground.done === meddefPlayground.run"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return standing_alone(tmp_path_factory.mktemp("playground"))
    except NoRuntime as error:
        pytest.skip(f"needs onnxruntime-web from the npm registry: {error}")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(html))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/playground.html"
        server.shutdown()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(tab: Page, address: str) -> Page:
    """The page as a reader finds it, its first attack done; loaded once, as that takes longest."""
    if tab.run("location.href") != address or not tab.run("Boolean(globalThis.meddefPlayground?.models)"):
        tab.open(address)
        tab.wait(f"{LOADED} && meddefPlayground.models")
    tab.run("document.querySelector('#playground form').reset()")
    choose(tab, picture=tab.run("document.querySelector('#playground form').elements.picture.value"))
    return tab


SET = """(name, value) => {
  const field = document.querySelector("#playground form").elements[name];
  if (field.type === "checkbox") field.checked = value; else field.value = value;
  const chosen = field instanceof RadioNodeList ? Array.from(field).find((radio) => radio.checked) : field;
  chosen.dispatchEvent(new Event("input", {bubbles: true}));
}"""
RESULTS = """Object.fromEntries(
  Object.entries(meddefPlayground.results).map(([name, result]) => [name, {...result, x: Array.from(result.x)}]))"""


def choose(page: Page, **fields: Any) -> dict[str, dict[str, Any]]:
    """Set fields of the form as a reader would, wait for the attack, and return what it did, by model."""
    for name, value in fields.items():
        page.run(f"({SET})({json.dumps(name)}, {json.dumps(value)})")
    page.wait(LOADED)
    return page.run(RESULTS)


def image_of(page: Page) -> np.ndarray:
    return np.array(page.run("Array.from(meddefPlayground.image)"), dtype=np.float32)


def verdicts(page: Page) -> dict[str, str]:
    return {name: page.run(f"document.querySelector('[data-model={name}]').dataset.state") for name in NAMES}


def test_slider_by_keyboard_from_nothing_to_a_flip(page: Page) -> None:
    page.run("document.querySelector('#playground [name=eps]').focus()")
    page.press("Home")
    page.wait(LOADED)
    assert verdicts(page) == {"undefended": "holds", "defended": "holds"}
    image = image_of(page)
    for result in choose(page).values():
        assert np.array_equal(np.array(result["x"], dtype=np.float32), image)
    page.press("ArrowRight", 15)  # 0.030
    page.wait(LOADED)
    assert page.run("document.querySelector('#playground [name=eps]').value") == "0.03"
    assert verdicts(page)["undefended"] == "fooled"
    status = page.run("document.querySelector('.pg-status[aria-live=polite]').textContent")
    assert status.startswith("undefended fooled: ")
    assert page.problems == []


FOCUS = """(() => {
  const here = document.activeElement;
  const shown = here.name === "picture" ? here.nextElementSibling : here;
  return [here.name || here.className || here.tagName, getComputedStyle(shown).outlineStyle];
})()"""


def test_every_control_is_reached_by_tab_and_shows_its_focus(page: Page) -> None:
    page.run("document.querySelector('#playground [name=picture]:checked').focus()")
    before = image_of(page)
    page.press("ArrowRight")
    seen = [page.run(FOCUS)]
    assert not np.array_equal(image_of(page), before)
    for _ in range(8):
        page.press("Tab")
        seen.append(page.run(FOCUS))
    names = ["picture", "CANVAS", "brush", "width", "pg-undo", "attack", "eps", "steps", "random"]
    assert [name for name, _ in seen] == names
    assert "none" not in {outline for _, outline in seen}


def test_drawing_with_keys_changes_the_image_and_undo_brings_it_back(page: Page) -> None:
    before = image_of(page)
    page.run("document.querySelector('.pg-sketch canvas').focus()")
    page.press("ArrowLeft", 3)
    page.press(" ")
    page.wait(LOADED)
    drawn = image_of(page)
    rows, columns = np.nonzero((drawn != before).reshape(64, 64))
    assert {32}.issubset(rows)
    assert {29}.issubset(columns)
    assert len(rows) <= 9
    page.run("document.querySelector('.pg-undo').click()")
    page.wait(LOADED)
    assert np.array_equal(image_of(page), before)


def python_attack(name: str, eps: float, steps: int) -> Callable[..., Tensor]:
    return {
        "fgsm": partial(fgsm, eps=eps),
        "pgd": partial(pgd, eps=eps, step_size=eps / 5, steps=steps, random_start=False),
        "jsma": partial(jsma, theta=0.7, gamma=0.2),
    }[name]


class Bowl(torch.nn.Module):
    """Two classes; the gradient of each pixel is exact in float32, so that attacks must agree bit for bit."""

    def __init__(self, place: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.place, self.weight = place, weight

    def forward(self, x: Tensor) -> Tensor:
        z = (self.weight * (x - self.place) ** 2).flatten(1).sum(1) - 1
        return torch.stack([z, -z], 1)


BOWL = """async (name, image, place, weight, settings) => {
  const attacks = await import(new URL("modules/attacks.js", location.href).href);
  const bowl = async (x, onehot, weights) => {
    const z = x.reduce((sum, value, i) => sum + weight[i] * (value - place[i]) ** 2, 0) - 1;
    const share = 1 / (1 + Math.exp(-2 * z));  // of class 0
    const push = 2 * onehot[0] * (share - 1) + weights[0] - weights[1];  // dJ/dz; the label is 0
    const gradient = x.map((value, i) => push * 2 * weight[i] * Math.fround(value - place[i]));
    return {logits: [z, -z], loss: 0, gradient, heat: []};
  };
  let last;
  for await (const point of attacks[name](bowl, Float32Array.from(image), 0, {...settings, classes: 2})) last = point;
  return Array.from(last.x);
}"""


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "jsma"])
def test_attacks_are_bit_for_bit_those_of_meddef_attacks_where_gradients_are_exact(
    page: Page, attack: str
) -> None:
    generator = torch.Generator().manual_seed(5)
    image, place = (torch.rand(1, 1, 8, 8, generator=generator) for _ in range(2))
    image.flatten()[:4] = torch.tensor([0.0, 1.0, 0.001, 0.9995])
    weight = torch.randint(1, 5, (1, 1, 8, 8), generator=generator) / 8
    for eps in (0.03, 0.1):
        expected = python_attack(attack, eps, 10)(
            Bowl(place, weight), image, torch.zeros(1, dtype=torch.long)
        )
        settings = {"eps": eps, "stepSize": eps / 5, "steps": 10, "theta": 0.7, "gamma": 0.2}
        given = [attack, *(tensor.flatten().tolist() for tensor in (image, place, weight)), settings]
        found = torch.tensor(page.run(f"({BOWL})(...{json.dumps(given)})")).reshape(image.shape)
        assert torch.equal(found, expected)
        assert not torch.equal(found, image)


@pytest.mark.filterwarnings(
    "ignore::meddef.attacks.ShortReachWarning"
)  # two steps, so that rounding stays small
@pytest.mark.parametrize(
    ("attack", "steps", "least"), [("fgsm", 1, 0.97), ("pgd", 2, 0.9), ("jsma", 1, 0.999)]
)
def test_on_the_two_models_they_do_what_they_do_in_pytorch(
    page: Page, attack: str, steps: int, least: float
) -> None:
    """Not bit for bit: where a gradient is all but 0 its sign is chance, and later steps follow."""
    images, labels = shown()
    number, eps = 4, 0.03
    results = choose(page, picture=number, attack=attack, eps=eps, steps=steps, theta=0.7, gamma=14)
    image = torch.from_numpy(images[number : number + 1]).float().div(255)[:, None]
    label = torch.from_numpy(labels[number : number + 1])
    assert np.array_equal(image_of(page), image.numpy().ravel())
    for name, result in results.items():
        model = load(ROOT / SOURCE / f"{name}.onnx")
        expected = python_attack(attack, eps, steps)(model, image, label)
        found = torch.tensor(result["x"]).reshape(image.shape)
        assert float((found == expected).float().mean()) >= least, name
        with torch.no_grad():
            logits = model(expected)[0]
        assert torch.allclose(
            torch.tensor(result["logits"]), logits, atol=0.05 * float(logits.abs().max())
        ), name
        if attack != "jsma":
            assert float((found.double() - image.double()).abs().max()) <= eps


SHORTFALL = """async (settings) => {
  const { shortfall } = await import(new URL("modules/reach.js", location.href).href);
  return settings.map(shortfall);
}"""


def test_reach_has_the_rule_and_the_words_of_meddef_attacks(page: Page) -> None:
    cases = [
        (eps, 5, steps, start)
        for eps in (0.0, 0.002, 0.02, 0.03, 0.1)
        for steps in (1, 2, 4, 5, 9, 10, 40)
        for start in (False, True)
    ]
    given = [
        {"eps": eps, "stepSize": eps / ratio, "steps": steps, "randomStart": start}
        for eps, ratio, steps, start in cases
    ]
    found = page.run(f"({SHORTFALL})({json.dumps(given)})")
    for (eps, ratio, steps, start), words in zip(cases, found, strict=True):
        expected = reach.shortfall(eps, eps / ratio, steps, random_start=start)
        assert bool(words) == bool(expected) == (eps > 0 and steps < (10 if start else 5))
        if words:
            said, _, remedy = words.partition(": take at least ")
            assert said == expected.partition(": use ")[0].replace("1 steps", "1 step")
            assert remedy == f"{10 if start else 5} steps"


def test_steps_that_do_not_reach_are_named_beside_the_slider(page: Page) -> None:
    short = "document.querySelector('#playground .pg-short').textContent"
    assert page.run(short) == ""  # as the page starts: ten steps from the image
    choose(page, steps=4)
    assert page.run(short).startswith(
        "The attack cannot reach its ε: 4 steps of 0.004 reach 0.016, and ε = 0.02 "
    )
    choose(page, steps=5)
    assert page.run(short) == ""
    choose(page, random=True)
    assert "from a random start takes 0.04: take at least 10 steps" in page.run(short)
    choose(page, attack="fgsm")
    assert page.run(short) == ""


def test_noise_moves_every_pixel_by_epsilon_or_to_a_bound(page: Page) -> None:
    results = choose(page, attack="noise", eps=0.05)
    image = image_of(page).astype(np.float64)
    x = np.array(results["defended"]["x"])
    moved = np.abs(np.abs(x - image) - 0.05) < 1e-6
    assert (moved | (x == 0) | (x == 1)).all()
    assert np.array_equal(results["defended"]["x"], results["undefended"]["x"])


def test_a_random_start_stays_in_the_ball_and_is_another_way(page: Page) -> None:
    straight = choose(page, attack="pgd", eps=0.02, steps=3)["defended"]["x"]
    results = choose(page, random=True)["defended"]
    x = np.array(results["x"])
    assert np.abs(x - image_of(page)).max() <= 0.02
    assert not np.array_equal(x, straight)
    assert len(results["losses"]) == 4


def test_without_webassembly_the_page_says_so(tab: Page, address: str) -> None:
    tab.open(address, first="delete window.WebAssembly")
    tab.wait("document.querySelector('#playground [role=alert]')")
    assert "no WebAssembly" in tab.run("document.querySelector('#playground [role=alert]').textContent")


def test_without_the_runtime_the_page_says_how_to_get_it(tab: Page, html: Path, address: str) -> None:
    runtime = html / "playground" / "onnxruntime.js"
    runtime.rename(html / "aside.js")
    try:
        tab.send("Network.clearBrowserCache")
        tab.open(address)
        tab.wait("document.querySelector('#playground [role=alert]')")
        assert "Run make book again" in tab.run(
            "document.querySelector('#playground [role=alert]').textContent"
        )
    finally:
        (html / "aside.js").rename(runtime)


def test_opened_as_a_file_it_works_too(tab: Page, html: Path) -> None:
    tab.open((html / "playground.html").as_uri())
    tab.wait(LOADED)
    assert verdicts(tab).keys() == set(NAMES)
    assert tab.run("meddefPlayground.results.defended.losses.length") == 11
