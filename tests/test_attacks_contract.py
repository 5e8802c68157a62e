"""What every attack promises: determinism, a model left as found, refusals that say what is wrong."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from attack_models import (
    EPS,
    EUCLIDEAN,
    IN_EPS_BALL,
    NOTHING,
    QUERIES,
    QUICK,
    USES_GRADIENTS,
    Linear,
    assert_within,
    attack,
    cnn,
    images,
    labels_of,
)
from torch import Tensor, nn

from meddef.attacks import ATTACKS, ZeroGradientWarning, fgsm, jsma, pgd
from meddef.errors import InputError

every_attack = pytest.mark.parametrize("name", list(QUICK))
every_querying_attack = pytest.mark.parametrize("name", QUERIES)


def test_every_attack_is_tested() -> None:
    assert set(QUICK) == set(ATTACKS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_attack
def test_half_precision_is_kept(name: str, dtype: torch.dtype) -> None:
    x = images(2).to(dtype)
    adv = attack(name, cnn().to(dtype), x, torch.tensor([0, 1]))
    assert adv.dtype == dtype
    assert 0 <= adv.min() <= adv.max() <= 1
    if name in IN_EPS_BALL:
        assert_within(adv, x, EPS)


@every_attack
def test_zero_budget_returns_the_input_bit_for_bit(name: str) -> None:
    x = images(3)
    x[0, 0, 0, :2] = torch.tensor([-0.0, 1e-45])
    none = {"eps": 0.0} if name in IN_EPS_BALL else NOTHING[name]
    adv = attack(name, cnn(), x, torch.zeros(3, dtype=torch.int64), **none)
    assert torch.equal(adv.view(torch.int32), x.view(torch.int32))
    assert adv.data_ptr() != x.data_ptr()


@every_attack
def test_the_model_is_left_as_found(name: str) -> None:
    model, x = cnn(), images()
    model[3].eval()  # the caller froze one layer: that, too, must come back
    model(x).sum().backward()
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    rng = torch.get_rng_state()
    x.requires_grad_()

    attack(name, model, x, torch.zeros(6, dtype=torch.int64))

    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), rng)
    assert x.grad is None


@every_querying_attack
def test_the_model_is_left_as_found_when_it_raises(name: str) -> None:
    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ArithmeticError("the model's own error")

    model = Raises()
    with pytest.raises(ArithmeticError, match="the model's own error"):
        attack(name, model, images(2), torch.tensor([0, 1]))
    assert model.training


@every_attack
def test_batchnorm_and_dropout_run_in_evaluation_mode(name: str) -> None:
    model, x = cnn(), images()
    labels = labels_of(model, x)
    in_training = attack(name, model, x, labels)
    assert torch.equal(in_training, attack(name, model.eval(), x, labels))


@every_attack
def test_calls_repeat_bit_for_bit(name: str) -> None:
    model, x = cnn(), images()
    labels = labels_of(model, x)
    first = attack(name, model, x, labels)
    torch.rand(3)
    assert torch.equal(first, attack(name, model, x, labels))


@every_attack
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_the_caller_switched_gradients_off(name: str, context: Any) -> None:
    model, x = cnn(), images(3)
    labels = labels_of(model, x)
    expected = attack(name, model, x, labels)
    with context():
        adv = attack(name, model, x.clone(), labels)
    assert torch.equal(adv, expected)


@every_attack
def test_non_contiguous_input(name: str) -> None:
    model = cnn()
    wide = images(3, size=16)
    x = wide[:, :, ::2, 1::2]
    expanded = x[:1].expand(3, -1, -1, -1)
    labels = labels_of(model, x)
    assert torch.equal(attack(name, model, x, labels), attack(name, model, x.contiguous(), labels))
    adv = attack(name, model, expanded, labels[:1].expand(3))
    assert torch.equal(adv[:1], attack(name, model, x[:1].contiguous(), labels[:1])) or name != "fgsm"
    assert torch.equal(wide[:, :, ::2, 1::2], x)


@every_attack
def test_empty_batch(name: str) -> None:
    assert attack(name, cnn(), images(1)[:0], torch.empty(0, dtype=torch.int64)).shape == (0, 3, 8, 8)


@every_attack
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x + 1e-7, r"lie outside by 1\S*e-07, as after rounding: clamp"),
        (lambda x: x - 1e-6, r"lie outside by \S+, as after rounding: clamp"),
        (lambda x: x * 255, r"pixels must be in \[0, 1\], got 255: divide 0-255 images by 255"),
        (lambda x: (x - 0.5) / 0.2, r"got -2.5: keep the normalisation inside the model"),
        (lambda x: (x * 255).to(torch.uint8), "got torch.uint8; divide 8-bit by 255"),
        (lambda x: torch.where(torch.arange(6)[:, None, None, None] == 4, torch.nan, x), "image 4 holds NaN"),
        (lambda x: x[0, 0, 0], "images must be a batch"),
        (lambda x: x[:4], r"labels must have shape \(4,\), one per image; got \(6,\)"),
        (lambda x: x.numpy(), "images must be a floating-point tensor"),
    ],
)
def test_wrong_images_are_refused(name: str, change: Any, message: str) -> None:
    x = images()
    x[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    with pytest.raises(InputError, match=message):
        attack(name, cnn(), change(x), torch.zeros(6, dtype=torch.int64))


@every_querying_attack
def test_labels_beyond_the_model_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="label 4 is out of range: the model has 4 classes"):
        attack(name, cnn(), images(2), torch.tensor([0, 4]))


@every_attack
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, -1]), "labels must be class indices from 0, got -1"),
        (torch.tensor([0.0, 1.0]), "labels must be a tensor of integer class indices"),
        (torch.eye(4, dtype=torch.int64)[:2], r"labels must have shape \(2,\)"),
    ],
)
def test_wrong_labels_are_refused(name: str, labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attack(name, cnn(), images(2), labels)


class Wrapped(nn.Module):
    """A model with one thing wrong with it."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.inner, self.fault = cnn(), fault

    def forward(self, x: Tensor) -> Any:
        logits = self.inner(x.detach() if self.fault == "detached input" else x)
        match self.fault:
            case "detached output":
                return logits.detach()
            case "NaN":
                return logits * torch.where(torch.arange(len(x)) == 1, torch.nan, 1.0)[:, None]
            case "infinite":
                return logits / (torch.arange(len(x)) != 1)[:, None]
            case "shape":
                return logits.flatten()
            case "one logit":
                return logits[:, :1]
            case "tuple":
                return logits, logits
            case "classes":
                return logits.argmax(1)
        return logits


