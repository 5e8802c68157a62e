"""What comes to ``evaluate`` and ``robustness_report``: right numbers, or one line that names thing and remedy."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from attack_models import cnn, images, stripes, trained
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from meddef.attacks import pgd
from meddef.attacks.contract import ProbabilitiesWarning
from meddef.audit import robustness_report
from meddef.errors import InputError
from meddef.evaluation import evaluate

Loader = Iterable[Any]


class Always(nn.Module):
    """Logits (N, K) whose largest is ``answer``'s, and a little of the image so that gradients exist."""

    def __init__(self, answer: int = 1, classes: int = 4) -> None:
        super().__init__()
        self.register_buffer("logits", 5 * nn.functional.one_hot(torch.tensor(answer), classes).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.logits + x.flatten(1).mean(1, keepdim=True)


def grey(count: int = 8) -> Tensor:
    return torch.full((count, 3, 4, 4), 0.5)


ORDERED = torch.arange(8) % 4


class Returns(nn.Module):
    """What ``make`` makes of the right logits."""

    def __init__(self, make: Callable[[Tensor], Any], classes: int = 4) -> None:
        super().__init__()
        self.inner, self.make = Always(classes=classes), make

    def forward(self, x: Tensor) -> Any:
        return self.make(self.inner(x))


class Pair(NamedTuple):
    image: Tensor
    target: Tensor


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64]
)
def test_labels_of_any_integer_type_are_the_same_labels(dtype: torch.dtype) -> None:
    outcome = evaluate(Always(), [(grey(), ORDERED.to(dtype))], lambda m, x, y: x)
    assert (outcome.counts.correct_before, outcome.counts.n) == (2, 8)
    assert outcome.labels.dtype == np.int64
    assert (
        outcome.confusion().tolist() == [[0, 2, 0, 0]] * 4
    )  # of uint8, 3 * 4 + 1 and more would still fit; 255 would not


def test_many_classes_as_uint8_are_counted_in_the_right_cell() -> None:
    """17 classes: 16 * 17 + 1 is 273, and 17 in uint8."""
    labels = torch.full((2,), 16, dtype=torch.uint8)
    matrix = evaluate(Always(1, 17), [(grey(2), labels)], None).confusion()
    assert matrix[16, 1] == 2
    assert matrix.sum() == 2


def test_bool_labels_are_the_classes_0_and_1() -> None:
    labels = torch.tensor([True, False, True])
    assert evaluate(Always(1, 2), [(grey(3), labels)], None).counts.correct_before == 2


def test_labels_on_the_batch_s_own_device_and_batches_of_any_kind_of_pair() -> None:
    loaders: list[Loader] = [
        DataLoader(TensorDataset(grey(), ORDERED), batch_size=3),
        [[grey(), ORDERED]],
        [Pair(grey(), ORDERED)],
        ((grey(1), ORDERED[i : i + 1]) for i in range(8)),
        [(grey()[:0], ORDERED[:0]), (grey(), ORDERED), (torch.empty(0), torch.empty(0))],
        TensorDataset(grey(), ORDERED),
    ]
    for loader in loaders:
        assert evaluate(Always(), loader, None).clean_accuracy.value == 0.25


def _dicts() -> Iterator[dict[str, Tensor]]:
    yield {"image": grey(), "label": ORDERED}


