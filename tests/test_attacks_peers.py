"""foolbox and ART behind the contract: the same result as calling them, and none of their side effects."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from attack_models import EPS, cnn, images, labels_of

from meddef.attacks import bim, peers
from meddef.attacks.peers import PEERS, art_attack, foolbox_attack
from meddef.errors import InputError

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
