"""FGSM, BIM and PGD against foolbox step by step, against arithmetic by hand, and their options."""

import warnings
from typing import Any

import pytest
import torch
from attack_models import EPS, Linear, answers, cnn, images, stripes, trained
from scipy.stats import ks_2samp
from torch import Tensor, nn

from meddef.attacks import ShortReachWarning, Trace, balls, bim, fgsm, pgd
from meddef.attacks.ensemble import members
from meddef.attacks.losses import Objective
from meddef.errors import InputError

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
short = pytest.mark.filterwarnings(
    "ignore::meddef.attacks.ShortReachWarning"
)  # on purpose: few steps are compared


@pytest.fixture(scope="module")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # scipy.ndimage.filters, theirs
        return pytest.importorskip("foolbox", reason="the peers extra is not installed")


class CountsBackward(nn.Module):
    """Counts, image by image, the forward passes through ``inner`` and the gradients taken back through it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.forwards, self.gradients = inner, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: setattr(self, "gradients", self.gradients + len(gradient)))
        return self.inner(x)


def test_bounds_are_the_same_in_blocks_of_images_and_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU takes them in blocks, a GPU at once."""
    x, model = images(), cnn()
    eps = torch.linspace(0, 0.1, len(x))

    def found() -> list[Tensor]:
        return [
            attack(model, x, LABELS, eps=eps, **settings)
            for attack, settings in ((fgsm, {}), (bim, {"steps": 2, "step_size": 0.05}))
        ]

    once = found()
    monkeypatch.setattr(balls, "_BLOCK", 2 * x[0].numel())
    assert all(torch.equal(a, b) for a, b in zip(once, found(), strict=True))


# Against foolbox


@short
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_iterate_equals_foolbox(foolbox: Any, norm: str, steps: int, targeted: bool) -> None:
    model, x = cnn().eval(), images()
    criterion = foolbox.criteria.TargetedMisclassification if targeted else foolbox.criteria.Misclassification
    peer = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    eps, step = (EPS, 0.012) if norm == "linf" else (0.8, 0.15)
    theirs = peer(abs_stepsize=step, steps=steps, random_start=False).run(
        foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), x, criterion(LABELS), epsilon=eps
    )
    ours = pgd(
        model,
        x,
        LABELS,
        eps=eps,
        step_size=step,
        steps=steps,
        random_start=False,
        norm=norm,
        targeted=targeted,
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert (ours - x).abs().max() > (0.01 if norm == "linf" else 0.005)


def test_fgsm_equals_foolbox(foolbox: Any) -> None:
    model, x = cnn().eval(), images()
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False).run(
        foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"),
        x,
        foolbox.criteria.Misclassification(LABELS),
        epsilon=EPS,
    )
    torch.testing.assert_close(fgsm(model, x, LABELS, eps=EPS), theirs, rtol=0, atol=1e-6)


@short
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_random_start_has_foolbox_distribution(foolbox: Any, norm: str) -> None:
    """Pixels (linf) and lengths (l2) of the first iterate with a step of nothing, away from 0 and 1."""
    model = cnn(channels=1).eval()
    x = 0.5 + (torch.arange(200) / 65535).view(-1, 1, 1, 1).expand(
        -1, 1, 4, 4
    )  # equal images would start equally
    labels = torch.zeros(200, dtype=torch.int64)
    ours = pgd(model, x, labels, eps=0.2, step_size=0.0, steps=1, norm=norm) - x
    torch.manual_seed(0)
    peer = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    theirs = peer(abs_stepsize=1e-9, steps=1, random_start=True).run(
        foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"),
        x,
        foolbox.criteria.Misclassification(labels),
        epsilon=0.2,
    )
    for measure in (lambda d: d.flatten(), lambda d: d.flatten(1).norm(dim=1)):
        assert ks_2samp(measure(ours), measure(theirs - x), method="asymp").pvalue > 0.01
    assert ours.std(0).min() > 0.01


# By hand


def test_a_linear_model_by_hand() -> None:
    """With two logits the loss rises along w_1 - w_0 for label 0 and falls for label 1."""
    weight = torch.tensor([[1.0, 3.0], [2.0, -1.0], [0.0, 0.0], [0.0, 1.0]])
    x = torch.tensor([[0.5, 0.5, 0.5, 0.98], [0.5, 0.5, 0.5, 0.02]])
    labels = torch.tensor([0, 1])
    model = Linear(weight)
    expected = torch.tensor([[0.6, 0.4, 0.5, 1.0], [0.4, 0.6, 0.5, 0.0]])
    for loss in ("ce", "margin"):
        adv = fgsm(model, x, labels, eps=0.1, loss=loss)
        torch.testing.assert_close(adv, expected, rtol=0, atol=1e-7)
        adv = fgsm(model, x, 1 - labels, eps=0.1, loss=loss, targeted=True)
        torch.testing.assert_close(adv, expected, rtol=0, atol=1e-7)
    with pytest.warns(ShortReachWarning):
        three = bim(model, x, labels, eps=0.1, step_size=0.03, steps=3)
    torch.testing.assert_close(three[0], torch.tensor([0.59, 0.41, 0.5, 1.0]), rtol=0, atol=1e-6)


