"""``fast=True`` and ``precision="bf16"`` on models that cannot be copied, traced or turned: followed or refused."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_models import attack, cnn, images
from torch import Tensor, nn
from torch.nn.utils import prune

from meddef.attacks.shadow import shadow_of
from meddef.attacks.surrogate import Surrogate
from meddef.errors import InputError

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def moved(model: nn.Module) -> None:
    """Other weights, in place, as a step of training leaves them."""
    generator = torch.Generator().manual_seed(7)
    for tensor in model.parameters():
        tensor.data *= 1 + 0.5 * torch.rand(tensor.shape, generator=generator)


def computed(kind: str) -> nn.Module:
    """A model of which every weight is computed from others before a forward pass."""
    model = cnn().eval()
    for layer in (model[0], model[4], model[9]):
        if kind == "masks":
            prune.l1_unstructured(layer, "weight", 0.5)
        elif kind == "old weight norm":
            nn.utils.weight_norm(layer)
        elif kind == "old spectral norm":
            nn.utils.spectral_norm(layer)
        else:
            nn.utils.parametrizations.weight_norm(layer)
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("kind", ["masks", "old weight norm", "old spectral norm", "weight norm"])
@pytest.mark.parametrize("make", ["surrogate", "shadow"])
def test_weights_that_are_computed_are_followed(kind: str, make: str) -> None:
    """Even where the caller's last forward pass left them with a history, which cannot be copied."""
    model, x = computed(kind), images(size=8)
    model(x.clone().requires_grad_())
    copied: Any = Surrogate(model, x, half=False)
    if make == "shadow":
        model(x.clone().requires_grad_())
        copied = shadow_of(model, x, fold=True, dtype=None)
    torch.testing.assert_close(copied(x), model(x))
    moved(model)
    assert (copied(x) - model(x)).abs().max() > 1e-3
    copied.refresh()
    torch.testing.assert_close(copied(x), model(x), rtol=1e-4, atol=1e-4)


class Answers(nn.Module):
    """A network and what is made of its logits."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.answer = cnn().eval(), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.network(x))


def locked() -> nn.Module:
    model = cnn().eval()
    model.lock = threading.Lock()
    return model


def partly_compiled() -> nn.Module:
    model = cnn().eval()
    model[9] = torch.compile(model[9], backend="eager")
    return model


UNCOPIED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scripted": (lambda: torch.jit.script(cnn().eval()), "cannot trace"),
    "traced by jit": (lambda: torch.jit.trace(cnn().eval(), images(2)), "cannot trace"),
    "compiled": (lambda: torch.compile(cnn().eval(), backend="eager"), "cannot trace"),
    "partly compiled": (partly_compiled, "cannot trace"),
    "DataParallel": (lambda: nn.DataParallel(cnn().eval()), "cannot trace"),
    "with a lock": (locked, "cannot copy"),
    "a tuple": (lambda: Answers(lambda logits: (logits, logits)), "must return a tensor of logits"),
    "classes": (lambda: Answers(lambda logits: logits.argmax(1)), "must return floating-point logits"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["fgsm", "pgd", "ensemble"])
@pytest.mark.parametrize("kind", UNCOPIED)
def test_what_cannot_be_copied_is_refused_in_one_line(kind: str, name: str) -> None:
    make, message = UNCOPIED[kind]
    model, x = make(), images(size=8)
    if message.startswith("cannot"):
        attack(name, model, x, LABELS)  # as it is it can be attacked
        message = f"fast=True {message} this model .*; leave fast out"
    for precision in ("float32", "bf16"):
        with pytest.raises(InputError, match=message) as refusal:
            attack(name, model, x, LABELS, fast=True, precision=precision)
        assert "\n" not in str(refusal.value)


def test_what_the_model_itself_raises_is_not_blamed_on_the_copy() -> None:
    def broken(logits: Tensor) -> Tensor:
        raise ArithmeticError("its own error")

    with pytest.raises(ArithmeticError, match="its own error"):
        attack("pgd", Answers(broken), images(), LABELS, fast=True)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "ensemble"])
def test_bf16_is_for_float32(name: str, dtype: torch.dtype, fast: bool) -> None:
    """Autocast leaves float64 as it is, so the setting would be without effect."""
    model = cnn().eval().to(dtype)
    with pytest.raises(
        InputError, match=rf"precision='bf16' is for images and models in float32, got {dtype}"
    ):
        attack(name, model, images().to(dtype), LABELS, fast=fast, precision="bf16")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_fast_in_other_formats_attacks_the_model_or_refuses(dtype: torch.dtype) -> None:
    model, x = cnn().eval().to(dtype), images().to(dtype)
    labels = model(x).argmax(1)
    expected = attack("pgd", model, x, labels)
    try:
        found = attack("pgd", model, x, labels, fast=True)
    except InputError as refusal:
        assert "fast=True changes this model's logits" in str(refusal)  # noqa: PT017 - either is right
        assert dtype != torch.float64
    else:
        assert (model(found).argmax(1) == model(expected).argmax(1)).sum() >= 5


class Recurrent(nn.Module):
    """Rows of an image as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(24, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 5 * self.head(self.cell(x.transpose(1, 2).flatten(2))[0][:, -1])


class Attentive(nn.Module):
    """The same, with every row looking at every other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(24, 2, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(2)
        return 20 * self.head(self.attention(rows, rows, rows)[0].mean(1))


class TwiceNormed(nn.Module):
    """One convolution under two BatchNorms, which cannot be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 3)
        self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        for norm in (self.one, self.two):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.conv(x)).relu()
        return 5 * self.head((self.two(self.conv(x)) + x).mean((2, 3)))


class OfTheBatch(nn.Module):
    """A BatchNorm that keeps no statistics: it takes the batch's, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return 5 * self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("make", [Recurrent, Attentive, TwiceNormed, OfTheBatch])
def test_what_can_be_copied_attacks_as_the_model_does(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = make().eval(), images(size=8)
    labels = model(x).argmax(1)
    plain, fast = (attack("bim", model, x, labels, fast=fast) for fast in (False, True))
    assert (plain != fast).double().mean() < 0.01
    assert float((plain - x).abs().max()) > 0.04
