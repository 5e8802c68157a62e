"""``evaluate`` against counts by hand, and its refusal to call anything robust by default."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from meddef.errors import InputError
from meddef.evaluation import confusion_matrix, evaluate


class ByBrightness(nn.Module):
    """Class 1 where the mean pixel is above one half, class 2 above 0.9, else class 0."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5, 5 * (mean - 0.8)], dim=1)


def grey(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


def brighten(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return (images + 0.2).clamp(max=1)


def test_counts_by_hand() -> None:
    loader = [(grey(0.1, 0.4), torch.tensor([0, 0])), (grey(0.4, 0.6, 0.85), torch.tensor([1, 1, 2]))]
    outcome = evaluate(ByBrightness(), loader, brighten)
    # before 0 0 0 1 1 -> right: 1st, 2nd, 4th; after 0 1 1 1 2 (0.4 + 0.2 > 0.5): 2nd flips, 3rd and 5th are repaired
    assert outcome.before.tolist() == [0, 0, 0, 1, 1]
    assert outcome.after.tolist() == [0, 1, 1, 1, 2]
    counts = outcome.counts
    assert (counts.n, counts.correct_before, counts.correct_after, counts.flipped) == (5, 3, 4, 1)
    assert (outcome.asr.hits, outcome.asr.n) == (1, 3)
    assert outcome.linf == pytest.approx(0.2, abs=1e-6)
    assert outcome.l0 == 48
    assert outcome.confusion("before").tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert outcome.confusion("after").tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 1]]


def test_clean_evaluation_changes_nothing() -> None:
    outcome = evaluate(ByBrightness(), [(grey(0.1, 0.6), torch.tensor([0, 0]))], None)
    assert (outcome.counts.flipped, outcome.linf, outcome.l0) == (0, 0.0, 0)
    assert outcome.clean_accuracy == outcome.robust_accuracy


def test_an_attack_that_raises_is_never_counted() -> None:
    def broken(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(ByBrightness(), [(grey(0.1), torch.tensor([0]))], broken)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(InputError, match="the loader is empty"):
        evaluate(ByBrightness(), [], brighten)
    with pytest.raises(ValueError, match="returned"):
        evaluate(ByBrightness(), [(grey(0.1), torch.tensor([0]))], lambda m, x, y: x[:, :1])
    with pytest.raises(InputError, match="attack returned NaN or infinite pixels in image 0"):
        evaluate(ByBrightness(), [(grey(0.1), torch.tensor([0]))], lambda m, x, y: x * float("nan"))


def test_the_model_s_mode_is_restored() -> None:
    model = nn.Sequential(nn.Dropout(0.5), ByBrightness()).train()
    evaluate(model, [(grey(0.1), torch.tensor([0]))], None)
    assert model.training


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([1, 0, 1]), 2)
    assert matrix.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (grey(0.1, 0.4), torch.tensor([[0], [0]]), r"\(2, 1\): give labels\[:, 0\]"),
        (grey(0.1, 0.4), torch.tensor([0.0, 1.0]), "class indices"),
        (grey(0.1, 0.4), torch.tensor([0]), r"shape \(2,\), one per image; got \(1,\)"),
        (grey(0.1, 0.4), torch.tensor([0, 3]), "the model has 3 classes"),
        (grey(0.1, 0.4), torch.tensor([-1, 0]), "from 0, got -1"),
        (grey(10.0, 40.0), torch.tensor([0, 0]), r"\[0, 1\]"),
        (grey(-1.0, 1.0), torch.tensor([0, 0]), r"\[0, 1\]"),
        (grey(float("nan"), 1), torch.tensor([0, 0]), r"\[0, 1\]"),
    ],
)
def test_without_an_attack_too_labels_and_pixels_must_be_what_they_say(
    images: Tensor, labels: Tensor, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        evaluate(ByBrightness(), [(images, labels)], None)


def test_an_empty_batch_adds_nothing() -> None:
    whole, none = (grey(0.1, 0.6), torch.tensor([0, 0])), (grey(), torch.tensor([], dtype=torch.int64))
    assert evaluate(ByBrightness(), [none, whole, none], brighten).counts.n == 2
    with pytest.raises(InputError, match="the loader is empty"):
        evaluate(ByBrightness(), [none], brighten)
