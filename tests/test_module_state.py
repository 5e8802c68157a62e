"""A model of the caller's comes back as it was, layer by layer: modes, gradients, what takes them; after errors too."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from attack_models import QUICK, cnn
from torch import Tensor, nn

from meddef.attacks import ATTACKS
from meddef.audit import robustness_report
from meddef.errors import InputError
from meddef.evaluation import evaluate
from meddef.evaluation.estimate import seconds_per_pass
from meddef.models import build_model
from meddef.module_state import SwitchedOffWarning, as_found, evaluating
from meddef.robustness import BUDGETS
from meddef.robustness.evidence import Budget
from meddef.saliency import grad_cam, removal_area
from meddef.settings import load_profile

SIDE = 32


def images(count: int = 4) -> Tensor:
    return torch.rand((count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 1, 0, 1])
Use = Callable[[nn.Module], object]
BRIEF = Budget(4, 1, 1, 1, 1, 1, 1)


def _report(model: nn.Module) -> object:
    return robustness_report(model, [(images(), LABELS)], eps=0.03, budget="brief")


def _removal(model: nn.Module) -> object:
    return removal_area(model, images(), images() / 2, np.ones((4, SIDE, SIDE)), LABELS, steps=2)


USES: dict[str, Use] = {
    "evaluate": lambda model: evaluate(model, [(images(), LABELS)], None),
    "own attack": lambda model: evaluate(model, [(images(), LABELS)], training_attack),
    "grad_cam": lambda model: grad_cam(model, images(), layer="layer2"),
    "removal": _removal,
    "report": _report,
    **{
        name: lambda model, name=name: ATTACKS[name](model, images(), LABELS, **QUICK[name])  # type: ignore[misc]
        for name in ATTACKS
    },
}


def training_attack(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Somebody's FGSM, as they are found: it trains on the way, and leaves gradients and training mode behind."""
    model.train()
    model.requires_grad_(True)
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(model(leaf), labels).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return (x + 0.01 * leaf.grad.sign()).clamp(0, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_model("resnet18", 2, mean=0.4, std=0.25, dropout=0.3)


def frozen() -> nn.Module:
    """In training mode, BatchNorm frozen; one parameter takes no gradient, the others have one."""
    model = network().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    first = next(model.parameters())
    first.grad = None
    first.requires_grad_(False)
    return model


def state(model: nn.Module) -> list[Any]:
    """All that has to be the same afterwards, gradients as they are in memory and by value."""
    modes = [module.training for module in model.modules()]
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()
    ]
    gradients = [None if p.grad is None else (id(p.grad), float(p.grad.sum())) for p in model.parameters()]
    needed = [parameter.requires_grad for parameter in model.parameters()]
    return [
        modes,
        hooks,
        gradients,
        needed,
        [float(value.double().sum()) for value in model.state_dict().values()],
    ]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "brief", BRIEF)


def used(use: Use, model: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gradients, steps and so on: not the subject
        use(model)


@pytest.mark.parametrize("name", USES)
def test_a_frozen_model_comes_back_frozen(name: str) -> None:
    model = frozen()
    before, modes = state(model), {module.training for module in model.modules()}
    assert modes == {True, False}
    used(USES[name], model)
    after = state(model)
    if name == "own attack":  # it trained on the statistics of BatchNorm, which is its own affair
        before.pop()
        after.pop()
    assert after == before


class Raises(nn.Module):
    """Right in the first ``calls`` passes, then an error of the model's own."""

    def __init__(self, model: nn.Module, error: Exception, calls: int) -> None:
        super().__init__()
        self.backbone, self.error, self.left = model, error, calls

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        answer: Tensor = self.backbone(x)
        if self.left < 0:
            raise self.error
        return answer


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), IndexError("the model's own")])
@pytest.mark.parametrize(
    ("name", "calls"), [("evaluate", 1), ("pgd", 2), ("report", 1), ("grad_cam", 0), ("removal", 1)]
)
def test_also_after_an_error_which_is_the_model_s_own(name: str, calls: int, error: Exception) -> None:
    inner = frozen()
    model = Raises(inner.network if name == "grad_cam" else inner, error, calls)  # type: ignore[arg-type]
    before = state(model)
    with pytest.raises(type(error), match=str(error)):
        used(USES[name], model)
    assert state(model) == before


