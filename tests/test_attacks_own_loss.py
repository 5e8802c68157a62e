"""``loss=`` as a function: the package's own losses given as one, a loss of torch, and what is none."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attack_models import cnn, images
from torch import Tensor

from meddef.attacks import apgd, bim, fgsm, pgd
from meddef.attacks.losses import margin
from meddef.errors import InputError

SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (fgsm, {"eps": 0.05}),
    (bim, {"eps": 0.05, "step_size": 0.025, "steps": 3}),
    (pgd, {"eps": 0.05, "step_size": 0.05, "steps": 3, "stop": "first"}),
    (pgd, {"eps": 0.05, "step_size": 0.05, "steps": 3, "restarts": 2, "targeted": True}),
    (apgd, {"eps": 0.05, "steps": 5}),
    (apgd, {"eps": 0.05, "steps": 5, "restarts": 2}),
]


@pytest.mark.parametrize(("attack", "settings"), SETTINGS)
@pytest.mark.parametrize(
    ("name", "function"),
    [("ce", partial(F.cross_entropy, reduction="none")), ("margin", margin)],
)
def test_a_loss_given_as_a_function_is_the_one_of_that_name(
    attack: Any, settings: dict[str, Any], name: str, function: Any
) -> None:
    x, labels = images(4), torch.tensor([0, 1, 2, 3])
    by_name = attack(cnn(), x, labels, loss=name, **settings)
    assert torch.equal(attack(cnn(), x, labels, loss=function, **settings), by_name)
    assert not torch.equal(by_name, x)


def test_another_loss_goes_elsewhere() -> None:
    """Up the first logit whatever the label: by hand the sign of its gradient."""
    x, labels, model = images(3), torch.tensor([0, 1, 2]), cnn()
    found = fgsm(model, x, labels, eps=0.05, loss=lambda logits, labels: logits[:, 0])
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.eval()(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(found, (x + 0.05 * slope.sign()).clamp(0, 1))


@pytest.mark.parametrize("attack", [fgsm, partial(pgd, step_size=0.05, steps=2), partial(apgd, steps=2)])
def test_what_is_no_loss_is_refused(attack: Any) -> None:
    def mean(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    x, labels = images(2), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"one floating-point number an image, shape \(2,\), got .*\(\)"):
        attack(cnn(), x, labels, eps=0.05, loss=mean)
    with pytest.raises(InputError, match="got NoneType"):
        attack(cnn(), x, labels, eps=0.05, loss=lambda logits, labels: None)