@pytest.mark.parametrize("fault", ["detached input", "detached output"])
@pytest.mark.parametrize("name", USES_GRADIENTS)
def test_a_detached_model_is_never_called_robust(name: str, fault: str) -> None:
    model, x = Wrapped(fault), images(2)
    with pytest.raises(InputError, match="does not depend on its input"):
        attack(name, model, x, labels_of(model.inner, x))


@every_querying_attack
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("NaN", "NaN or infinite logits for image 1"),
        ("infinite", "NaN or infinite logits for image 1"),
        ("shape", r"logits \(2, K\) with K >= 2, got torch.float32 of shape \(8,\)"),
        ("one logit", r"K >= 2, got torch.float32 of shape \(2, 1\)"),
        ("tuple", "must return a tensor of logits .*, got tuple"),
        ("classes", "got torch.int64"),
    ],
)
def test_a_broken_model_is_never_called_robust(name: str, fault: str, message: str) -> None:
    model, x = Wrapped(fault), images(2)
    with pytest.raises(InputError, match=message):
        attack(name, model, x, labels_of(model.inner, x))


def test_the_model_must_be_a_module() -> None:
    with pytest.raises(InputError, match=r"must be a torch.nn.Module, got function"):
        fgsm(lambda x: x, images(2), torch.tensor([0, 1]), eps=EPS)


