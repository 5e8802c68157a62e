"""Training: the loss is the paper's, a killed run resumes bit for bit, easing follows its rule, refusals."""

import re
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import meddef.training.epoch as epoch_module
import meddef.training.trainer as trainer
from meddef.data.images import ImageSet
from meddef.errors import InputError
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import TrainingState, load_weights, save_weights, train
from meddef.training.checkpoint import read_checkpoint, restore, save_checkpoint
from meddef.training.distributed import Together
from meddef.training.inner_attack import InnerAttack
from meddef.training.process_group import Team

SETTINGS = TrainingSettings(
    epochs=3, batch_size=8, learning_rate=0.01, adversarial=AdversarialSettings(steps=2)
)
CLEAN = SETTINGS.model_copy(update={"adversarial": None})
TRADES = SETTINGS.model_copy(update={"adversarial": AdversarialSettings(method="trades", steps=2)})


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(196, 2),
    )


def images(count: int, seed: int) -> ImageSet:
    """Class 1 is brighter in the left half."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    pixels = random.integers(0, 160, (count, 16, 16))
    pixels[:, :, :8] += 60 * labels[:, None, None]
    names = tuple(map(str, range(count)))
    return ImageSet(pixels.astype(np.uint8), labels.astype(np.int64), names, names)


def run(folder: Path, settings: TrainingSettings = SETTINGS) -> tuple[nn.Module, TrainingState]:
    model = tiny_model()
    state = train(model, images(40, 0), images(20, 1), settings, seed=3, folder=folder, progress=False)
    return model, state


@pytest.mark.parametrize("settings", [SETTINGS, CLEAN, TRADES], ids=["adversarial", "clean", "trades"])
@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_killed_run_ends_where_an_unbroken_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: TrainingSettings, killed_after: int
) -> None:
    expected, expected_state = run(tmp_path / "unbroken", settings)
    ticks = count()
    monkeypatch.setattr(
        trainer, "perf_counter", lambda: float(next(ticks))
    )  # an epoch is read twice: one second
    save, calls = trainer.save_checkpoint, 0

    def save_then_die(*arguments: object, **keywords: object) -> None:
        nonlocal calls
        save(*arguments, **keywords)
        calls += 1
        if calls == killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", settings)
    model, state = run(tmp_path / "killed", settings)
    assert state == expected_state
    assert state.seconds == settings.epochs
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_the_model_learns_and_keeps_its_best_epoch(tmp_path: Path) -> None:
    model, state = run(tmp_path, CLEAN.model_copy(update={"epochs": 6}))
    scores = [row["score"] for row in state.history]
    assert state.best_epoch == scores.index(max(scores))
    assert max(scores) > 0.8
    held_out, labels = images(20, 1).batch(range(20))
    with torch.no_grad():
        accuracy = float((model.eval()(held_out).argmax(1) == labels).float().mean())
    assert accuracy == pytest.approx(max(scores))


def test_a_share_of_each_batch_is_attacked_with_the_schedule_s_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    attack = InnerAttack.__call__

    def spy(self: InnerAttack, batch: torch.Tensor, labels: torch.Tensor, **keywords: Any) -> torch.Tensor:
        calls.append((len(batch), keywords["eps"], keywords["step_size"], self.steps))
        return attack(self, batch, labels, **keywords)

    monkeypatch.setattr(InnerAttack, "__call__", spy)
    run(tmp_path, SETTINGS.model_copy(update={"epochs": 1}))
    training, validation = calls[:5], calls[5:]
    assert training == [(round(0.35 * 8), 0.01, 2.5 * 0.01 / 2, 2)] * 5
    assert sum(count for count, *_ in validation) == round(0.70 * 20)
    assert {(eps, step) for _, eps, step, _ in validation} == {(0.03, 2.5 * 0.03 / 2)}


def test_the_loss_weighs_clean_and_adversarial_as_printed() -> None:
    model = tiny_model().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    settings = SETTINGS.model_copy(update={"epochs": 100})
    together = Together(model, Team())
    epoch = epoch_module.Epoch(together, optimizer, None, settings, 50, 1.0, 0, torch.device("cpu"))
    clean, labels = images(6, 0).batch(range(6))
    adversarial = clean[:2].flip(-1)
    clean_loss, adversarial_loss, _ = epoch._step(clean, adversarial, labels, None).tolist()
    by_hand = nn.functional.cross_entropy(model(clean), labels).item()
    assert clean_loss == pytest.approx(by_hand)
    gradient = model[5].bias.grad.clone()
    model.zero_grad()
    mixed = 0.5 * nn.functional.cross_entropy(model(clean), labels)
    mixed = mixed + 0.5 * nn.functional.cross_entropy(model(adversarial), labels[:2])
    mixed.backward()
    assert torch.allclose(gradient, model[5].bias.grad, atol=1e-6)
    assert adversarial_loss == pytest.approx(
        nn.functional.cross_entropy(model(adversarial), labels[:2]).item()
    )


def test_easing_after_two_epochs_well_below_the_best() -> None:
    state = TrainingState(best_score=0.9)
    trainer.ease_if_degraded(state, 0.87, SETTINGS)
    assert (state.ease, state.below) == (1.0, 1)
    trainer.ease_if_degraded(state, 0.89, SETTINGS)  # within the tolerance of 0.02: the count starts over
    assert state.below == 0
    for _ in range(2):
        trainer.ease_if_degraded(state, 0.8, SETTINGS)
    assert (state.ease, state.below) == (0.8, 0)


def test_class_weights_give_each_class_the_same_total() -> None:
    labels = np.array([0, 1, 1, 1])
    weights = epoch_module.class_weights(labels)
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("settings", [CLEAN, SETTINGS], ids=["clean", "adversarial"])
def test_class_weights_want_an_image_of_every_class(
    missing: int, settings: TrainingSettings, tmp_path: Path
) -> None:
    """Without the last class there are fewer weights than logits; without another, one would be infinite."""
    every = images(40, 0)
    others = ImageSet(every.images, np.full(40, 1 - missing), every.names, every.patients)
    settings = settings.model_copy(update={"class_weights": True})
    with pytest.raises(InputError) as caught:
        train(tiny_model(), others, every, settings, seed=3, folder=tmp_path, progress=False)
    assert str(caught.value).startswith(
        f"class_weights: class {missing} (counted from 0) has no training image"
    )
    assert "leave training.class_weights out" in str(caught.value)
    assert "\n" not in str(caught.value)
    without = settings.model_copy(update={"class_weights": False})
    train(tiny_model(), others, every, without, seed=3, folder=tmp_path, progress=False)


@pytest.mark.fault(
    "the loss becomes NaN or infinite",
    "training stops in that epoch",
    says="lower training.learning_rate",
)
@pytest.mark.parametrize(
    ("settings", "what"),
    [(CLEAN, "the loss is nan in epoch 0: "), (SETTINGS, "epoch 0: the model returned NaN .*: ")],
)
def test_training_that_diverges_stops_with_the_remedy(
    tmp_path: Path, settings: TrainingSettings, what: str, says: str
) -> None:
    settings = settings.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=what + re.escape(says)):
        run(tmp_path, settings)


def test_float32_is_not_tf32_while_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        epoch_module.Epoch, "plan", lambda epoch: seen.append(torch.backends.cudnn.conv.fp32_precision) or {}
    )
    before = torch.backends.cudnn.conv.fp32_precision
    run(tmp_path, CLEAN.model_copy(update={"epochs": 1}))
    assert seen == ["ieee"]
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_weights_round_trip_and_refusals(tmp_path: Path) -> None:
    model = tiny_model()
    save_weights(tmp_path / "w.safetensors", model, epoch=4)
    other = tiny_model()
    with torch.no_grad():
        other[5].bias.fill_(9.0)
    assert load_weights(tmp_path / "w.safetensors", other) == {"epoch": 4}
    assert torch.equal(other[5].bias, model[5].bias)
    with pytest.raises(InputError, match="no weights at"):
        load_weights(tmp_path / "none.safetensors", other)
    with pytest.raises(InputError, match="weights of another model"):
        load_weights(tmp_path / "w.safetensors", nn.Linear(2, 2))
    (tmp_path / "broken.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_weights(tmp_path / "broken.safetensors", other)


def test_a_resumed_optimizer_has_the_memory_layout_of_its_parameters(tmp_path: Path) -> None:
    """PyTorch's fused Adam on a CPU pairs numbers by their place in memory: contiguous moments of a channels-last
    weight would be those of other weights (findings/fused_optimizer_cpu_layout.sh)."""
    results = []
    for resumed in (False, True):
        torch.manual_seed(0)
        model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
        for step in range(2):
            if step and resumed:
                save_checkpoint(tmp_path / "c.safetensors", model, optimizer)
                optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
                found = read_checkpoint(tmp_path / "c.safetensors")
                assert found is not None
                restore(tmp_path / "c.safetensors", found[0], model, optimizer)
                state = optimizer.state[model.weight]
                assert (
                    state["exp_avg"].stride()
                    == model.weight.stride()
                    != state["exp_avg"].contiguous().stride()
                )
            optimizer.zero_grad()
            model(images(4, step).batch(range(4))[0].repeat(1, 2, 1, 1)[:, :4]).square().mean().backward()
            optimizer.step()
        results.append(model.weight.detach().clone())
    assert torch.equal(*results)


@pytest.mark.parametrize("rule", [None, AdversarialSettings(steps=2)])
def test_validation_without_an_answer_is_not_counted(
    rule: AdversarialSettings | None, tmp_path: Path
) -> None:
    """In training BatchNorm takes the batch's statistics, so the loss does not see that those it keeps are lost."""
    model = tiny_model()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.fill_(torch.nan)
    settings = SETTINGS.model_copy(update={"adversarial": rule})
    with pytest.raises(InputError, match=r"not finite|NaN or infinite logits"):
        train(model, images(8, 0), images(8, 1), settings, seed=0, folder=tmp_path, progress=False)


def test_one_image_is_too_few_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two or more"):
        train(tiny_model(), images(1, 0), images(4, 1), SETTINGS, seed=0, folder=tmp_path, progress=False)
