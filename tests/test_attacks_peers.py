"""foolbox and ART behind the contract: the same result as calling them, and none of their side effects."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from attack_models import EPS, cnn, images, labels_of, stripes, trained

from meddef.attacks import bim, peers
from meddef.attacks.peers import PEERS, art_attack, foolbox_attack
from meddef.attacks.reach import ShortReachWarning
from meddef.errors import InputError
from meddef.evaluation import evaluate

QUICK: dict[str, dict[str, Any]] = {
    "foolbox_fgsm": {},
    "foolbox_bim": {"steps": 3},
    "foolbox_pgd": {"steps": 3},
    "art_pgd": {"max_iter": 3},
    "art_jsma": {"theta": 0.3, "gamma": 0.1},
}


def attack(name: str, *args: Any, **settings: Any) -> torch.Tensor:
    pytest.importorskip(name.split("_")[0], reason="the peers extra is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they do inside is theirs
        return PEERS[name](*args, **{**QUICK[name], **settings})


def test_every_peer_is_tested() -> None:
    assert set(QUICK) == set(PEERS)


@pytest.mark.parametrize("name", list(QUICK))
def test_peers_keep_the_contract(name: str) -> None:
    model, x = cnn(), images(4)
    labels = labels_of(model, x)
    model(x).sum().backward()
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    torch_rng, numpy_rng = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    adv = attack(name, model, x, labels)
    assert 0 <= adv.min() <= adv.max() <= 1
    assert not torch.equal(adv, x)
    if name != "art_jsma":
        assert (adv.double() - x.double()).abs().max().item() <= 0.05
    assert model.training
    assert model[1].training
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_rng)
    assert np.array_equal(np.random.get_state()[1], numpy_rng)  # noqa: NPY002


def test_foolbox_bim_equals_ours_through_the_wrapper() -> None:
    model, x = cnn(), images(4)
    labels = labels_of(model, x)
    theirs = attack("foolbox_bim", model, x, labels, eps=EPS, abs_stepsize=0.02, steps=5)
    ours = bim(model, x, labels, eps=EPS, step_size=0.02, steps=5)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", list(QUICK))
def test_bad_input_is_refused_here_too(name: str) -> None:
    with pytest.raises(InputError, match="divide 0-255 images by 255"):
        attack(name, cnn(), images(2) * 255, torch.tensor([0, 1]))
    with pytest.raises(InputError, match="label 9 is out of range"):
        attack(name, cnn(), images(2), torch.tensor([0, 9]))


def test_unknown_attacks_and_missing_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("foolbox", reason="the peers extra is not installed")
    with pytest.raises(InputError, match="foolbox has no attack named 'Nope'"):
        foolbox_attack(cnn(), images(2), torch.tensor([0, 1]), attack="Nope", eps=EPS)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(peers.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"foolbox is not installed: pip install 'meddef\[peers\]'"):
        foolbox_attack(cnn(), images(2), torch.tensor([0, 1]), attack="LinfPGD", eps=EPS)
    with pytest.raises(InputError, match="art is not installed"):
        art_attack(cnn(), images(2), torch.tensor([0, 1]), attack="ProjectedGradientDescent", eps=EPS)


def small() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    model, x = cnn().eval(), images(4)
    return model, x, labels_of(model, x)


def test_a_peer_of_another_norm_is_refused_and_held_to_its_own() -> None:
    """On today's own ball: every image no further than eps in L2, some further than in L-infinity would be allowed."""
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    model, x, labels = small()
    with pytest.raises(
        InputError, match="foolbox's L2PGD bounds the l2 norm, and eps was given for linf: say norm='l2'"
    ):
        foolbox_attack(model, x, labels, attack="L2PGD", eps=EPS)
    with pytest.raises(InputError, match="ART's DeepFool bounds the l2 norm"):
        art_attack(model, x, labels, attack="DeepFool", eps=EPS, verbose=False)
    with pytest.raises(
        InputError, match=r"foolbox's L1PGD bounds the l1 norm.*leave eps out, or use another attack"
    ):
        foolbox_attack(model, x, labels, attack="L1PGD", eps=EPS)
    with pytest.raises(InputError, match="the norm that ART's SpatialTransformation bounds is unknown"):
        art_attack(model, x, labels, attack="SpatialTransformation", eps=EPS)
    for attacked in (
        foolbox_attack(model, x, labels, attack="L2PGD", eps=1.5, norm="l2"),
        art_attack(
            model,
            x,
            labels,
            attack="ProjectedGradientDescent",
            eps=1.5,
            eps_step=0.5,
            max_iter=5,
            norm=2,
            verbose=False,
        ),
    ):
        moved = (attacked.double() - x.double()).flatten(1)
        assert moved.norm(dim=1).max() <= 1.5
        assert moved.norm(dim=1).min() > 1.0
        assert moved.abs().max() < 1.0


