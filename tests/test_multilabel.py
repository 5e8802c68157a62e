"""Models of one logit and of one logit a label: against torch's binary cross-entropy, and against counts by hand."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from attack_models import cnn, images
from torch import Tensor, nn

from meddef.attacks import apgd, fgsm, pgd
from meddef.errors import InputError
from meddef.evaluation import evaluate, evaluate_labels
from meddef.models import Binary


class Bright(nn.Module):
    """A logit a channel: 10 (its mean - 0.5); ``only``: that of the first, (N,)."""

    def __init__(self, *, only: bool = False) -> None:
        super().__init__()
        self.only = only

    def forward(self, x: Tensor) -> Tensor:
        z = 10 * (x.mean((2, 3)) - 0.5)
        return z[:, 0] if self.only else z


def levels(*rows: tuple[float, ...]) -> Tensor:
    """One image per row, one constant channel per number."""
    return torch.tensor(rows)[:, :, None, None].expand(-1, -1, 4, 4).clone()


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_two_logits_are_the_sigmoid_and_its_cross_entropy(shape: tuple[int, ...]) -> None:
    class Shaped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = cnn(classes=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).reshape(shape)

    model, x, labels = Shaped().eval(), images(5), torch.tensor([0, 1, 1, 0, 1])
    z = model(x).flatten()
    logits = Binary(model)(x)
    torch.testing.assert_close(logits.softmax(1)[:, 1], z.sigmoid())
    theirs = F.binary_cross_entropy_with_logits(z, labels.float(), reduction="none")
    torch.testing.assert_close(F.cross_entropy(logits, labels, reduction="none"), theirs)
    leaf = x.clone().requires_grad_()
    loss = F.binary_cross_entropy_with_logits(model(leaf).flatten(), labels.float(), reduction="sum")
    (slope,) = torch.autograd.grad(loss, leaf)
    found = fgsm(Binary(model), x, labels, eps=0.03)
    torch.testing.assert_close(found, (x + 0.03 * slope.sign()).clamp(0, 1))


def test_a_model_of_one_logit_is_judged_at_one_half() -> None:
    x, labels = levels((0.4, 0, 0), (0.53, 0, 0), (0.6, 1, 1), (0.45, 1, 1)), torch.tensor([0, 1, 1, 1])
    outcome = evaluate(Binary(Bright(only=True)), [(x, labels)], partial(fgsm, eps=0.05))
    assert outcome.before.tolist() == [0, 1, 1, 0]
    assert outcome.after.tolist() == [0, 0, 1, 0]
    assert outcome.scores_before is not None
    assert outcome.scores_before[:, 1] == pytest.approx((10 * (x.mean((2, 3))[:, 0] - 0.5)).sigmoid().numpy())
    assert not Binary(Bright().eval()).training


@pytest.mark.parametrize(
    "attack",
    [
        partial(pgd, eps=0.05, step_size=0.025, steps=4, fast=True),
        partial(apgd, eps=0.05, steps=5, loss="margin"),
    ],
)
def test_the_attacks_take_it(attack: partial[Tensor]) -> None:
    model, x = Binary(cnn(classes=1)), images(6)
    labels = model.eval()(x).argmax(1)
    before, after = (F.cross_entropy(model(some), labels) for some in (x, attack(model, x, labels)))
    assert after > before


LABELS = torch.tensor([[1, 0, 1], [1, 1, 1]])
BATCHES = [(levels((0.52, 0.3, 0.9)), LABELS[:1]), (levels((0.7, 0.52, 0.4)), LABELS[1:])]


@pytest.mark.parametrize("kind", [torch.int64, torch.float32, torch.bool])
def test_each_label_is_attacked_and_counted_alone(kind: torch.dtype) -> None:
    loader = [(x, labels.to(kind)) for x, labels in BATCHES]
    found = evaluate_labels(Bright(), loader, partial(fgsm, eps=0.05))
    counts = [(one.counts.correct_before, one.counts.correct_after, one.counts.flipped) for one in found]
    assert counts == [(2, 1, 1), (2, 1, 1), (1, 1, 0)]  # by hand: 0.52 falls at 0.05, 0.4 was wrong
    assert [one.labels.tolist() for one in found] == LABELS.T.tolist()
    assert found[0].l0 == 16  # of 48: the channel of the label alone is moved


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (
            [(BATCHES[0][0], torch.tensor([1]))],
            r"shape \(N, L\), got \(1,\): for one class an image use evaluate",
        ),
        ([(BATCHES[0][0], torch.tensor([[1, 0, -1]]))], "labels must be 0 or 1, got .-1.: leave uncertain"),
        ([(BATCHES[0][0], torch.tensor([[1, 0, float("nan")]]))], "labels must be 0 or 1, got .nan"),
        ([(BATCHES[0][0], torch.tensor([[1, 0]]))], r"returned \(1, 3\) for 1 images and 2 logits"),
        ([*BATCHES, (BATCHES[0][0], torch.tensor([[1]]))], r"shape \(N, 3\) in every batch"),
        ((batch for batch in BATCHES), "no generator"),
        ([], "batches must be pairs"),
    ],
)
def test_what_is_no_multilabel_task_is_refused(loader, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        evaluate_labels(Bright(), loader, None)


def test_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="label 3 is out of range: the model has 3"):
        Binary(Bright(), 3, 3)
