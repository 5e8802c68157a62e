"""PGD-AT: minimises the cross-entropy of PGD examples (Madry et al. 2018, equation 2.1).

Source: "Towards Deep Learning Models Resistant to Adversarial Attacks", https://arxiv.org/abs/1706.06083. Clean images
are not used. As in TRADES' public code, and unlike the authors', PGD attacks the model in evaluation mode. With ten
steps at 8/255 the step size is 2/255, the authors' own on CIFAR-10, where they use seven steps.
"""

from __future__ import annotations

from torch import Tensor

from meddef.training.objective import Passed, Rival


class Madry(Rival):
    learns_clean = False

    def loss(self, passed: Passed) -> tuple[Tensor, Tensor, Tensor]:
        loss = passed.cross_entropy(passed.adversarial, passed.attacked)
        return loss, loss.new_zeros(()), loss