BATCHES: dict[str, tuple[Loader, str]] = {
    "(N, 1), MedMNIST's own": ([(grey(), ORDERED[:, None])], r"got \(8, 1\): give labels\[:, 0\]"),
    "one-hot": ([(grey(), torch.eye(4)[ORDERED].long())], r"got \(8, 4\): .* labels.argmax\(1\)"),
    "float": ([(grey(), ORDERED.float())], r"got torch.float32: labels.long\(\)"),
    "a list": ([(grey(), ORDERED.tolist())], "got list: torch.as_tensor"),
    "an array": ([(grey(), ORDERED.numpy())], "got ndarray: torch.as_tensor"),
    "-1": ([(grey(2), torch.tensor([0, -1]))], "from 0, got -1: remove images without class"),
    "K": ([(grey(2), torch.tensor([0, 4]))], "label 4 is out of range: the model has 4 classes"),
    "255": ([(grey(2), torch.tensor([0, 255], dtype=torch.uint8))], "label 255 is out of range"),
    "too few": ([(grey(3), torch.tensor([0, 1]))], r"shape \(3,\), one per image; got \(2,\)"),
    "0..255": ([(255 * grey(), ORDERED)], "divide 0-255 images by 255"),
    "uint8 images": ([((255 * grey()).to(torch.uint8), ORDERED)], "got torch.uint8; divide 8-bit by 255"),
    "normalised": ([((grey() - 0.6) / 0.2, ORDERED)], "keep the normalisation inside the model"),
    "NaN": ([(grey() * float("nan"), ORDERED)], "image 0 holds NaN"),
    "array images": ([(grey().numpy(), ORDERED)], "got ndarray"),
    "a dict": (
        _dicts(),
        r"got a dict with image, label: give \(\(b\['image'\], b\['label'\]\) for b in loader\)",
    ),
    "three things": (
        [(grey(), ORDERED, ["name"] * 8)],
        r"got a tuple of 3: give \(\(b\[0\], b\[1\]\) for b in loader\)",
    ),
    "images alone": ([(grey(),)], "got a tuple of 1"),
    "one tensor of two images": ([grey(2)], r"got one tensor \(2, 3, 4, 4\)"),
    "a pair, not a list of pairs": ((grey(2), ORDERED[:2]), "got one tensor .* a list of pairs, not a pair"),
    "images one by one": ([(grey()[0], 1)], "got int: wrap a dataset in torch.utils.data.DataLoader"),
    "a dataset with tensors": ([(grey()[0], torch.tensor(1))], r"got \(\): wrap a dataset"),
    "text": (["images"], "got a str"),
    "nothing": ([], "the loader is empty"),
    "an empty batch": ([(grey()[:0], ORDERED[:0])], "the loader is empty"),
    "no loader": (7, "the loader must give pairs .* got int"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("attack", [None, lambda model, x, y: x], ids=["clean", "own attack"])
def test_what_is_no_batch_is_refused_in_one_line(name: str, attack: Any) -> None:
    loader, said = BATCHES[name]
    if isinstance(loader, Iterator):
        loader = list(loader)
        BATCHES[name] = (loader, said)
    with pytest.raises(InputError, match=said) as refusal:
        evaluate(Always(), loader, attack)
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match=said):
        robustness_report(Always(), loader, eps=0.1, budget="brief")


MODELS: dict[str, tuple[nn.Module, str]] = {
    "one logit": (
        Returns(lambda z: z[:, :1]),
        r"got torch.float32 of shape \(8, 1\); turn one logit z into two: meddef.models.Binary",
    ),
    "one logit, flat": (Returns(lambda z: z[:, 0]), r"of shape \(8,\); turn one logit"),
    "a tuple": (Returns(lambda z: (z, z)), "got tuple: wrap it in a module"),
    "a dict": (Returns(lambda z: {"logits": z}), "got dict: wrap it in a module"),
    "a pixel": (Returns(lambda z: z[:, :, None, None]), r"of shape \(8, 4, 1, 1\)"),
    "labels": (Returns(lambda z: z.argmax(1, keepdim=True).expand(-1, 2)), r"got torch.int64"),
    "one row": (Returns(lambda z: z[:1]), r"\(8, K\)"),
    "NaN": (Returns(lambda z: z * float("nan")), "NaN or infinite logits for image 0"),
    "infinite": (Returns(lambda z: z / 0), "NaN or infinite logits for image 0"),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_classifier_is_refused_in_one_line(name: str) -> None:
    model, said = MODELS[name]
    for attack in (None, lambda model, x, y: x):
        with pytest.raises(InputError, match=said) as refusal:
            evaluate(model, [(grey(), ORDERED)], attack)
        assert "\n" not in str(refusal.value)


def test_the_remedy_for_one_logit_is_right() -> None:
    model = Returns(lambda z: torch.stack([torch.zeros_like(z[:, 0]), z[:, 0] - 1], 1))
    assert evaluate(model, [(grey(), ORDERED % 2)], None).before.tolist() == [0] * 8


def test_a_function_is_no_model() -> None:
    for model in (lambda x: x, None):
        with pytest.raises(InputError, match=r"the model must be a torch\.nn\.Module"):
            evaluate(model, [(grey(), ORDERED)], None)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"must be a torch\.nn\.Module"):
            robustness_report(model, [(grey(), ORDERED)], eps=0.1)  # type: ignore[arg-type]


def test_a_model_whose_number_of_classes_changes_is_refused() -> None:
    class Grows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 2 + len(x))

    with pytest.raises(InputError, match="returns 3 classes here and 4 before"):
        evaluate(Grows(), [(grey(2), ORDERED[:2]), (grey(1), ORDERED[:1])], None)


