"""The paper's recipe, Sections III-B "Adversarial Training" and IV-B: 35 % of each batch, a schedule of epsilon.

The first 35 % of the (shuffled) images of every batch are also attacked with PGD; clean and adversarial images pass
through the model together and the loss is (1 - w) * clean + w * adversarial, with epsilon and w from the schedule.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from meddef.settings import TrainingSettings
from meddef.training.inner_attack import Search
from meddef.training.objective import Objective, Passed
from meddef.training.schedule import schedule_of


class Recipe(Objective):
    def __init__(self, settings: TrainingSettings, number: int, ease: float) -> None:
        super().__init__(settings, number, ease)
        assert settings.adversarial is not None
        self.rule = settings.adversarial
        self.schedule = schedule_of(self.rule, settings.epochs, ease)

    def plan(self) -> dict[str, Any]:
        return {name: getattr(self.schedule, name)(self.number) for name in super().plan()}

    def attacked(self, count: int) -> int:
        return max(1, round(self.rule.train_share * count))

    def search(self) -> Search:
        eps, step_size = self.schedule.epsilon(self.number), self.schedule.step_size(self.number)
        return Search(eps, step_size, self.rule.steps)

    def loss(self, passed: Passed) -> tuple[Tensor, Tensor, Tensor]:
        clean = passed.cross_entropy(passed.clean, len(passed.labels))
        adversarial = passed.cross_entropy(passed.adversarial, passed.attacked)
        weight = self.schedule.adversarial_weight(self.number)
        return (1 - weight) * clean + weight * adversarial, clean, adversarial
