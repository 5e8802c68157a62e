"""Interpretation of the notes of recorded steps, with the messages of the plain loop."""

from __future__ import annotations

import torch
from torch import Tensor

from meddef.attacks import contract
from meddef.attacks.recorded import State


class Verdicts:
    """Of one call with ``count`` images."""

    def __init__(self, count: int) -> None:
        self.zero = torch.zeros(count, dtype=torch.bool)
        self.moved = torch.zeros(count, dtype=torch.bool)

    def hear(self, state: State, place: Tensor, there: Tensor | None = None) -> None:
        """Take in the notes on the images at ``place`` (m,) of the call, those that are still ``there`` (m,).

        Raises:
            InputError: logits or an input gradient that are not finite, the earliest first; it names the first image.
        """
        m = len(place)
        self.zero[place] |= state.zero[:m]
        self.moved[place] |= state.taken[:m] > 0
        fault = state.fault[:m] if there is None else state.fault[:m][there]
        if not len(fault) or int(first := fault.min()) == torch.iinfo(fault.dtype).max:
            return
        who = place if there is None else place[there]
        good = torch.ones_like(self.zero)
        good[who[fault == first]] = False
        if int(first) % 2:
            raise contract.bad_gradient(good)
        raise contract.bad_logits(good)

    def warn(self) -> None:
        """``ZeroGradientWarning`` for images whose first gradient is zero, of those that took a step."""
        contract.warn_of_zeros(int(self.zero.sum()), int(self.moved.sum()))
