"""The rivals of the paper's recipe: one step of each is plain PyTorch's, TRADES' loss is ART's, names never mix."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import phantoms
from taped import taped
from test_training import images, tiny_model
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

from meddef.attacks.capture import Captured, holding
from meddef.attacks.randomness import PerImage
from meddef.cli import app
from meddef.errors import InputError
from meddef.evaluation.plan import make_plan
from meddef.settings import AdversarialSettings, Method, Profile, TrainingSettings, load_profile
from meddef.training import TrainingState, train
from meddef.training.checkpoint import read_header
from meddef.training.distributed import Together
from meddef.training.epoch import Epoch
from meddef.training.inner_attack import InnerAttack
from meddef.training.methods import METHODS
from meddef.training.objective import Passed
from meddef.training.process_group import Team
from meddef.training.trainer import ease_if_degraded

EPS, STEPS, BETA, RATE = 8 / 255, 4, 3.0, 0.1
Search = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def rule(method: str, **more: object) -> AdversarialSettings:
    return AdversarialSettings.model_validate({"method": method, "steps": STEPS, **more})


def settings(method: str, **more: object) -> TrainingSettings:
    return TrainingSettings(epochs=2, batch_size=8, learning_rate=RATE, adversarial=rule(method, **more))


def network() -> nn.Module:
    """No dropout, so that a plain step need not draw the same; BatchNorm, whose mode matters."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, stride=2)
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(196, 2))


def epoch_of(model: nn.Module, chosen: TrainingSettings) -> Epoch:
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    attack = InnerAttack(model, STEPS, "float32")
    return Epoch(Together(model, Team()), optimizer, attack, chosen, 0, 1.0, 5, torch.device("cpu"))


