"""Bit-depth reduction (Xu, Evans and Qi 2018, "Feature squeezing", https://arxiv.org/abs/1704.01155)."""

from __future__ import annotations

from torch import Tensor, nn

from meddef.attacks.contract import check_at_least
from meddef.defenses.base import Preprocessed


class BitDepth(Preprocessed):
    """Pixels rounded to 2^bits evenly spaced values in [0, 1]; rounding has a gradient of zero.

    Raises:
        InputError: ``bits`` is not a whole number of at least 1.
    """

    def __init__(self, classifier: nn.Module, *, bits: int = 4) -> None:
        super().__init__(classifier)
        check_at_least(bits, 1, "bits")
        self.levels = 2**bits - 1

    def transform(self, images: Tensor) -> Tensor:
        return (images * self.levels).round() / self.levels