def test_dropout_that_is_on_in_evaluation_mode_is_told_of_and_stays_on() -> None:
    model = cnn().eval()
    model[3].train()  # Monte Carlo dropout
    with pytest.warns(SwitchedOffWarning, match=r"its 3 \(Dropout\) in training mode: off here and restored"):
        evaluate(model, [(images(), LABELS)], None)
    assert [module.training for module in model] == [False] * 3 + [True] + [False] * 6


def test_it_is_off_while_it_is_judged_and_the_warning_points_at_the_caller() -> None:
    model = cnn().eval()
    model[3].train()
    seen: list[bool] = []
    model[3].register_forward_hook(lambda module, given, answer: seen.append(module.training))
    with pytest.warns(SwitchedOffWarning) as told:
        ATTACKS["pgd"](model, images(), LABELS, **QUICK["pgd"])
    assert {warning.filename for warning in told} == {__file__}
    assert len(told) == 1
    assert not any(seen)


def test_a_layer_whose_mode_changes_nothing_is_not_told_of() -> None:
    model = cnn().eval()
    model[2].train()  # a ReLU
    with evaluating(model):
        pass


def test_batchnorm_that_is_off_in_training_mode_is_not_told_of() -> None:
    with evaluating(frozen()):
        pass


def test_a_model_that_counts_its_own_modes_is_asked_for_nothing_but_flags() -> None:
    class Frozen(nn.Sequential):
        """``train()`` leaves BatchNorm alone: putting the flag back through it would lose what was set by hand."""

        def train(self, mode: bool = True) -> "Frozen":
            super().train(mode)
            self[1].eval()
            return self

    model = Frozen(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 30 * 30, 2)).train()
    model[1].training = True
    evaluate(model, [(images(), LABELS)], None)
    assert model[1].training


KINDS: dict[str, Callable[[nn.Module], Any]] = {
    "scripted": torch.jit.script,
    "traced": lambda model: torch.jit.trace(model.eval(), images()),
    "frozen by TorchScript": lambda model: torch.jit.freeze(torch.jit.script(model.eval())),
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "DataParallel": nn.DataParallel,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_models_of_every_kind_are_judged_and_come_back_as_they_were(kind: str) -> None:
    expected = evaluate(cnn(classes=2), [(images(), LABELS)], partial(ATTACKS["pgd"], **QUICK["pgd"]))
    model = KINDS[kind](cnn(classes=2))
    flags = [module for module in model.modules() if hasattr(module, "training")]
    if kind in ("scripted", "compiled", "DataParallel"):
        model.train()
        for name, module in model.named_modules():
            if name.endswith(("1", "5")):  # BatchNorm
                module.eval()
    before = [module.training for module in flags]
    outcome = evaluate(model, [(images(), LABELS)], partial(ATTACKS["pgd"], **QUICK["pgd"]))
    assert [module.training for module in flags] == before
    assert outcome.after.tolist() == expected.after.tolist()
    assert outcome.before.tolist() == expected.before.tolist()


def test_an_exported_graph_whose_mode_nobody_can_tell_is_refused() -> None:
    model = torch.export.export(cnn(classes=2).eval(), (images(),)).module()
    before = [module.training for module in model.modules()]
    with pytest.raises(InputError, match=r"evaluation mode .*: give the module it was exported from"):
        evaluate(model, [(images(), LABELS)], None)
    assert [module.training for module in model.modules()] == before


def test_models_may_share_layers() -> None:
    shared = nn.Dropout()
    one, other = nn.Sequential(shared).train(), nn.Sequential(shared, nn.ReLU())
    with as_found(one, other):
        one.eval()
        other.eval()
    assert [shared.training, one.training, other.training] == [True] * 3


def test_the_statistics_of_a_model_in_training_mode_are_not_touched_by_saliency() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    in_training = _removal(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert np.array_equal(in_training, _removal(model.eval()))


def test_the_estimate_leaves_threads_and_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile("smoke").model_copy(update={"threads": 2, "batch_size": 2, "image_size": 32})
    threads, numbers = torch.get_num_threads(), torch.get_rng_state()
    seconds_per_pass(profile, "cpu")
    assert torch.equal(torch.get_rng_state(), numbers)

    def broken(*given: object, **more: object) -> nn.Module:
        raise RuntimeError("no memory")

    monkeypatch.setattr("meddef.evaluation.estimate.build_model", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        seconds_per_pass(profile, "cpu")
    assert torch.get_num_threads() == threads