def plain_pgd(climbed: str, steps: int, size: float, start: str) -> Search:
    """The attack written out: ``numbers`` are uniform or normal (N, C, H, W) for the start."""

    def search(model: nn.Module, x: Tensor, labels: Tensor, numbers: Tensor) -> Tensor:
        begin = {"uniform": x + EPS * (2 * numbers - 1), "normal": x + 0.001 * numbers, "image": x}
        moved = begin[start].clamp(0, 1)
        answers = model(x).softmax(1).detach()
        for _ in range(steps):
            moved.requires_grad_()
            if climbed == "ce":
                loss = F.cross_entropy(model(moved), labels)
            else:
                loss = nn.KLDivLoss(reduction="sum")(model(moved).log_softmax(1), answers)
            (slope,) = torch.autograd.grad(loss, moved)
            moved = (moved.detach() + size * slope.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
        return moved

    return search


def plain_trades(clean: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
    """As in https://github.com/yaodongyu/TRADES, trades.py."""
    criterion_kl = nn.KLDivLoss(reduction="sum")
    robust = (1.0 / len(labels)) * criterion_kl(F.log_softmax(adversarial, dim=1), F.softmax(clean, dim=1))
    return F.cross_entropy(clean, labels) + BETA * robust


@pytest.mark.parametrize(
    ("chosen", "search"),
    [
        (settings("madry"), plain_pgd("ce", STEPS, 2.5 * EPS / STEPS, "uniform")),
        (settings("fast"), plain_pgd("ce", 1, 1.25 * EPS, "uniform")),
        (settings("fast", random_start=False), plain_pgd("ce", 1, EPS, "image")),
        (settings("trades", beta=BETA), plain_pgd("kl", STEPS, 2.5 * EPS / STEPS, "normal")),
    ],
    ids=["madry", "fast", "fast without a start", "trades"],
)
def test_a_step_is_that_of_plain_pytorch(chosen: TrainingSettings, search: Search) -> None:
    """One batch of all images: attack in evaluation mode, loss in training mode, one step of SGD."""
    ours, theirs, data = network(), network(), images(8, 0)
    epoch = epoch_of(ours, chosen)
    row = epoch.fit(data)

    x, labels = data.batch(torch.randperm(8, generator=torch.Generator().manual_seed(epoch.seed)))
    drawn = PerImage(x, epoch.seed, "training")
    is_trades = chosen.name.startswith("trades")
    numbers = (drawn.normal if is_trades else drawn.uniform)(*x.shape[1:])
    moved = search(theirs.eval(), x, labels, numbers)
    theirs.train()
    if is_trades:
        clean, adversarial = theirs(torch.cat([x, moved])).chunk(2)
        loss = plain_trades(clean, adversarial, labels)
        assert row["loss_clean"] == pytest.approx(F.cross_entropy(clean, labels).item(), rel=1e-5)
        assert row["loss_clean"] + BETA * row["loss_adversarial"] == pytest.approx(loss.item(), rel=1e-5)
    else:
        loss = F.cross_entropy(theirs(moved), labels)
        assert (row["loss_clean"], row["train_accuracy"]) == (None, None)
        assert row["loss_adversarial"] == pytest.approx(loss.item(), rel=1e-5)
    before = network().state_dict()
    torch.optim.SGD(theirs.parameters(), lr=RATE).zero_grad()
    loss.backward()
    torch.optim.SGD(theirs.parameters(), lr=RATE).step()
    for name, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value, atol=1e-6), name
    assert not torch.allclose(ours.state_dict()["4.weight"], before["4.weight"], atol=1e-4)


def test_a_trades_step_is_that_of_art() -> None:
    """ART passes images and attacked images one after the other: a model without BatchNorm does not notice."""
    trainer = pytest.importorskip("art.defences.trainer.adversarial_trainer_trades_pytorch")
    classifier = pytest.importorskip("art.estimators.classification")
    attacks = pytest.importorskip("art.attacks.evasion")

    class Listed(nn.Sequential):  # ART takes the last of the layers' outputs
        def forward(self, x: Tensor) -> list[Tensor]:
            return [super().forward(x)]

    def layers() -> list[nn.Module]:
        torch.manual_seed(1)
        return [nn.Flatten(), nn.Linear(768, 8), nn.Tanh(), nn.Linear(8, 2)]

    ours, theirs = nn.Sequential(*layers()), Listed(*layers())
    x, labels = images(8, 0).batch(range(8))
    moved = (x + EPS * torch.randn_like(x).sign()).clamp(0, 1)
    wrapped = classifier.PyTorchClassifier(
        theirs, nn.CrossEntropyLoss(), (3, 16, 16), 2, torch.optim.SGD(theirs.parameters(), lr=RATE),
        clip_values=(0, 1), device_type="cpu",
    )  # fmt: skip

    attack = attacks.FastGradientMethod(wrapped)
    attack.generate = lambda given, y: moved.numpy()
    peer = trainer.AdversarialTrainerTRADESPyTorch(wrapped, attack, beta=BETA)
    epoch = epoch_of(ours, settings("trades", beta=BETA))
    for _ in range(3):  # weights move between the steps
        their_loss, _, _ = peer._batch_process(x.numpy(), np.eye(2)[labels])
        clean, divergence, _ = epoch._step(x, moved, labels, None).tolist()
        assert clean + BETA * divergence == pytest.approx(their_loss / 8, rel=1e-5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_trades_gradient_flows_through_both_answers() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, adversarial = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    objective = METHODS["trades"](settings("trades", beta=BETA), 0, 1.0)

    def loss(clean: Tensor, adversarial: Tensor) -> Tensor:
        return objective.loss(Passed(clean, adversarial, labels, 6, Team()))[0]

    given = clean.requires_grad_(), adversarial.requires_grad_()
    assert torch.autograd.gradcheck(loss, given)
    found = torch.autograd.grad(loss(*given), given)
    for mine, other in zip(found, torch.autograd.grad(plain_trades(*given, labels), given), strict=True):
        assert torch.allclose(mine, other)
        assert bool((mine != 0).all())


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0], dtype=torch.float64)])
@pytest.mark.parametrize("method", METHODS)
def test_shares_of_several_processes_add_up_to_the_loss(method: Method, weights: Tensor | None) -> None:
    """Three processes, of which one has no attacked image of the recipe's two."""
    chosen = settings(method)
    objective = METHODS[method](chosen, 0, 1.0)
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 1])
    attacked = objective.attacked(7)
    generator = torch.Generator().manual_seed(0)
    clean, adversarial = (torch.randn(n, 2, generator=generator).double() for n in (7, attacked))

    def loss(team: Team) -> Tensor:
        own = clean[team.share(7)], adversarial[team.share(attacked)]
        return torch.stack(objective.loss(Passed(*own, labels, attacked, team, weights)))

    assert torch.allclose(sum(loss(Team(rank, 3)) for rank in range(3)), loss(Team()))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["madry", "fast", "trades"])
