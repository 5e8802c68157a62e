"""Fast-AT: PGD-AT whose attack is one step of 1.25 epsilon from a uniformly random start (Wong et al. 2020, section 4).

Source: "Fast is better than free: Revisiting adversarial training", https://arxiv.org/abs/2001.03994, algorithm 3.
Without the random start the step is epsilon, FGSM (Goodfellow et al. 2015): at a large epsilon this ends in
"catastrophic overfitting", a model robust to FGSM only.
"""

from __future__ import annotations

from meddef.training.inner_attack import Search
from meddef.training.madry import Madry

STEP = 1.25  # in epsilon; the projection makes it epsilon where there is no random start


class Fast(Madry):
    def search(self) -> Search:
        eps = self.epsilon
        return Search(eps, STEP * eps, 1, "uniform" if self.rule.random_start else "image")
