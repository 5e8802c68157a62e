"""The bench's own arithmetic and its table writer; speed itself is never tested."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.bench import peers, store, workload
from tests.bench.table import Row, interleaved, ratio
from tests.bench.tf32 import as_tf32, in_tf32


@pytest.mark.parametrize(
    ("measured", "least", "most", "verdict"),
    [
        (2.0, 2.0, None, "PASS"),
        (1.99, 2.0, None, "BELOW"),
        (1.0, None, 1.0, "PASS"),
        (1.01, None, 1.0, "ABOVE"),
        (-0.6, -0.5, 0.5, "BELOW"),
        (0.6, -0.5, 0.5, "ABOVE"),
        (None, 2.0, None, "not measured"),
        (2.0, None, None, "–"),
        (None, None, None, "–"),
    ],
)
def test_verdicts(measured: float | None, least: float | None, most: float | None, verdict: str) -> None:
    assert Row("work", measured, "x", least=least, most=most).verdict == verdict


def test_a_ratio_is_the_peers_time_over_ours_and_a_missing_peer_is_named() -> None:
    times = {"peer": 6.0, "ours": 2.0}
    assert ratio("work", times, "peer", "ours", least=2.5) == Row("work", 3.0, "x", least=2.5)
    for missing in (
        ratio("work", times, "gone", "ours", least=2.5),
        ratio("work", times, "peer", "gone", least=2.5),
    ):
        assert (missing.measured, missing.note) == (None, "peer not installed: gone")
        assert missing.verdict == "not measured"


def test_candidates_take_turns_after_one_round_to_warm_up() -> None:
    order: list[str] = []
    times = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert order == list("ababab")
    assert set(times) == {"a", "b"}


def test_a_peer_that_is_not_installed_gives_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "load", lambda module: None)
    model, x, labels = nn.Flatten(), torch.zeros(1, 1, 1, 2), torch.tensor([0])
    assert peers.torchattacks("BIM", model, x, labels, eps=0.1) == {}
    assert peers.foolbox_bim(model, x, labels, eps=0.1, step=0.1, steps=1) == {}
    assert peers.art_bim(model, x, labels, eps=0.1, step=0.1, steps=1) == {}
    assert peers.art_jsma(model, x, labels, theta=1.0, gamma=0.1) == {}


def test_the_table_is_small_text_that_says_where_it_comes_from(tmp_path: Path) -> None:
    rows = [Row("bim: fast", 1.23456, "x", least=2.0, note="why"), Row("jsma", None, "x", least=8.0)]
    points = [{"axis": "batch", "value": 4, "mode": "floor", "ms": 0.123456}]
    path = tmp_path / "bench" / "attacks.json"
    store.write(path, rows, points, seconds=12.3)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["rows"][0] == {
        "workload": "bim: fast", "measured": 1.235, "unit": "x", "least": 2.0, "most": None, "note": "why",
        "verdict": "BELOW",
    }  # fmt: skip
    assert written["rows"][1]["measured"] is None
    assert written["growth"] == [{"axis": "batch", "value": 4, "mode": "floor", "ms": 0.1235}]
    origin = written["provenance"]
    assert origin["threads"] == torch.get_num_threads()
    assert {"python", "torch"} <= set(origin["versions"])
    assert {"hardware", "commit", "finished"} <= set(origin)


def test_the_floor_is_one_gradient_a_step() -> None:
    gradients = []

    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.register_hook(lambda gradient: gradients.append(len(gradient)))
            return x.flatten(1)

    workload.floor(Counts(), torch.zeros(3, 1, 1, 2), torch.tensor([0, 1, 0]), 4)
    assert gradients == [3, 3, 3, 3]


def test_bands_are_where_their_label_says() -> None:
    x, labels = workload.bands(200, 4, 32, seed=0)
    assert x.shape == (200, 3, 32, 32)
    rows = x.mean(dim=(1, 3)).reshape(200, 4, 8).mean(2)
    assert (rows.argmax(1) == labels).float().mean() > 0.9
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1


def test_tf32_keeps_ten_bits_of_the_mantissa_and_rounds_ties_to_even() -> None:
    last, half = 2.0**-10, 2.0**-11
    given = torch.tensor([0.0, 1.0, 1 + last, 1 + half, 1 + 3 * half, -1 - half - 2**-20, 4 + 4 * half])
    assert as_tf32(given).tolist() == [0.0, 1.0, 1 + last, 1.0, 1 + 2 * last, -1 - last, 4.0]


def test_a_copy_in_tf32_rounds_operands_of_convolutions_and_nothing_else() -> None:
    convolution, linear = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(1, 1, bias=False)
    for module in (convolution, linear):
        nn.init.constant_(module.weight, 1 + 2.0**-12)
    other = in_tf32(nn.Sequential(convolution, nn.Flatten(), linear))
    assert other(torch.full((1, 1, 1, 1), 3 - 2.0**-12)).item() == 3 * (1 + 2.0**-12)
    assert convolution.weight.item() == 1 + 2.0**-12
