"""On a machine with a CUDA GPU: recorded steps against the plain loop, models without them, memory, equal bits."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attack_models import assert_within, cnn, images, labels_of
from torch import Tensor, nn

from meddef.arithmetic import repeatable
from meddef.attacks import bim, fgsm, pgd
from meddef.attacks.capture import Captured, NotCapturedWarning, climbing
from meddef.attacks.fast import gradient_source
from meddef.attacks.loop import climb
from meddef.attacks.shadow import Shadow
from meddef.data.images import ImageSet
from meddef.evaluation import evaluate
from meddef.models import build_model
from meddef.training.gpu_resident import resident

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
MODES: list[dict[str, Any]] = [{}, {"fast": True}, {"precision": "bf16"}, {"fast": True, "precision": "bf16"}]
N, SIZE = 64, 64
SETTINGS: dict[str, Any] = {"eps": 0.03, "step_size": 0.004, "steps": 20}


@pytest.fixture(scope="module", params=["resnet18", "full"])
def paper(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor]:
    """A model of the paper with non-trivial BatchNorm statistics, images, and its predictions."""
    return of_the_paper(request.param)


def of_the_paper(variant: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = build_model(variant, 2, mean=0.45, std=0.3).cuda().train()
    x = images(N, size=SIZE).cuda().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for _ in range(8):
            model(x)
    return model.eval(), x, labels_of(model, x)


@contextmanager
def plainly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Captured, "__call__", lambda self, *args, **settings: climb(*args, **settings))
        yield


def loss(model: nn.Module, x: Tensor, labels: Tensor) -> tuple[float, int]:
    """Mean cross-entropy, and how many are fooled."""
    with torch.no_grad():
        logits = model(x)
    return float(F.cross_entropy(logits, labels)), int((logits.argmax(1) != labels).sum())


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("stop", ["never", "first"])
def test_recorded_steps_find_what_the_plain_loop_finds(
    paper: tuple[nn.Module, Tensor, Tensor], stop: str, mode: dict[str, Any]
) -> None:
    model, x, labels = paper
    with climbing("cuda") as captured, warnings.catch_warnings():
        warnings.simplefilter("error", NotCapturedWarning)
        found = pgd(model, x, labels, stop=stop, **SETTINGS, **mode)
        assert isinstance(captured, Captured)
        assert captured.steps
    with plainly():
        plain = pgd(model, x, labels, stop=stop, **SETTINGS, **mode)
    assert_within(found, x, SETTINGS["eps"])
    (ours, fooled), (theirs, also) = loss(model, found, labels), loss(model, plain, labels)
    assert abs(fooled - also) <= 2
    assert also > 0
    if stop == "never":
        assert ours == pytest.approx(theirs, rel=0.005)


@pytest.mark.parametrize("name", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.filterwarnings("ignore::meddef.attacks.contract.ZeroGradientWarning")
def test_every_kind_of_step_can_be_recorded(norm: str, name: str, targeted: bool) -> None:
    model, x = cnn().cuda(), images(12).cuda()
    eps = torch.linspace(0.01, 0.05, 12, device="cuda") * (1 if norm == "linf" else 20)
    labels = (labels_of(model, x) + targeted) % 4
    settings = {
        "eps": eps,
        "step_size": eps / 4,
        "steps": 12,
        "norm": norm,
        "loss": name,
        "targeted": targeted,
    }
    with repeatable(), warnings.catch_warnings():
        warnings.simplefilter("error", NotCapturedWarning)
        found = pgd(model, x, labels, **settings)
        with plainly():
            plain = pgd(model, x, labels, **settings)
    assert (found - plain).abs().gt(1e-4).float().mean() < 0.05


def test_it_can_be_recorded_where_runs_are_recorded(paper: tuple[nn.Module, Tensor, Tensor]) -> None:
    """With deterministic algorithms wanted, as in ``meddef reproduce``."""
    model, x, labels = paper
    before = (
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with repeatable(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", NotCapturedWarning)
            for mode in MODES:
                pgd(model, x, labels, **SETTINGS, **mode)
    finally:
        torch.use_deterministic_algorithms(before[1], warn_only=before[0])


class ReadsAValue(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = cnn()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * (2 if float(x.detach().sum()) > 0 else 1)


class WaitsForTheDevice(ReadsAValue):
    """What the search for waits does not see, and a capture does not survive."""

    def forward(self, x: Tensor) -> Tensor:
        torch.cuda.synchronize()
        return self.inner(x)


class DrawsOnTheHost(ReadsAValue):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1e-6 * float(torch.rand(()))


@pytest.mark.parametrize("kind", [ReadsAValue, WaitsForTheDevice, DrawsOnTheHost])
def test_what_cannot_be_recorded_runs_as_it_comes_and_leaves_cuda_clean(kind: type[nn.Module]) -> None:
    model, x = kind().cuda(), images(12).cuda()
    labels = labels_of(model, x)
    stream, state = torch.cuda.current_stream(), torch.cuda.get_rng_state()
    with climbing("cuda") as captured:
        assert isinstance(captured, Captured)
        with pytest.warns(NotCapturedWarning):
            found = pgd(model, x, labels, **SETTINGS)
        assert_within(found, x, SETTINGS["eps"])
        assert not captured.steps
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it has been said
            pgd(model, x, labels, **SETTINGS)
        other = cnn(seed=1).cuda()
        pgd(other, x, labels_of(other, x), **SETTINGS)
        assert len(captured.steps) == 1
    assert torch.cuda.current_stream() == stream
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.rand(3, device="cuda").std() > 0
    torch.cuda.empty_cache()
    assert torch.cuda.get_sync_debug_mode() == 0


def test_memory_is_given_back() -> None:
    model, x, labels = of_the_paper("resnet18")
    with plainly():
        pgd(model, x, labels, **SETTINGS)
    gc.collect()
    before = torch.cuda.memory_allocated()
    for mode in MODES:
        with climbing("cuda"):
            pgd(model, x, labels, stop="first", **SETTINGS, **mode)
        gc.collect()
        assert torch.cuda.memory_allocated() <= before
    torch.cuda.empty_cache()
    reserved = torch.cuda.memory_reserved()
    with climbing("cuda"):
        pgd(model, x, labels, **SETTINGS)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= reserved + 2**21


def test_a_recording_is_made_once_for_each_kind_of_call(paper: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, labels = paper
    both = {"fast": True, "precision": "bf16"}
    with climbing("cuda") as captured:
        assert isinstance(captured, Captured)
        for eps in (0.02, 0.03):
            pgd(model, x, labels, eps=eps, step_size=0.004, steps=20, **both)
            bim(model, x, labels, eps=eps, step_size=0.004, steps=10, **both)
        assert len(captured.steps) == len(captured.record.graphs) == 1  # type: ignore[attr-defined]
        pgd(model, x[:11], labels[:11], **SETTINGS, **both)
        assert len(captured.steps) == 2
        source = gradient_source(model, x, **both)
        assert isinstance(source, Shadow)
        assert source is gradient_source(model, x, **both)
    with climbing("cuda") as captured:
        assert isinstance(captured, Captured)
        evaluate(model, [(x, labels)] * 3, lambda m, i, t: pgd(m, i, t, **SETTINGS))
        assert len(captured.steps) == 1


def test_a_recording_follows_the_weights(paper: tuple[nn.Module, Tensor, Tensor]) -> None:
    """As in training, where they change between two calls."""
    _, x, labels = paper
    model, *_ = of_the_paper("resnet18")
    with climbing("cuda"):
        for mode in MODES:
            for _ in range(2):
                found = pgd(model, x, labels, **SETTINGS, **mode)
                with plainly():
                    plain = pgd(model, x, labels, **SETTINGS, **mode)
                assert loss(model, found, labels)[0] == pytest.approx(
                    loss(model, plain, labels)[0], rel=0.005
                )
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(0.9)


@pytest.mark.parametrize("stop", ["never", "first"])
@pytest.mark.parametrize("mode", [{}, {"fast": True, "precision": "bf16"}], ids=str)
def test_equal_calls_give_equal_bits(stop: str, mode: dict[str, Any]) -> None:
    model, x, labels = of_the_paper("resnet18")
    with repeatable():
        assert torch.backends.cudnn.deterministic
        once, twice = (pgd(model, x, labels, stop=stop, **SETTINGS, **mode) for _ in range(2))
        assert torch.equal(once, twice)
        with climbing("cuda"):
            for _ in range(2):
                assert torch.equal(once, pgd(model, x, labels, stop=stop, **SETTINGS, **mode))
    assert not torch.backends.cudnn.deterministic


def test_fgsm_makes_no_copy_and_a_grid_is_the_separate_calls() -> None:
    model, x = cnn().cuda(), images(12).cuda()
    labels, grid = labels_of(model, x), [0.0, 0.01, 0.05, 8 / 255]
    with repeatable():
        together = fgsm(model, x, labels, eps=grid)
        assert torch.equal(together, fgsm(model, x, labels, eps=grid, fast=True))
        for eps, adv in zip(grid, together, strict=True):
            assert torch.equal(adv, fgsm(model, x, labels, eps=eps))
            assert_within(adv, x, eps)


def test_batches_made_on_the_gpu_are_the_same_bits() -> None:
    grey = (images(20, channels=1, size=9)[:, 0] * 255).round().to(torch.uint8).numpy()
    names = tuple(map(str, range(20)))
    here = ImageSet(grey, torch.arange(20).numpy(), names, names)
    there = resident(here, torch.device("cuda"))
    assert there is not here
    for ours, plain in zip(there.batch([3, 19, 0]), here.batch([3, 19, 0]), strict=True):
        assert ours.device.type == "cuda"
        assert torch.equal(ours.cpu(), plain)