ATTACKS: dict[str, tuple[Callable[..., Any], str]] = {
    "foolbox's three": (lambda m, x, y: (x, x, y), "must return a tensor of images .* got tuple"),
    "nothing": (lambda m, x, y: None, "got NoneType"),
    "an array": (lambda m, x, y: x.numpy(), "got ndarray"),
    "float64": (
        lambda m, x, y: x.double(),
        r"torch.float64 on cpu for images of torch.float32 on cpu: .* found.to\(images\)",
    ),
    "above 1": (lambda m, x, y: x + 0.75, r"pixels 0.25 outside \[0, 1\]: let it return found.clamp\(0, 1\)"),
    "below 0": (lambda m, x, y: x - 1, r"pixels 0.5 outside \[0, 1\]"),
    "NaN": (lambda m, x, y: x / 0 * 0, "returned NaN or infinite pixels in image 0"),
    "fewer": (lambda m, x, y: x[:2], r"returned \(2, 3, 4, 4\) for images \(8, 3, 4, 4\)"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_no_attack_is_refused_in_one_line(name: str) -> None:
    attack, said = ATTACKS[name]
    with pytest.raises(InputError, match=said):
        evaluate(Always(), [(grey(), ORDERED)], attack)


class Bright(nn.Module):
    """Class 1 above one half. ``writes``: it normalises its input in place, as some forwards do."""

    def __init__(self, *, writes: bool = False) -> None:
        super().__init__()
        self.writes = writes

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5).div_(0.25) if self.writes else (x - 0.5) / 0.25
        return torch.stack([-x.mean((1, 2, 3)), x.mean((1, 2, 3))], 1)


def test_an_attack_that_writes_into_its_images_is_seen() -> None:
    def in_place(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        labels += 1
        return x.add_(0.25)

    images, labels = torch.full((2, 3, 4, 4), 0.375), torch.tensor([0, 1])
    outcome = evaluate(Bright(), [(images, labels)], in_place)
    assert (outcome.before.tolist(), outcome.after.tolist(), outcome.linf) == ([0, 0], [1, 1], 0.25)
    assert (float(images.max()), labels.tolist()) == (0.375, [0, 1])


def test_a_model_that_writes_into_its_input_gets_the_numbers_of_its_twin() -> None:
    images, labels = (
        torch.linspace(0.1, 0.9, 9)[:, None, None, None].expand(-1, 3, 4, 4).clone(),
        torch.ones(9).long(),
    )
    before = images.clone()
    outcomes = [
        evaluate(Bright(writes=writes), [(images, labels)], lambda m, x, y: (x - 0.25).clamp(0, 1))
        for writes in (False, True)
    ]
    assert torch.equal(images, before)
    assert [o.after.tolist() for o in outcomes] == [[0] * 7 + [1] * 2] * 2
    assert outcomes[0].before.tolist() == outcomes[1].before.tolist()


def test_an_own_attack_that_leaves_training_mode_on_is_judged_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Dropout(1.0), Bright()).eval()  # in training mode every image is black

    def trains(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        model.train()
        return x

    assert (
        evaluate(model, [(torch.full((2, 3, 4, 4), 0.9), torch.tensor([1, 1]))] * 2, trains).after.tolist()
        == [1] * 4
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_of_another_format_than_the_model_are_named(dtype: torch.dtype) -> None:
    x = images(4).to(dtype)
    with pytest.raises(
        InputError, match=f"images are {dtype}, the model's parameters torch.float32: use images.to"
    ):
        evaluate(cnn(), [(x, torch.zeros(4).long())], None)


def test_probabilities_are_no_logits() -> None:
    """After a saturated softmax all images survive."""
    x, labels = stripes(8, 3, 28, seed=3)
    attack = partial(pgd, eps=0.05, step_size=0.01, steps=10)
    loud = nn.Sequential(trained(3), nn.Softmax(1))
    with pytest.warns(ProbabilitiesWarning, match="let forward\\(\\) return the logits"):
        evaluate(loud, [(x, labels)], attack)
    evaluate(loud, [(x, labels)], None)  # accuracy is the same
    evaluate(nn.Sequential(trained(3), nn.LogSoftmax(1)), [(x, labels)], attack)


def test_inference_mode_changes_nothing() -> None:
    x, labels = stripes(8, 3, 28, seed=3)
    attack = partial(pgd, eps=0.025, step_size=0.01, steps=5)
    expected = evaluate(trained(3), [(x, labels)], attack).counts
    with torch.inference_mode():
        assert evaluate(trained(3), [(x.clone(), labels.clone())], attack).counts == expected
        assert torch.equal(attack(trained(3), x.clone(), labels.clone()), attack(trained(3), x, labels))