def test_the_l2_step_by_hand() -> None:
    """Gradient along (3, -4)/5; two steps of 0.1 in a ball of 0.15 end on its surface."""
    model = Linear(torch.tensor([[0.0, 3.0], [0.0, -4.0]]))
    x, labels = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    options = {"eps": 0.15, "step_size": 0.1, "random_start": False, "norm": "l2"}
    with pytest.warns(ShortReachWarning):
        one = pgd(model, x, labels, steps=1, **options)
    torch.testing.assert_close(one, torch.tensor([[0.56, 0.42]]), rtol=0, atol=1e-6)
    two = pgd(model, x, labels, steps=2, **options)
    torch.testing.assert_close(two, torch.tensor([[0.59, 0.38]]), rtol=0, atol=1e-6)
    assert (two.double() - x.double()).norm() <= 0.15


def test_the_losses_by_hand() -> None:
    logits, labels = torch.tensor([[2.0, 1.0, -1.0, 0.0], [0.0, 3.0, 1.0, 0.0]]), torch.tensor([0, 2])
    assert Objective(labels, "margin").loss(logits).tolist() == [-1.0, 2.0]
    torch.testing.assert_close(Objective(labels, "dlr").loss(logits), torch.tensor([-1 / 2, 2 / 3]))
    assert Objective(labels, "margin", targeted=True).loss(logits).tolist() == [1.0, -2.0]
    assert Objective(labels).fooled(logits).tolist() == [False, True]
    assert Objective(labels, targeted=True).fooled(logits).tolist() == [True, False]


# Options


def test_an_eps_grid_is_the_separate_calls_from_one_gradient() -> None:
    model, x = CountsBackward(cnn()), images()
    grid = [0.0, 0.01, 0.05, 8 / 255]
    together = fgsm(model, x, LABELS, eps=grid)
    assert model.gradients == len(x)
    assert together.shape == (4, *x.shape)
    for eps, adv in zip(grid, together, strict=True):
        assert torch.equal(adv, fgsm(model, x, LABELS, eps=eps))


@short
@pytest.mark.parametrize("attack", [bim, pgd])
def test_stop_first_is_the_first_success_of_stop_never(attack: Any) -> None:
    """With one image per batch both runs compute the same thing, so the iterates are the same."""
    model, (x, labels) = trained(4), stripes(12, 4, 28, seed=999)
    settings = {"eps": 0.08, "step_size": 0.014, "steps": 12}
    for i in range(len(x)):
        one, label, trace = x[i : i + 1], labels[i : i + 1], Trace()
        attack(model, one, label, trace=trace, **settings)
        first = torch.cat(trace.fooled).float().argmax().item()
        assert 0 < first < 12
        early = attack(model, one, label, stop="first", **settings)
        assert torch.equal(early, attack(model, one, label, **{**settings, "steps": first}))
        assert answers(model, early) != label


def test_stop_first_counts_gradients() -> None:
    """An image costs as many gradients as it takes steps, and at most one more for those that share its batch."""
    x, labels = stripes(48, 4, 28, seed=999)
    settings = {"eps": 0.08, "step_size": 0.01, "steps": 40}
    never, first, trace = CountsBackward(trained(4)), CountsBackward(trained(4)), Trace()
    bim(never, x, labels, trace=trace, **settings)
    taken = torch.stack(trace.fooled).float().argmax(0)
    adv = bim(first, x, labels, stop="first", **settings)
    assert never.gradients == 40 * 48
    assert (answers(first, adv) != labels).all()
    assert taken.sum() <= first.gradients <= taken.sum() + 48
    assert first.gradients < never.gradients / 4


def test_stop_first_leaves_at_once_and_keeps_who_resists() -> None:
    model, (x, labels) = CountsBackward(trained(4)), stripes(8, 4, 28, seed=999)
    wrong = (labels + 1) % 4
    settings = {"eps": 0.08, "step_size": 0.016, "steps": 5}
    assert torch.equal(bim(model, x, wrong, stop="first", **settings), x)
    assert model.gradients == 0
    tiny = {"eps": 1e-4, "step_size": 2e-5, "steps": 5}
    resisting = bim(model, x, labels, stop="first", **tiny)
    assert torch.equal(resisting, bim(model, x, labels, **tiny))
    mixed = torch.cat([labels[:4], wrong[4:]])
    adv = bim(model, x, mixed, stop="first", **tiny)
    torch.testing.assert_close(adv[:4], resisting[:4])
    assert torch.equal(adv[4:], x[4:])


