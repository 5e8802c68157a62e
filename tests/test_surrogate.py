"""The cheaper copy of a model: folded by hand, filled again in place, and the attack of training that uses it."""

import copy

import pytest
import torch
from attack_models import cnn, images
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import pgd
from meddef.attacks.shadow import Shadow
from meddef.attacks.surrogate import Surrogate, _Contiguous
from meddef.errors import InputError
from meddef.models import VARIANTS, build_model
from meddef.training.inner_attack import InnerAttack

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def moved(model: nn.Module) -> None:
    """Other weights and other statistics, in place, as a step of training leaves them."""
    generator = torch.Generator().manual_seed(7)
    for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
        tensor.data *= 1 + 0.1 * torch.rand(tensor.shape, generator=generator)


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(leaf), LABELS, reduction="sum"), leaf)[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_has_the_model_s_logits_before_and_after_training_moves_them(variant: str) -> None:
    torch.manual_seed(0)
    model, x = build_model(variant, 4, mean=0.4, std=0.2).eval(), images(size=64)
    surrogate = Surrogate(model, x, half=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in surrogate.modules())
    torch.testing.assert_close(surrogate(x), model(x), rtol=1e-4, atol=1e-4)
    moved(model)
    stale = (surrogate(x) - model(x)).abs().max()
    surrogate.refresh()
    torch.testing.assert_close(surrogate(x), model(x), rtol=1e-3, atol=1e-4)
    assert stale > 10 * (surrogate(x) - model(x)).abs().max()


def test_folding_by_hand() -> None:
    """Weight 2 and bias 1; BatchNorm with mean 3, variance 4, factor 5, shift 6: 5 (2x + 1 - 3) / 2 + 6 = 5x + 1."""
    convolution, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    for tensor, value in (
        (convolution.weight, 2), (convolution.bias, 1), (norm.running_mean, 3), (norm.running_var, 4),
        (norm.weight, 5), (norm.bias, 6),
    ):  # fmt: skip
        tensor.data.fill_(value)
    model = nn.Sequential(convolution, norm, nn.Flatten(), nn.Linear(1, 2)).eval()
    surrogate = Surrogate(model, torch.rand(1, 1, 1, 1), half=False)
    folded = next(module for module in surrogate.modules() if isinstance(module, nn.Conv2d))
    assert (folded.weight.item(), folded.bias.item()) == (5.0, 1.0)


def test_its_storage_stays_where_it_is() -> None:
    """A captured graph reads the memory that it was captured with."""
    model, x = cnn().eval(), images()
    for half in (False, True):
        surrogate = Surrogate(model, x, half=half)
        places = [t.data_ptr() for t in [*surrogate.parameters(), *surrogate.buffers()]]
        moved(model)
        surrogate.refresh()
        assert [t.data_ptr() for t in [*surrogate.parameters(), *surrogate.buffers()]] == places
        assert (surrogate(x) - model(x)).abs().max() < (1e-4 if not half else 0.1)


def test_the_model_and_its_gradients_are_left_alone() -> None:
    model, x = cnn().eval(), images()
    before = copy.deepcopy(model.state_dict())
    Surrogate(model, x, half=True).refresh()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize("shape", [(3, 8, 3, 2, 1), (3, 8, 7, 2, 3), (3, 8, 3, 1, 1)])
def test_a_batch_norm_that_others_share_or_that_has_no_statistics_is_kept(shape: tuple[int, ...]) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inside, outside, size, stride, padding = shape
            self.first = nn.Conv2d(inside, outside, size, stride=stride, padding=padding)
            self.shared = nn.BatchNorm2d(outside)
            self.second = nn.Conv2d(outside, outside, 1)
            self.bare = nn.BatchNorm2d(outside, track_running_stats=False)
            self.last = nn.Linear(outside, 4)

        def forward(self, x: Tensor) -> Tensor:
            before = self.first(x)
            x = self.shared(before) + before  # the convolution has two readers
            return self.last(self.bare(self.second(x)).mean((2, 3)))

    torch.manual_seed(0)
    model, x = Odd().eval(), images()
    surrogate = Surrogate(model, x, half=False)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in surrogate.modules()) == 2
    moved(model)
    surrogate.refresh()
    torch.testing.assert_close(gradient(surrogate, x), gradient(model, x), rtol=1e-3, atol=1e-5)


def test_what_cannot_be_traced_is_refused() -> None:
    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4] if x.mean() > 0.5 else x.flatten(1)[:, 4:8]

    with pytest.raises(InputError, match="fast=True cannot trace this model"):
        Surrogate(Branches(), images(), half=False)


def test_the_attack_of_training_is_pgd_on_the_weights_of_now() -> None:
    """Against ``pgd`` on the model itself, with the same starts; a sign may flip where a gradient is tiny."""
    model, x = cnn(), images()
    attack = InnerAttack(model, 4, "float32")
    settings = {"eps": 0.05, "step_size": 0.03}
    for seed in (0, 1):
        found = attack(x, LABELS, seed=seed, **settings)
        assert model.training
        start = attack(x, LABELS, seed=seed, eps=0.05, step_size=0.0) - x
        plain = pgd(model, x + start, LABELS, steps=4, random_start=False, **settings).clamp(
            x - 0.05, x + 0.05
        )
        with torch.no_grad():
            ours, theirs = (F.cross_entropy(copy.deepcopy(model).eval()(z), LABELS) for z in (found, plain))
        assert (found - x).abs().max() <= 0.05
        assert ours > 0.99 * theirs
        moved(model)


