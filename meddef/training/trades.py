"""TRADES: clean cross-entropy plus beta times the worst-case divergence of the predictions (Zhang et al. 2019).

Source: "Theoretically Principled Trade-off between Robustness and Accuracy", https://arxiv.org/abs/1901.08573, equation
5 and algorithm 1; https://github.com/yaodongyu/TRADES, ``trades.py``. The attack starts at the image plus 0.001 times
normal noise and ascends KL(p(x) || p(x')), which is also minimised in training, with gradients through both terms.
Unlike there, clean and attacked images pass through the model together, so that BatchNorm sees both at once, as in the
paper's recipe; class weights apply to the cross-entropy only. Near the image the divergence is so small that rounding
decides the sign of some pixels: with several processes, training curves differ more than for other methods.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from meddef.settings import TrainingSettings
from meddef.training.inner_attack import Search
from meddef.training.objective import Passed, Rival


class Trades(Rival):
    def __init__(self, settings: TrainingSettings, number: int, ease: float) -> None:
        super().__init__(settings, number, ease)
        self.weight = self.rule.beta

    def search(self) -> Search:
        return replace(super().search(), start="normal", divergence=True)

    def loss(self, passed: Passed) -> tuple[Tensor, Tensor, Tensor]:
        clean = passed.cross_entropy(passed.clean, len(passed.labels))
        there, here = (F.log_softmax(logits, 1) for logits in (passed.adversarial, passed.clean))
        divergence = F.kl_div(there, here, reduction="sum", log_target=True) / len(passed.labels)
        return clean + self.weight * divergence, clean, divergence