@pytest.mark.parametrize("name", IN_EPS_BALL)
@pytest.mark.parametrize(
    ("eps", "message"),
    [
        (-0.1, "eps must be finite and from 0 to (1|inf), got -0.1"),
        (8.0, "eps must be finite and from 0 to 1, got 8"),
        (float("nan"), "eps must be finite"),
        (torch.tensor([0.1, 0.2, 0.3]), r"eps must be a number or a tensor \(2,\), got \(3,\)"),
        ("8/255", r"eps must be a number or a tensor \(2,\), got '8/255'"),
        (True, r"eps must be a number or a tensor \(2,\), got True"),
        (None, r"eps must be a number or a tensor \(2,\), got None"),
        (np.array(["0.1", "0.1"]), r"eps must be a number or a tensor \(2,\), got array"),
        (torch.tensor(True), r"eps must be a number or a tensor \(2,\), got torch.bool"),
        (torch.tensor(0.1 + 0.5j), r"eps must be a number or a tensor \(2,\), got torch.complex64"),
    ],
)
def test_wrong_eps_is_refused(name: str, eps: Any, message: str) -> None:
    if name in EUCLIDEAN and isinstance(eps, float) and eps > 0:
        return  # it may be longer than a pixel is wide
    with pytest.raises(InputError, match=message):
        attack(name, cnn(), images(2), torch.tensor([0, 1]), eps=eps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"restarts": 0}, "restarts must be a whole number"),
        ({"stop": "last"}, "stop must be one of never, first; got 'last'"),
        ({"norm": "l1"}, "norm must be one of linf, l2; got 'l1'"),
        ({"loss": "mse"}, "loss must be one of ce, margin, dlr; got 'mse'"),
        ({"precision": "int8"}, "precision must be one of float32, bf16; got 'int8'"),
        ({"step_size": -1.0}, "step_size must be finite and from 0"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attack("pgd", cnn(), images(2), torch.tensor([0, 1]), **changes)


def test_dlr_needs_three_classes() -> None:
    with pytest.raises(InputError, match="at least 3 classes"):
        attack("pgd", cnn(classes=2), images(2), torch.tensor([0, 1]), loss="dlr")


def test_zero_gradients_are_counted_aloud() -> None:
    model = Linear(torch.tensor([[1.0, -1.0]] * 4))
    x = torch.stack([torch.full((4,), 0.5), torch.zeros(4)])

    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x) * (x.detach().sum(1) > 0)[:, None]

    for run in (
        lambda: pgd(Masked(), x, torch.tensor([0, 0]), eps=EPS, step_size=0.025, steps=2, random_start=False),
        lambda: fgsm(Masked(), x, torch.tensor([0, 0]), eps=EPS),
        lambda: jsma(Masked(), x, torch.tensor([0, 0]), theta=0.1, gamma=0.5),
    ):
        with pytest.warns(ZeroGradientWarning, match="exactly zero for 1 of 2 images"):
            run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fgsm(model, x, torch.tensor([0, 0]), eps=EPS)


def test_a_nan_gradient_is_refused() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([(x * 0).sqrt().sum((1, 2, 3)), x.sum((1, 2, 3))], 1)

    with pytest.raises(InputError, match="input gradient of image 0 is NaN or infinite"):
        fgsm(Root(), images(2), torch.tensor([0, 1]), eps=EPS)


@pytest.mark.parametrize("name", ["bim", "pgd", "ensemble"])
def test_a_list_of_budgets_has_one_meaning(name: str) -> None:
    """A grid, as fgsm takes it; one radius per image is a tensor."""
    model, x = cnn(), images(2)
    labels = labels_of(model, x)
    with pytest.raises(InputError, match=r"eps is a list, a grid that only fgsm accepts: .* a tensor \(2,\)"):
        attack(name, model, x, labels, eps=[0.01, 0.02])
    assert len(attack(name, model, x, labels, eps=torch.tensor([0.01, 0.02]))) == 2