def test_the_attack_of_training_takes_models_that_cannot_be_traced() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3 * 64, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(1)) if x.mean() > 0 else self.layer(-x.flatten(1))

    torch.manual_seed(0)
    model, x = Branches(), images()
    found = InnerAttack(model, 3, "float32")(x, LABELS, eps=0.05, step_size=0.05, seed=0)
    with torch.no_grad():
        assert F.cross_entropy(model(found), LABELS) > F.cross_entropy(model(x), LABELS)
    assert len(InnerAttack(model, 3, "float32")(x[:0], LABELS[:0], eps=0.05, step_size=0.05, seed=0)) == 0


class Tied(nn.Module):
    """Two convolutions with one weight, the later one by name called first, and a head that shares an unused layer's.

    The name under which a copy first meets a shared weight is not the model's first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.unused, self.head = nn.BatchNorm2d(3), nn.Linear(3, 4), nn.Linear(3, 4)
        self.b.weight, self.head.weight = self.a.weight, self.unused.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(F.relu(self.norm(self.b(x)))).mean((2, 3)))


class Doubling(nn.Sequential):
    """A hook between a convolution and its BatchNorm, which with fresh statistics changes nothing of folding."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 64, 4))
        self[0].register_forward_hook(lambda module, given, output: 2 * output)


class Weighted(nn.Sequential):
    """Something computed from a buffer alone, which a trace keeps as it was, and a number on the host."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 64, 4))
        self.gain: Tensor
        self.register_buffer("gain", torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gain.exp()


@pytest.mark.parametrize("kind", [Tied, Doubling])
@pytest.mark.parametrize("make", ["surrogate", "shadow"])
def test_shared_weights_and_hooks_are_followed(kind: type[nn.Module], make: str) -> None:
    torch.manual_seed(0)
    model, x = kind().eval(), images(size=8)
    copied = Surrogate(model, x, half=False) if make == "surrogate" else Shadow(model, fold=True, dtype=None)
    moved(model)
    moved(model)
    copied.refresh()
    torch.testing.assert_close(copied(x), model(x), rtol=1e-5, atol=1e-5)


def test_a_copy_that_cannot_follow_is_noticed_and_no_longer_used(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model, x = Weighted().eval(), images(size=8)
    attack = InnerAttack(model, 3, "float32")
    for _ in range(2):
        attack(x, LABELS, eps=0.03, step_size=0.02, seed=0)
    assert isinstance(attack._source, Surrogate)
    assert not caplog.records
    moved(model)
    found = attack(x, LABELS, eps=0.03, step_size=0.02, seed=0)
    assert attack._source is model
    assert "attacks the model" in caplog.text
    fresh = InnerAttack(model, 3, "float32")(x, LABELS, eps=0.03, step_size=0.02, seed=0)
    torch.testing.assert_close(found, fresh)


def test_bfloat16_agrees_within_its_rounding_and_is_not_blind() -> None:
    torch.manual_seed(0)
    model, x = build_model("full", 4, mean=0.4, std=0.2).eval(), images(size=64)
    surrogate = Surrogate(model, x, half=True)
    assert surrogate.agrees(x[:1])
    model.get_parameter(
        next(name for name, p in model.named_parameters() if len(p) == 4 and p.ndim == 2)
    ).data *= 2
    assert not surrogate.agrees(x[:1])
    surrogate.refresh()
    assert surrogate.agrees(x[:1])


def test_a_convolution_with_few_positions_hands_its_gradient_on_channels_last() -> None:
    """What comes before it is channels-last, and operations on two layouts are slow; no bit depends on it."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 8, 3, padding=1)
    quick, x = (
        _Contiguous(convolution),
        images(channels=8, size=4).contiguous(memory_format=torch.channels_last),
    )
    handed: list[Tensor] = []
    leaf = x.detach().requires_grad_()
    before = leaf * 2
    before.register_hook(handed.append)
    after = quick(before)
    assert after.is_contiguous(memory_format=torch.channels_last)
    (found,) = torch.autograd.grad(after.square().sum(), leaf)
    assert handed[0].is_contiguous(memory_format=torch.channels_last)
    plain = x.detach().contiguous().requires_grad_()
    (expected,) = torch.autograd.grad(convolution(plain * 2).square().sum(), plain)
    assert torch.equal(found, expected)
    with torch.no_grad():
        assert torch.equal(quick(before), after)


def test_a_model_that_needs_contiguous_images_is_attacked_as_it_needs() -> None:
    """``view`` after a convolution fails where its output is channels-last, the layout of the fast copy."""

    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Linear(4 * 64, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.conv(x).relu().view(len(x), -1))
            return logits

    model = Viewing()
    x = torch.rand(4, 3, 8, 8)
    labels = model(x).argmax(1).detach()
    for divergence in (False, True):
        attack = InnerAttack(model, 5, "float32")
        found = attack(x, labels, eps=0.1, step_size=0.05, seed=0, divergence=divergence)
        assert (found - x).abs().max() <= 0.1 + 1e-7
        before, after = (nn.functional.cross_entropy(model(some), labels) for some in (x, found.contiguous()))
        assert after > before
