"""A schedule of ε of the profile's own: by hand, in training, and where it is refused."""

from pathlib import Path
from typing import Any

import pytest
from test_training_frozen import images, network

from meddef.settings import AdversarialSettings, Phase, TrainingSettings, load_profile
from meddef.training import train
from meddef.training.schedule import EpsilonSchedule, OwnSchedule, schedule_of

PROFILE = """
name: mine
description: a test
image_size: 32
datasets: [{name: phantom_xray}]
variants: [full]
training:
  epochs: 6
  adversarial:
    steps: 5
    schedule:
      - {epochs: 4, epsilon: [1/255, 4/255], weight: [0.2, 0.5]}
      - {epochs: 2, epsilon: 8/255}
grids: {}
"""


def test_the_phases_of_a_profile_are_followed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(PROFILE)
    rule = load_profile(str(tmp_path / "mine.yaml")).training.adversarial
    assert rule is not None
    assert rule.name == "adversarial"
    schedule = schedule_of(rule, 6)
    assert [255 * schedule.epsilon(epoch) for epoch in range(6)] == pytest.approx([1, 2, 3, 4, 8, 8])
    assert [schedule.adversarial_weight(epoch) for epoch in range(6)] == pytest.approx(
        [0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
    )
    assert [schedule.phase(epoch)[-1] for epoch in range(6)] == list("111122")
    assert schedule.step_size(5) == pytest.approx(2.5 * 8 / 255 / 5)  # reaches from a random start
    assert schedule_of(rule, 6, ease=0.5).epsilon(5) == pytest.approx(4 / 255)


def test_a_run_of_other_length_stretches_it() -> None:
    phases = (Phase(epochs=3, epsilon=[0.01, 0.03]), Phase(epochs=1, epsilon=0.05))
    short, long = OwnSchedule(phases, epochs=2), OwnSchedule(phases, epochs=8)
    assert [short.epsilon(epoch) for epoch in range(2)] == pytest.approx([0.01, 0.03])
    steps = [0.01, 0.015, 0.02, 0.025, 0.03, 0.03, 0.05, 0.05]
    assert [long.epsilon(epoch) for epoch in range(8)] == pytest.approx(steps)
    with pytest.raises(ValueError, match="epoch 2 lies outside"):
        short.epsilon(2)


def test_settings_without_a_schedule_are_written_as_before() -> None:
    plain = AdversarialSettings()
    assert "schedule" not in plain.model_dump()
    assert isinstance(schedule_of(plain, 10), EpsilonSchedule)
    own = AdversarialSettings(schedule=[Phase(epochs=2, epsilon=0.02)])
    assert AdversarialSettings.model_validate(own.model_dump()) == own
    assert own.model_dump() != plain.model_dump()


@pytest.mark.parametrize("method", ["meddef", "madry", "fast", "trades"])
def test_training_follows_it(method: str, tmp_path: Path) -> None:
    schedule = [Phase(epochs=1, epsilon=0.01), Phase(epochs=1, epsilon=0.02)]
    rule = AdversarialSettings.model_validate({"method": method, "steps": 2, "schedule": schedule})
    settings = TrainingSettings(epochs=2, batch_size=8, adversarial=rule)
    state = train(network(), images(8), images(8), settings, seed=0, folder=tmp_path, progress=False)
    assert [row["epsilon"] for row in state.history] == [0.01, 0.02]
    assert [row["phase"] for row in state.history] == ["phase 1", "phase 2"]
    step = [1.25 * 0.01, 1.25 * 0.02] if method == "fast" else [2.5 * 0.01 / 2, 2.5 * 0.02 / 2]
    assert [row["step_size"] for row in state.history] == pytest.approx(step)
    assert rule.name == ("adversarial" if method == "meddef" else f"{method} schedule=1x0.01+1x0.02")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": []}, "schedule has no phase"),
        ({"schedule": [{"epochs": 1, "epsilon": 0}]}, "greater than 0"),
        ({"schedule": [{"epochs": 1, "epsilon": [0.1]}]}, "at least 2 items"),
        ({"schedule": [{"epochs": 1, "epsilon": 0.1, "weigth": 1}]}, "weigth"),
        (
            {"method": "madry", "schedule": [{"epochs": 1, "epsilon": 0.1, "weight": 0.5}]},
            "madry has no weight",
        ),
        (
            {"method": "trades", "epsilon": 0.1, "schedule": [{"epochs": 1, "epsilon": 0.1}]},
            "leave the single epsilon",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarialSettings.model_validate(given)
