"""When the host checks the results of an attack's steps.

On a CPU it checks every step, at no cost. On a GPU each check waits for the device and leaves it idle until the next
launch, so the host checks every few steps; meanwhile results are noted on the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from meddef.attacks import contract
from meddef.errors import InputError

EVERY = 4
"""Steps between checks on a GPU: a successful example is kept for two steps on average."""


class Looks:
    """For images on ``device``; ``every`` is for tests."""

    def __init__(self, device: torch.device, every: int | None = None) -> None:
        self.every = every or (1 if device.type == "cpu" else EVERY)
        self._noted: list[tuple[Tensor, Callable[[Tensor], InputError]]] = []

    def due(self, step: int) -> bool:
        """Whether to check after ``step``, counted from 0."""
        return (step + 1) % self.every == 0

    def logits(self, logits: Tensor) -> None:
        """Note which logits (N, K) are finite."""
        self._note(logits, contract.check_finite, contract.bad_logits)

    def gradient(self, gradient: Tensor) -> None:
        """Note which input gradients (N, ...) are finite."""
        self._note(gradient, contract.check_gradient, contract.bad_gradient)

    def _note(
        self, x: Tensor, check: Callable[[Tensor], None], refusal: Callable[[Tensor], InputError]
    ) -> None:
        if self.every == 1:
            check(x)
        else:
            largest = torch.linalg.vector_norm(x.detach(), torch.inf, dim=tuple(range(1, x.ndim)))
            self._noted.append((largest < torch.inf, refusal))

    def look(self) -> None:
        """Refuse faults noted since the last check.

        Raises:
            InputError: something was not finite; of several the earliest.
        """
        noted, self._noted = self._noted, []
        if noted:
            fine = torch.stack([finite.all() for finite, _ in noted]).tolist()
            if not all(fine):
                finite, refusal = noted[fine.index(False)]
                raise refusal(finite)
