"""Universal perturbations: the ball, what is promised of every attack, ART's and a plain version beside ours."""

import random
import warnings

import numpy as np
import pytest
import torch
from attack_models import assert_within, cnn, images, stripes, trained
from torch import Tensor, nn

from meddef.attacks import ShortReachWarning
from meddef.attacks.universal import METHODS, perturbed, universal
from meddef.errors import InputError

SIZE, EPS = 28, 0.05


def fooling(model: nn.Module, x: Tensor, delta: Tensor, eps: float) -> float:
    with torch.no_grad():
        return (model(perturbed(x, delta, eps)).argmax(1) != model(x).argmax(1)).double().mean().item()


@pytest.mark.parametrize("classes", [2, 4])
def test_fooling_rates_are_those_of_art(classes: int) -> None:
    """The algorithm that Hirano et al. ran is ART's with FGSM: held-out images, ten points; sgd is not below."""
    attacks = pytest.importorskip("art.attacks.evasion", reason="the peers extra is not installed")
    from art.estimators.classification import PyTorchClassifier

    model, eps, step = trained(classes), 0.1, 0.05
    fit, held_out = stripes(80, classes, SIZE, seed=5)[0], stripes(300, classes, SIZE, seed=6)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = PyTorchClassifier(
            model, nn.CrossEntropyLoss(), (1, SIZE, SIZE), classes, clip_values=(0, 1)
        )
        given = {"attacker_params": {"eps": step}, "delta": 1e-6, "max_iter": 6, "eps": eps, "norm": np.inf}
        random.seed(0)
        peer = attacks.UniversalPerturbation(wrapped, "fgsm", **given, verbose=False)
        peer.generate(fit.numpy())
    theirs = fooling(model, held_out, torch.from_numpy(peer.noise), eps)
    ours, quick = (
        fooling(model, held_out, universal(model, fit, eps=eps, method=m, step_size=step, epochs=6), eps)
        for m in METHODS
    )
    assert theirs > 0.4
    assert ours == pytest.approx(theirs, abs=0.1)
    assert quick >= theirs - 0.05


def plain(model: nn.Module, x: Tensor, eps: float, step: float, epochs: int) -> Tensor:
    """ "sgd" written out for 8 images per batch, with the margin by a loop."""
    order, delta, best, most = torch.Generator().manual_seed(0), torch.zeros_like(x[:1]), None, -1
    answers = model(x).argmax(1)
    for _ in range(epochs):
        places = torch.randperm(len(x), generator=order)
        for start in range(0, len(x), 8):
            index = places[start : start + 8]
            at = (x[index] + delta).clamp(0, 1).requires_grad_()
            total = 0.0
            for logits, own in zip(model(at), answers[index], strict=True):
                others = [z for k, z in enumerate(logits) if k != own]
                total = total + torch.stack(others).max() - logits[own]
            total.backward()
            delta = (delta + step * at.grad.sum(0).sign()).clamp(-eps, eps)
        fooled = int((model((x + delta).clamp(0, 1)).argmax(1) != answers).sum())
        if fooled >= most:
            best, most = delta, fooled
    return best


def test_sgd_is_the_plain_loop() -> None:
    model, x = cnn().eval(), images(20)
    found = universal(model, x, eps=EPS, epochs=3, step_size=0.01, batch_size=8)
    torch.testing.assert_close(found, plain(model, x, EPS, 0.01, 3), atol=1e-7, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_it_beats_random_signs_of_its_size_on_images_it_never_saw(method: str) -> None:
    model = trained(4)
    fit, held_out = stripes(64, 4, SIZE, seed=5)[0], stripes(200, 4, SIZE, seed=6)[0]
    rates = {}
    for eps in (0.02, 0.05, 0.1):
        delta = universal(model, fit, eps=eps, method=method, epochs=5)
        assert delta.shape == (1, 1, SIZE, SIZE)
        assert float(delta.abs().max()) <= eps
        assert_within(perturbed(held_out, delta, eps), held_out, eps)
        rates[eps] = fooling(model, held_out, delta, eps)
    signs = 0.1 * torch.randn((1, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(0)).sign()
    assert fooling(model, held_out, signs, 0.1) < 0.1
    assert rates[0.1] > 0.6
    assert rates[0.02] <= rates[0.05] <= rates[0.1]


@pytest.mark.parametrize("method", METHODS)
def test_it_is_deterministic_and_leaves_the_model_alone(method: str) -> None:
    model, x = trained(4), stripes(12, 4, SIZE, seed=5)[0]
    model.train()(x).sum().backward()
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    numbers, kept = torch.get_rng_state(), x.clone()
    given = {"eps": 0.1, "step_size": 0.05, "method": method, "epochs": 2, "batch_size": 4}
    first, again = (universal(model, x, **given) for _ in range(2))
    seeded = [universal(model, x, **given, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert first.any()
    assert torch.equal(first, again)
    assert torch.equal(first, seeded[0])
    assert not torch.equal(first, seeded[1])
    assert torch.equal(x, kept)
    assert model.training
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert all(torch.equal(value, before[key]) for key, value in model.eval().state_dict().items())


def test_it_works_where_the_caller_switched_gradients_off() -> None:
    model, x = cnn(), images(12)
    with torch.inference_mode():
        inside = universal(model, images(12), eps=EPS, epochs=2)
    assert torch.equal(inside, universal(model, x, eps=EPS, epochs=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "deepfool"}, "one of hirano, sgd"),
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"eps": -0.1}, "eps must be finite and from 0 to 1"),
        ({"eps": [0.1]}, "eps is a list"),
        ({"step_size": -1}, "step_size must be"),
        ({"images": images(4) * 255}, "divide 0-255 images by 255"),
        ({"images": images(4).half()}, "float32 or float64"),
        ({"images": images(4)[:0]}, "no image"),
        ({"model": nn.Sequential(nn.Flatten(), nn.LazyLinear(1))}, "K >= 2"),
        ({"model": "a model"}, r"must be a torch\.nn\.Module"),
    ],
)
def test_what_is_wrong_is_said(changes: dict, message: str) -> None:
    given = {"model": cnn(), "images": images(4), "eps": EPS} | changes
    with pytest.raises(InputError, match=message):
        universal(given.pop("model"), given.pop("images"), **given)


def test_other_refusals_and_warnings() -> None:
    assert not universal(cnn(), images(4), eps=0).any()
    with pytest.raises(InputError, match=r"shape \(1, C, H, W\)"):
        perturbed(images(4), images(4), EPS)
    with pytest.warns(ShortReachWarning, match="2 steps of 0.001 reach 0.002"):
        universal(cnn(), images(4), eps=EPS, step_size=0.001, epochs=2)
