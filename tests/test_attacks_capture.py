"""The recorded steps of PGD against the plain loop, on a CPU: run as they are, and taped once and replayed."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from attack_models import Linear, answers, cnn, images, labels_of, stripes, trained
from taped import eagerly, taped
from torch import Tensor, nn

from meddef.attacks import Trace, pgd
from meddef.attacks import gradient as gradient_module
from meddef.attacks.capture import Captured, NotCapturedWarning, holding
from meddef.attacks.contract import ZeroGradientWarning
from meddef.attacks.cuda_graph import NotRecordable
from meddef.attacks.loop import climb
from meddef.errors import InputError
from meddef.models import build_model

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
SETTINGS: dict[str, Any] = {"eps": 0.08, "step_size": 0.01, "steps": 20}


@pytest.fixture(params=[eagerly, taped])
def captured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Captured:
    """What ``pgd`` climbs with in this test."""
    return use(Captured(request.param), monkeypatch)


def use(made: Captured, monkeypatch: pytest.MonkeyPatch) -> Captured:
    @contextmanager
    def instead(device: object, steps: int | None = None) -> Iterator[Captured]:
        with holding(made):
            yield made

    monkeypatch.setattr(gradient_module, "climbing", instead)
    return made


def both(captured: Captured, *args: Any, **settings: Any) -> tuple[Tensor, Tensor]:
    """Images of the recorded steps, and of the plain loop."""
    found = pgd(*args, **settings)
    assert captured.steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Captured, "__call__", lambda self, *a, **k: climb(*a, **k))
        return found, pgd(*args, **settings)


def test_a_loss_of_the_callers_is_asked_at_every_step(captured: Captured) -> None:
    """It may count, which a replay would not."""
    asked: list[int] = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        asked.append(len(labels))
        return logits[:, 0] * (-1) ** len(asked)

    pgd(cnn(), images(), LABELS, loss=loss, **SETTINGS)
    assert asked == [6] * SETTINGS["steps"]
    assert not captured.steps


@pytest.mark.filterwarnings("ignore::meddef.attacks.contract.ZeroGradientWarning")  # of dlr, where it is flat
@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_images_are_those_of_the_plain_loop_bit_for_bit(
    captured: Captured, norm: str, targeted: bool, loss: str
) -> None:
    eps = torch.linspace(0.02, 0.08, 6) * (1 if norm == "linf" else 10)
    settings = {
        "eps": eps,
        "step_size": eps / 4,
        "steps": 9,
        "norm": norm,
        "targeted": targeted,
        "loss": loss,
    }
    found, plain = both(captured, cnn(), images(), LABELS, restarts=2, **settings)
    assert torch.equal(found, plain)
    assert not torch.equal(found, images())


def test_channels_last_images_stay_so(captured: Captured) -> None:
    x = images().contiguous(memory_format=torch.channels_last)
    found, plain = both(captured, cnn(), x, LABELS, **SETTINGS)
    assert torch.equal(found, plain)
    assert found.stride() == x.stride()


def test_a_recording_serves_the_next_batch(captured: Captured) -> None:
    model = cnn()
    for seed in range(3):
        eps = 0.03 + 0.01 * seed
        settings = {"eps": eps, "step_size": eps / 4, "steps": 10 + seed}
        found, plain = both(captured, model, images(seed=seed), LABELS.roll(seed), **settings)
        assert torch.equal(found, plain)
    assert len(captured.steps) == 1
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    found, plain = both(captured, model, images(), LABELS, **SETTINGS)
    assert torch.equal(found, plain)
    found, plain = both(captured, cnn(seed=5), images(), LABELS, **SETTINGS)
    assert torch.equal(found, plain)
    assert len(captured.steps) == 2
    with pytest.raises(InputError, match="label 4 is out of range"):
        pgd(model, images(), LABELS + 1, **SETTINGS)


@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_stop_first_is_that_of_the_plain_loop(captured: Captured, loss: str) -> None:
    """Through several sizes: what leaves, when, and who resists to the end."""
    model, (x, labels) = trained(4), stripes(70, 4, 28, seed=999)
    eps = torch.linspace(0, 0.12, 70)
    settings = {"eps": eps, "step_size": eps / 20, "steps": 40, "loss": loss, "stop": "first"}
    found, plain = both(captured, model, x, labels, random_start=False, **settings)
    assert 10 < int((answers(model, found) != labels).sum()) < 60
    assert torch.equal(answers(model, found), answers(model, plain))
    assert (found != plain).flatten(1).any(1).sum() <= 2  # another batch may round a gradient otherwise
    sizes = [key[0] for key in captured.steps]
    assert sizes[0] == 70
    assert len(sizes) > 1
    assert all(size & (size - 1) == 0 for size in sizes[1:])


def test_stop_first_ends_when_all_are_fooled(captured: Captured) -> None:
    model, (x, labels) = trained(4), stripes(8, 4, 28, seed=999)
    seen: list[int] = []
    wrong = (labels + 1) % 4
    settings = {**SETTINGS, "stop": "first", "random_start": False}
    assert torch.equal(pgd(model, x, wrong, progress=lambda done, _: seen.append(done), **settings), x)
    assert seen == [1]
    once = pgd(model, x, labels, restarts=3, **settings)
    assert (answers(model, once) != labels).all()


class Coarse(nn.Module):
    """Misclassifies image i once its mean pixel exceeds its own threshold, or a surrogate's."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1).mean(1) - self.place
        return torch.stack([score, score * 0], 1)


