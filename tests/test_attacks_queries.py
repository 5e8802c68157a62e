"""Models that write into their input: the images of a twin that does not, and the caller's left alone."""

from collections.abc import Callable

import pytest
import torch
from attack_models import QUICK, attack, cnn, images, labels_of
from taped import taped
from torch import Tensor, nn

from meddef.attacks import Trace, pgd, square
from meddef.attacks.balls import LinfBall
from meddef.attacks.capture import Captured
from meddef.attacks.fast import gradient_source
from meddef.attacks.loop import ActiveBatch, climb
from meddef.attacks.losses import Objective
from meddef.attacks.queries import WritesIntoInput, ask
from meddef.errors import InputError
from meddef.robustness import robustness_report


class Standardised(nn.Module):
    """A network behind ``how``, which standardises images in some way."""

    def __init__(self, how: Callable[[Tensor], Tensor], network: nn.Module | None = None) -> None:
        super().__init__()
        self.how, self.network = how, network or cnn().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.how(x))


def beside(x: Tensor) -> Tensor:
    return x.sub(0.5).div(0.25)


def of_view(x: Tensor) -> Tensor:
    x.flatten(1).sub_(0.5).div_(0.25)
    return x


def past_autograd(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.sub_(0.5).div_(0.25)


def past_the_counter(x: Tensor) -> Tensor:
    x.data.sub_(0.5).div_(0.25)
    return x


def by_numpy(x: Tensor) -> Tensor:
    pixels = x.detach().numpy()
    pixels -= 0.5
    pixels /= 0.25
    return x


def by_index(x: Tensor) -> Tensor:
    x[:] = beside(x)
    return x


def of_slices(x: Tensor) -> Tensor:
    for i in range(x.shape[1]):
        x[:, i].sub_(0.5).div_(0.25)
    return x


SEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "in place": lambda x: x.sub_(0.5).div_(0.25),
    "a view": of_view,
    "by index": by_index,
    "slices": of_slices,
}  # by autograd, whose gradients are then those of the twin
UNSEEN = {"past autograd": past_autograd, "past the counter": past_the_counter, "by NumPy": by_numpy}


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("how", SEEN)
def test_images_are_those_of_the_twin_bit_for_bit(how: str, name: str) -> None:
    model, twin, x = Standardised(SEEN[how]), Standardised(beside), images()
    labels = labels_of(twin, x)
    given = x.clone()
    assert torch.equal(attack(name, model, given, labels), attack(name, twin, x, labels))
    assert torch.equal(given, x)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("how", UNSEEN)
def test_what_autograd_does_not_see_is_noticed(how: str, name: str) -> None:
    """The gradient is the model's own, without the factor 4: that of a model that clones its input first."""
    model, twin = Standardised(UNSEEN[how]), Standardised(lambda x: UNSEEN[how](x.clone()))
    x = images()
    labels = labels_of(twin, x)
    given = x.clone()
    assert torch.equal(attack(name, model, given, labels), attack(name, twin, x, labels))
    assert torch.equal(given, x)


@pytest.mark.parametrize("layer", [nn.ReLU, nn.Hardsigmoid, nn.Dropout])
@pytest.mark.parametrize("name", QUICK)
def test_a_first_layer_that_is_in_place(name: str, layer: type[nn.Module]) -> None:
    """The first and the last change nothing in an image in [0, 1], and autograd refuses them all the same."""
    network, x = cnn().eval(), images()
    model, twin = (nn.Sequential(layer(inplace=inplace), network) for inplace in (True, False))
    labels = labels_of(twin, x)
    assert torch.equal(attack(name, model, x, labels), attack(name, twin, x, labels))


def test_square_as_reported() -> None:
    """x.sub_(.5).div_(.25): 60 of 64 images stayed right, with the twin hardly any."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    model, twin, x = Standardised(SEEN["in place"], network), Standardised(beside, network), images(64)
    labels = labels_of(twin, x)
    found, expected = (square(each, x.clone(), labels, eps=0.05, queries=100) for each in (model, twin))
    assert torch.equal(found, expected)
    assert (twin(found).argmax(1) == labels).float().mean() < 0.5


def test_random_numbers_and_a_trace_begin_again() -> None:
    model, twin, x = Standardised(SEEN["in place"]), Standardised(beside), images()
    labels = labels_of(twin, x)
    results, traces = [], []
    for each in (model, twin):
        traces.append(Trace())
        numbers = torch.Generator().manual_seed(5)
        results.append(
            pgd(each, x, labels, eps=0.1, step_size=0.05, steps=4, generator=numbers, trace=traces[-1])
        )
    assert torch.equal(*results)
    assert len(traces[0].loss) == 5
    assert all(torch.equal(*pair) for pair in zip(traces[0].loss, traces[1].loss, strict=True))


def test_one_that_writes_only_when_it_is_judged() -> None:
    def how(x: Tensor) -> Tensor:
        return beside(x) if torch.is_grad_enabled() else x.sub_(0.5).div_(0.25)

    x, twin = images(), Standardised(beside)
    labels = labels_of(twin, x)
    settings = {"eps": 0.1, "step_size": 0.05, "steps": 4, "restarts": 2}
    assert torch.equal(pgd(Standardised(how), x, labels, **settings), pgd(twin, x, labels, **settings))


def test_the_fast_copy_is_made_of_what_clones() -> None:
    model, twin, x = Standardised(SEEN["in place"]), Standardised(beside), images()
    labels = labels_of(twin, x)
    found, expected = (attack("pgd", each, x, labels, fast=True) for each in (model, twin))
    torch.testing.assert_close(found, expected)
    with pytest.raises(WritesIntoInput, match=r"begin with x = x.clone\(\)"):
        gradient_source(model, x.clone(), fast=True, precision="float32")


@pytest.mark.parametrize("how", [*SEEN, *UNSEEN])
def test_a_step_that_is_recorded_notices_it_too(how: str) -> None:
    """As on a GPU, where steps are replayed: the first runs as it comes, and there the host may look."""
    model, x = Standardised((SEEN | UNSEEN)[how]), images()
    eps, size = torch.full((6, 1, 1, 1), 0.05).double(), torch.full((6, 1, 1, 1), 0.01).double()
    objective = Objective(torch.arange(6) % 4)
    run = ActiveBatch(model, model, objective, LinfBall(x, eps), size, torch.arange(6), 6)
    for climbs in (Captured(taped), climb):
        with pytest.raises(WritesIntoInput):
            climbs(run, x, 10, stop="never", report=lambda step: None, trace=None)
    assert torch.equal(x, images())


def test_a_robustness_report_refuses_it_and_leaves_the_images() -> None:
    x = images()
    given = x.clone()
    for how in SEEN | UNSEEN:
        with pytest.raises(InputError, match="writes into its input"):
            robustness_report(Standardised((SEEN | UNSEEN)[how]), [(given, torch.arange(6) % 4)], eps=0.05)
        assert torch.equal(given, x)


def test_the_model_s_own_errors_and_parameters_are_its_own() -> None:
    class Counts(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1)) + self.bias.mul_(2)

    with pytest.raises(RuntimeError, match="leaf Variable") as raised:
        attack("pgd", Counts(3 * 64, 4), images(2), torch.tensor([0, 1]))
    assert not isinstance(raised.value, InputError)


def test_asking_costs_a_well_behaved_model_nothing() -> None:
    """The same tensor is passed on, and the output is returned unchanged."""
    seen = []

    class Sees(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x

    x = images(2)
    assert ask(Sees(), x) is x
    assert ask(Sees(), x, first=True) is x
    assert all(each is x for each in seen)