def test_a_rival_attacks_all_images_at_its_epsilon_and_validates_as_the_house_does(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    attack = InnerAttack.__call__

    def spy(self: InnerAttack, batch: Tensor, labels: Tensor, **keywords: object) -> Tensor:
        found = attack(self, batch, labels, **keywords)  # type: ignore[arg-type]
        calls.append((len(batch), keywords["eps"], keywords["steps"]))
        assert float((found - batch).abs().max()) <= float(keywords["eps"]) + 1e-7  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(InnerAttack, "__call__", spy)
    chosen = settings(method, epsilon=0.02).model_copy(update={"learning_rate": 0.01})
    state = train(tiny_model(), images(40, 0), images(20, 1), chosen, seed=3, folder=tmp_path, progress=False)
    assert calls[:6] == [(8, 0.02, 1 if method == "fast" else STEPS)] * 5 + [(14, 0.03, STEPS)]
    for row in state.history:
        assert row["score"] == (row["val_clean"] + row["val_adversarial"]) / 2
        assert (row["phase"], row["epsilon"]) == ("fixed", 0.02)
        assert row["adversarial_weight"] == (6.0 if method == "trades" else 1.0)


def test_a_rival_is_not_eased() -> None:
    state = TrainingState(best_score=0.9)
    for _ in range(5):
        ease_if_degraded(state, 0.1, settings("madry"))
    assert (state.ease, state.below) == (1.0, 0)


def test_in_bfloat16_too_the_divergence_moves_every_image() -> None:
    """So near the image the copy's output in bfloat16 is often identical, and its gradient zero."""
    torch.manual_seed(0)
    x, labels = images(64, 0).batch(range(64))
    attack = InnerAttack(network(), STEPS, "bf16")
    moved = attack(x, labels, eps=EPS, step_size=EPS / 2, seed=0, start="normal", divergence=True)
    assert float((moved - x).abs().amax((1, 2, 3)).min()) > EPS / 2


@pytest.mark.parametrize("method", ["fast", "trades"])
def test_one_recording_gives_the_same_training(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The divergence's target moves into the recorded step with every batch, as labels do."""

    def trained(folder: str) -> dict[str, Tensor]:
        model, chosen = network(), settings(method).model_copy(update={"learning_rate": 0.01})
        given = phantoms(24), phantoms(8, 40)
        model[4] = nn.Linear(4 * 15**2, 4)
        train(model, *given, chosen, seed=1, folder=tmp_path / folder, progress=False)
        return model.state_dict()

    torch.manual_seed(0)
    plain = trained("plain")
    captured = Captured(taped)
    monkeypatch.setattr("meddef.training.inner_attack.climbing", lambda *given: nullcontext(captured))
    torch.manual_seed(0)
    with holding(captured):
        replayed = trained("taped")
    assert all(torch.equal(replayed[name], plain[name]) for name in plain)
    goals = {key[5] for key in captured.steps}  # type: ignore[index]
    assert goals == ({"ce", "divergence"} if method == "trades" else {"ce"})


def test_settings_that_a_method_does_not_use_are_refused_and_not_written() -> None:
    assert rule("madry").model_dump() == {
        "method": "madry", "validation_share": 0.7, "steps": STEPS, "epsilon": 8 / 255,
    }  # fmt: skip
    assert set(AdversarialSettings().model_dump()) == {
        "train_share", "validation_share", "steps", "patience", "tolerance", "ease_factor",
    }  # fmt: skip
    for method, name, value in (
        ("meddef", "epsilon", 0.1),
        ("madry", "beta", 1.0),
        ("trades", "train_share", 0.5),
    ):
        with pytest.raises(ValueError, match=f"method {method} does not use {name}"):
            rule(method, **{name: value})
    for method in METHODS:
        assert AdversarialSettings.model_validate(rule(method).model_dump()) == rule(method)


def test_each_training_has_a_name_of_its_own() -> None:
    every = [
        TrainingSettings(adversarial=None), settings("meddef"), settings("madry"), settings("fast"),
        settings("fast", random_start=False), settings("trades"), settings("trades", beta=1),
        settings("madry", epsilon=4 / 255),
    ]  # fmt: skip
    assert [training.name for training in every] == [
        "clean", "adversarial", "madry", "fast", "fast random_start=0", "trades", "trades beta=1",
        "madry epsilon=0.015686",
    ]  # fmt: skip


def test_the_profile_trains_at_equal_compute_and_shares_its_cells_with_cpu() -> None:
    """The same settings but the method; the clean model and the recipe's are those of profile cpu, cell by cell."""
    rivals, cpu = load_profile("rivals"), load_profile("cpu")
    models = {training.name: training for _, training in rivals.models()}
    assert list(models) == ["clean", "adversarial", "madry", "fast", "trades", "noise_12", "noise_25"]
    shared = [training.model_dump(exclude={"adversarial", "augmentation"}) for training in models.values()]
    assert all(content == shared[0] for content in shared)
    rules = [training.adversarial for training in models.values() if training.adversarial]
    assert len({(one.steps, one.validation_share) for one in rules}) == 1

    def keys(profile: Profile, tmp: Path) -> set[str]:
        from meddef.evaluation.plan import RunOptions
        from meddef.settings import DatasetSettings

        drawn = DatasetSettings(
            name="phantom_xray", split_policy="released", sizes={"train": 4, "val": 2, "test": 2}
        )
        plan = make_plan(profile.model_copy(update={"datasets": [drawn]}), RunOptions(tmp))
        return {cell.key for cell in plan.cells}

    ours, theirs = keys(rivals, Path("x")), keys(cpu, Path("x"))
    shared = 2 * 3 * (1 + 1 + 3 * 1 + 2 + 4 + 2)  # ways, seeds; training, test, clean of three grids, attacks
    assert len(ours & theirs) == 1 + shared  # and the data
    assert len(ours & theirs) == 1 + 2 * 3 * (1 + 1 + 3 * 1 + 2 + 4 + 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--beta", "2"], "--beta requires --method madry, fast or trades"),
        (["--method", "clean", "--eps", "0.1"], "--eps requires --method"),
        (["--method", "fast", "--beta", "2"], "method fast does not use beta: leave it out"),
        (["--method", "meddef", "--eps", "0.1"], "method meddef does not use epsilon: leave it out"),
        (["--method", "free"], "'meddef', 'madry', 'fast' or 'trades'"),
        (["--method", "madry", "--control"], "leave --control out"),
        (["--method", "madry", "--eps", "8"], "--eps 8 is out of range"),
    ],
)
def test_the_command_line_refuses_what_does_not_belong_together(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        app, ["train", "--variant", "resnet18", "--dataset", "phantom_xray", *arguments]
    )
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "clean"], None),
        (["--method", "meddef"], {"train_share": 0.35, "steps": 1}),
        (
            ["--method", "trades", "--eps", "4/255", "--beta", "1"],
            {"method": "trades", "epsilon": 4 / 255, "beta": 1.0, "steps": 1},
        ),
    ],
)
def test_the_command_line_trains_by_any_method_and_the_weights_say_which(
    arguments: list[str], expected: dict[str, object] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_cli import TINY

    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    given = ["train", "--variant", "resnet18", "-p", "tiny.yaml", "-o", "out.safetensors", *arguments]
    trained = CliRunner().invoke(app, given, catch_exceptions=False)
    assert trained.exit_code == 0
    found = read_header(Path("out.safetensors"))["training"]["adversarial"]
    assert found is None if expected is None else expected.items() <= found.items()