def test_the_model_is_asked_whether_an_image_is_fooled(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in believes it 30 steps too early; the image gets these back, and stops at most four too late."""
    model = Coarse(0.90)
    monkeypatch.setattr(gradient_module, "gradient_source", lambda *a, **k: Coarse(0.605).eval())
    x, labels = torch.full((3, 1, 2, 2), 0.5), torch.ones(3, dtype=torch.int64)
    x[2] = 0.95  # at once
    settings = {"eps": 0.5, "step_size": 0.01, "steps": 60, "stop": "first", "random_start": False}
    found = pgd(model, x, labels, **settings)
    assert (model(found).argmax(1) == 0).all()
    assert torch.equal(found[2], x[2])
    assert ((found[:2] > 0.90) & (found[:2] < 0.95)).all()
    few = pgd(model, x[:2], labels[:2], **{**settings, "eps": 0.25, "steps": 25})
    torch.testing.assert_close(few, torch.full_like(few, 0.75))


class Poison(nn.Module):
    """NaN logits, or NaN gradients, of images whose mean has passed a half."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        late = mean > 0.5
        if self.what == "logits":
            score = torch.where(late, torch.nan, mean)
        else:
            score = mean + torch.where(late, mean - mean.detach(), 1).sqrt()
        return torch.stack([score - 5, score * 0], 1)


@pytest.mark.parametrize("stop", ["never", "first"])
@pytest.mark.parametrize(
    ("what", "words"), [("logits", "NaN or infinite logits"), ("gradient", "gradient of image")]
)
def test_what_is_not_finite_is_refused_in_the_same_words(
    captured: Captured, what: str, words: str, stop: str
) -> None:
    x = torch.full((11, 1, 2, 2), 0.3)
    x[4], x[7] = 0.46, 0.45
    model, labels = Poison(what), torch.ones(11, dtype=torch.int64)
    labels[5] = 0  # is wrong from the start
    settings = {
        "eps": 0.2,
        "step_size": 0.01,
        "steps": 20,
        "random_start": False,
        "loss": "margin",
        "stop": stop,
    }
    messages = []
    for way in (Captured.__call__, lambda self, *a, **k: climb(*a, **k)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Captured, "__call__", way)
            with pytest.raises(InputError, match=words) as error:
                pgd(model, x, labels, **settings)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    pgd(model, torch.full_like(x, 0.2), labels, **settings)  # the same recordings, and nothing left of it
    assert "image 4" in messages[0]


@pytest.mark.parametrize("stop", ["never", "first"])
def test_zero_gradients_are_counted_alike(captured: Captured, stop: str) -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

    class Flat(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.where(x[:, :1] > 0.4, x.detach()))

    x = torch.tensor([[0.1, 0.0], [0.6, 0.5], [0.2, 0.0], [0.45, 0.6]])
    labels = torch.zeros(4, dtype=torch.int64)
    said = []
    for way in (Captured.__call__, lambda self, *a, **k: climb(*a, **k)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Captured, "__call__", way)
            with pytest.warns(ZeroGradientWarning) as caught:
                pgd(Flat(weight), x, labels, stop=stop, random_start=False, **SETTINGS)
        said.append(str(caught[0].message))
    assert said[0] == said[1]
    assert ("2 of 4" if stop == "never" else "2 of 3") in said[0]


@pytest.mark.parametrize("variant", ["resnet18", "full"])
@pytest.mark.parametrize("stop", ["never", "first"])
def test_the_models_of_the_paper_can_be_recorded(
    monkeypatch: pytest.MonkeyPatch, variant: str, stop: str
) -> None:
    captured = use(Captured(taped), monkeypatch)
    torch.manual_seed(0)
    model = build_model(variant, 2, mean=0.4, std=0.2)
    x = images(3, size=32)
    found, plain = both(
        captured, model, x, labels_of(model, x), eps=0.01, step_size=0.003, steps=9, stop=stop
    )
    torch.testing.assert_close(found, plain, rtol=0, atol=2e-3)


class OnTheHost(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat[:, :4] * (2 if float(flat.sum().detach()) > 0 else 1)


def test_a_model_that_cannot_be_recorded_runs_as_it_comes_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def record(step: Callable[[], None]) -> Callable[[], None]:
        step()
        try:
            return taped(step)
        except RuntimeError as error:
            raise NotRecordable("it needs the host") from error

    captured, model = use(Captured(record), monkeypatch), OnTheHost()
    with pytest.warns(NotCapturedWarning, match="it needs the host"):
        found = pgd(model, images(), LABELS, **SETTINGS)
    assert not captured.steps
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(found, pgd(model, images(), LABELS, **SETTINGS))
    with pytest.warns(NotCapturedWarning):
        pgd(OnTheHost(), images(), LABELS, **SETTINGS)


def test_a_model_that_counts_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Captured(taped), monkeypatch)

    class Turns(nn.Module):
        turn = 0

        def forward(self, x: Tensor) -> Tensor:
            self.turn += 1
            return x.flatten(1)[:, :4] * (1 if self.turn % 2 else -1)

    with pytest.warns(NotCapturedWarning, match="changes numbers"):
        pgd(Turns(), images(), LABELS, **SETTINGS)


def test_a_trace_takes_the_plain_loop(captured: Captured) -> None:
    trace = Trace()
    pgd(cnn(), images(), LABELS, trace=trace, **SETTINGS)
    assert len(trace.loss) == 21
    assert not captured.steps