def test_attacks_that_look_for_the_smallest_perturbation_are_held_to_eps() -> None:
    pytest.importorskip("foolbox")
    model, x, labels = small()
    moved = foolbox_attack(model, x, labels, attack="L2DeepFoolAttack", eps=0.1, norm="l2") - x
    assert moved.double().flatten(1).norm(dim=1).max() <= 0.1
    assert moved.flatten(1).any(1).all()


def test_a_step_beyond_the_ball_is_refused_and_a_short_reach_told() -> None:
    """ART's step is 0.1 unless it is given; foolbox's 40 steps of a thirtieth of eps reach 1.33 of the 2 eps needed."""
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    model, x, labels = small()
    with pytest.raises(
        InputError, match=r"ART's ProjectedGradientDescent takes steps of 0\.1 with eps = 0\.01569"
    ):
        art_attack(model, x, labels, attack="ProjectedGradientDescent", eps=4 / 255, verbose=False)
    with pytest.raises(InputError, match=r"foolbox's LinfPGD takes steps of 0\.2 with eps = 0\.05"):
        foolbox_attack(model, x, labels, attack="LinfPGD", eps=0.05, abs_stepsize=0.2)
    with pytest.warns(ShortReachWarning, match=r"40 steps of 0\.001667 reach 0\.0\d+"):
        foolbox_attack(model, x, labels, attack="LinfPGD", eps=0.05, rel_stepsize=1 / 30)


def test_a_failure_is_no_robustness() -> None:
    """HopSkipJump without a start gives the images back; a patch is no batch of images."""
    pytest.importorskip("art")
    _, x, _ = small()

    class Always(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.weight + 0 * batch.mean((1, 2, 3))[:, None]

    constant, zeros = Always(), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(
        InputError, match="ART's HopSkipJump left 4 of 4 correctly classified images exactly as they were"
    ):
        art_attack(
            constant,
            x,
            zeros,
            attack="HopSkipJump",
            norm=2,
            max_iter=1,
            max_eval=10,
            init_eval=2,
            init_size=2,
            verbose=False,
        )
    model, x, labels = small()
    with pytest.raises(InputError, match=r"ART's AdversarialPatch \w+"):
        art_attack(model, x, labels, attack="AdversarialPatch")
    with pytest.raises(InputError, match=r"ART's CarliniL2Method failed \(TypeError\)"):
        art_attack(model, x, labels, attack="CarliniL2Method", steps=3)


def test_a_peer_that_is_targeted_by_default_must_be_told() -> None:
    """ART's BoundaryAttack would take the true classes for its targets, and give the images back."""
    pytest.importorskip("art", reason="the peers extra is not installed")
    model, (x, labels) = trained(3), stripes(4, 3, 28, seed=3)
    few = {"max_iter": 5, "verbose": False}
    for name in ("BoundaryAttack", "SignOPTAttack"):
        with pytest.raises(InputError, match=f"ART's {name} is targeted by default: give targeted=F"):
            art_attack(model, x, labels, attack=name, **few)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = art_attack(
            model, x, labels, attack="BoundaryAttack", targeted=False, **few
        )  # asks in float64
    assert (labels_of(model, found) != labels).all()


def test_a_targeted_peer_in_a_function_of_ones_own_is_noticed() -> None:
    pytest.importorskip("art", reason="the peers extra is not installed")
    model, (x, labels) = trained(3), stripes(4, 3, 28, seed=3)
    settings: dict[str, Any] = {
        "eps": 0.05,
        "eps_step": 0.01,
        "max_iter": 5,
        "targeted": True,
        "verbose": False,
    }
    steps = "ProjectedGradientDescent"
    with pytest.raises(InputError, match="given the true classes as its targets"):
        evaluate(model, [(x, labels)], lambda *a: art_attack(*a, attack=steps, **settings))
    reached = evaluate(
        model,
        [(x, labels)],
        partial(art_attack, attack=steps, **settings),
        targets=lambda _, labels: (labels + 1) % 3,
    )
    assert reached.targeted_success.n == 4