@pytest.mark.parametrize("stop", ["never", "first"])
def test_restarts_keep_the_best_of_each_image(stop: str) -> None:
    model, (x, labels) = trained(4), stripes(32, 4, 28, seed=999)
    settings = {"eps": 0.045, "step_size": 0.0225, "steps": 4, "stop": stop}

    def fooled(adv: Tensor) -> Tensor:
        return answers(model, adv) != labels

    alone = fooled(pgd(model, x, labels, restarts=1, **settings))
    four = pgd(model, x, labels, restarts=4, **settings)
    assert (fooled(four) >= alone).all()
    assert fooled(four).sum() > alone.sum() > 0
    assert (four - x).abs().max() <= 0.045


@short
def test_restarts_start_at_random_and_the_ensemble_at_the_image() -> None:
    """As the docstring of ``pgd`` says: the worst case with the start at the image is the ensemble's."""
    model, x = cnn().eval(), images()
    trace, settings = Trace(), {"eps": EPS, "step_size": 0.01}
    pgd(model, x, LABELS, restarts=3, steps=2, trace=trace, **settings)
    at_image = nn.functional.cross_entropy(model(x), LABELS, reduction="none").detach()
    starts = [trace.loss[3 * restart] for restart in range(3)]
    assert all(bool((start != at_image).all()) for start in starts)
    assert not torch.equal(starts[0], starts[1])

    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    quickest = next(iter(members(4).values()))
    quickest(model, x, LABELS, eps=torch.full((len(x),), EPS))
    assert torch.equal(seen[0], x)


@short
def test_restarts_share_one_generator() -> None:
    model, x = cnn(), images()
    settings = {"eps": EPS, "step_size": 0.01, "steps": 1}
    seeded = [
        pgd(model, x, LABELS, generator=torch.Generator().manual_seed(s), **settings) for s in (7, 7, 8)
    ]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])
    assert torch.equal(pgd(model, x, LABELS, **settings), pgd(model, x, LABELS, **settings))


def test_the_trace_holds_loss_and_success_of_every_iterate() -> None:
    model, (x, labels) = trained(4), stripes(16, 4, 28, seed=999)
    settings = {"eps": 0.08, "step_size": 0.014, "steps": 6}
    trace = Trace()
    adv = bim(model, x, labels, trace=trace, **settings)
    assert torch.equal(adv, bim(model, x, labels, **settings))
    assert len(trace.loss) == len(trace.fooled) == 7
    with torch.no_grad():
        start, end = (nn.functional.cross_entropy(model(z), labels, reduction="none") for z in (x, adv))
    torch.testing.assert_close(trace.loss[0], start)
    torch.testing.assert_close(trace.loss[-1], end)
    assert torch.equal(trace.fooled[-1], answers(model, adv) != labels)
    assert (trace.loss[-1] > trace.loss[0]).all()

    early = Trace()
    bim(model, x, labels, stop="first", trace=early, **settings)
    for row, full in zip(early.fooled, trace.fooled, strict=False):
        assert (row >= full).all()


def test_progress_counts_steps_of_all_restarts() -> None:
    seen: list[tuple[int, int]] = []
    pgd(
        cnn(),
        images(),
        LABELS,
        eps=EPS,
        step_size=EPS,
        steps=2,
        restarts=2,
        progress=lambda *s: seen.append(s),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
@pytest.mark.parametrize("options", [{"fast": True}, {"precision": "bf16"}])
def test_stand_ins_change_few_signs_and_leave_the_model_alone(attack: str, options: dict[str, Any]) -> None:
    model, x = cnn(), images()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    settings: dict[str, Any] = (
        {"eps": EPS} if attack == "fgsm" else {"eps": EPS, "step_size": 0.04, "steps": 3}
    )
    run = fgsm if attack == "fgsm" else pgd
    exact, near = run(model, x, LABELS, **settings), run(model, x, LABELS, **settings, **options)
    limit = 0.01 if "fast" in options else 0.1
    assert ((exact - near).abs() > 1e-6).float().mean() < limit
    assert (near - x).abs().max() <= EPS
    assert near.stride() == x.stride()
    assert model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_stand_in_is_believed_only_if_the_model_agrees() -> None:
    """In bfloat16 this model predicts 0 immediately, in float32 only once the mean pixel exceeds 0.535."""

    class Coarse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            early = 0.1 if torch.is_autocast_enabled("cpu") else 0.0
            score = x.flatten(1).mean(1) - 0.535 + early
            return torch.stack([score, score * 0], 1)

    x, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([1])
    adv = bim(Coarse(), x, labels, eps=0.1, step_size=0.01, steps=10, stop="first", precision="bf16")
    torch.testing.assert_close(adv, torch.full_like(x, 0.54), rtol=0, atol=1e-6)


def test_fast_refuses_what_it_cannot_copy() -> None:
    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4] if x.sum() > 0 else x.flatten(1)[:, 4:8]

    with pytest.raises(InputError, match="fast=True cannot trace this model"):
        fgsm(Branches(), images(), LABELS, eps=EPS, fast=True)
