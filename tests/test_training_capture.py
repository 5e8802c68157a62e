"""Training whose attack replays one recorded step is the training it was, bit for bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from golden import network, phantoms
from taped import taped

from meddef.attacks.capture import Captured, holding
from meddef.settings import AdversarialSettings, TrainingSettings
from meddef.training import inner_attack, train


def test_a_training_with_one_recording_is_the_training_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(
        epochs=2, batch_size=8, learning_rate=0.003, adversarial=AdversarialSettings(steps=9)
    )

    def trained(folder: str) -> tuple[list[object], dict[str, torch.Tensor]]:
        model = network()
        state = train(
            model, phantoms(24), phantoms(16, 40), settings, seed=1, folder=tmp_path / folder, progress=False
        )
        return [*state.history], model.state_dict()

    history, weights = trained("plain")
    captured = Captured(taped)

    @contextmanager
    def instead(device: object, steps: int | None = None) -> Iterator[Captured]:
        with holding(captured):
            yield captured

    monkeypatch.setattr(inner_attack, "climbing", instead)
    again, same = trained("taped")
    assert again == history
    assert all(torch.equal(same[name], weights[name]) for name in weights)
    sizes = [key[0] for key in captured.steps]  # type: ignore[index]
    assert sorted(sizes) == [3, 11]  # attacked of a training batch of 8, and of the 16 validation images
