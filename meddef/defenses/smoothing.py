"""Randomized smoothing (Cohen, Rosenfeld and Kolter 2019, https://arxiv.org/abs/1902.02918).

The smoothed classifier predicts the most frequent prediction on the image plus Gaussian noise.
The prediction holds within an L2 radius, which ``certify`` bounds from below. The classifier must be trained with that
noise (augmentation "noise_12" or "noise_25" of ``meddef.training``); otherwise it mostly abstains. Noisy images are
clipped to [0, 1], here and in training; for the proof the clipping is a first layer of the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import bdtrc, betaincinv
from torch import Tensor, nn

from meddef.attacks import contract
from meddef.attacks.randomness import Randomness, randomness
from meddef.defenses.base import Defended, check_pixels
from meddef.errors import InputError
from meddef.module_state import evaluating

ABSTAIN = -1
"""Prediction of a certificate where no class is significantly the most frequent."""
_AT_ONCE = 8  # noisy copies of each image per forward pass; the noise depends on it


class Smoothed(Defended):
    """The majority vote over ``samples`` draws of noise: minus the share of votes for other classes (N, K).

    The naive attacker has the gradient of one draw, the adaptive one that of the mean probability over ``draws`` (EOT;
    Salman et al. 2019, https://arxiv.org/abs/1906.04584); neither sees the noise of the vote. Noise is derived from the
    image and the seed (``meddef.attacks.randomness``) and changes with every step of an attack.

    Raises:
        InputError: ``sigma`` is not positive, ``samples`` or ``draws`` not a whole number of at least 1.
    """

    def __init__(
        self, classifier: nn.Module, *, sigma: float = 0.25, samples: int = 100, draws: int = 8, seed: int = 0
    ) -> None:
        super().__init__(classifier)
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma}")
        contract.check_at_least(samples, 1, "samples")
        contract.check_at_least(draws, 1, "draws")
        self.sigma, self.samples, self.draws, self.seed = sigma, samples, draws, seed

    def forward(self, images: Tensor) -> Tensor:
        return self.votes(images, self.samples, "vote").to(images.dtype) / self.samples - 1

    def noisy(self, images: Tensor, numbers: Randomness, draws: int) -> Tensor:
        """``draws`` noisy copies of each image, (N draws, C, H, W) in [0, 1], those of an image together."""
        check_pixels(images)
        noise = numbers.normal(draws, *images.shape[1:]).to(images)
        return (images[:, None] + self.sigma * noise).clamp(0, 1).flatten(0, 1)

    def naive(self) -> nn.Module:
        return _MeanOverDraws(self, 1)

    def adaptive(self) -> nn.Module:
        return _MeanOverDraws(self, self.draws)

    @torch.no_grad()
    def votes(self, images: Tensor, samples: int, stream: str) -> Tensor:
        """Votes of ``samples`` noisy copies of each image (N, C, H, W) per class, int64 (N, K)."""
        counts: Tensor | None = None
        numbers = randomness(images, None, self.seed, f"smoothing {stream}")
        for first in range(0, samples, _AT_ONCE):
            drawn = min(_AT_ONCE, samples - first)
            noisy = self.noisy(images, numbers, drawn)
            logits = contract.check_output(self.classifier(noisy), len(noisy))
            contract.check_finite(logits)
            one_hot = nn.functional.one_hot(logits.argmax(1), logits.shape[1])
            found = one_hot.view(len(images), drawn, -1).sum(1)
            counts = found if counts is None else counts + found
        assert counts is not None
        return counts

    def predict(self, images: Tensor, *, alpha: float = 0.001) -> Tensor:
        """PREDICT: the class of the vote, int64 (N,), or ``ABSTAIN`` where the two leading classes are too close to
        decide with probability 1 - ``alpha`` (two-sided binomial test)."""
        with evaluating(self):
            votes = self.votes(images, self.samples, "predict")
        first, second = votes.topk(2, 1).values.T.cpu().numpy()
        sure = torch.from_numpy(2 * bdtrc(first - 1, first + second, 0.5) <= alpha)
        return torch.where(sure.to(votes.device), votes.argmax(1), ABSTAIN)

    def certify(
        self, images: Tensor, *, chosen_from: int = 100, samples: int = 1000, alpha: float = 0.001
    ) -> Certificates:
        """CERTIFY: class and L2 radius that hold with probability 1 - ``alpha`` per image.

        Args:
            images: (N, C, H, W) in [0, 1].
            chosen_from: draws from which the class is chosen (n0 of the paper).
            samples: further draws, which bound its probability from below (n; the paper uses 100,000). With n draws no
                radius is larger than sigma times the normal quantile of alpha^(1/n).
            alpha: probability of a certificate that is wrong, in (0, 1).

        Raises:
            InputError: ``alpha`` out of range, ``chosen_from`` or ``samples`` below 1, invalid images or outputs.
        """
        contract.check_at_least(chosen_from, 1, "chosen_from")
        contract.check_at_least(samples, 1, "samples")
        if not 0 < alpha < 1:
            raise InputError(f"alpha must lie in (0, 1), got {alpha}")
        contract.check_range(images)
        with evaluating(self):
            guessed = self.votes(images, chosen_from, "choose").argmax(1)
            counts = self.votes(images, samples, "certify").gather(1, guessed[:, None])[:, 0]
        least = lower_bound(counts.cpu(), samples, alpha)
        sure = least > 0.5
        radius = torch.where(sure, self.sigma * torch.special.ndtri(least.clamp(min=0.5)), 0.0)
        return Certificates(torch.where(sure, guessed.cpu(), ABSTAIN), radius)


@dataclass(frozen=True)
class Certificates:
    """Of N images: ``classes`` int64 (N,), ``ABSTAIN`` where none, and ``radius`` float64 (N,), L2 in pixel units."""

    classes: Tensor
    radius: Tensor

    def right(self, labels: Tensor, radius: float) -> Tensor:
        """Which images are certified correct at ``radius``, bool (N,)."""
        return (self.classes == labels.cpu()) & (self.radius >= radius)


def lower_bound(hits: Tensor, n: int, alpha: float) -> Tensor:
    """One-sided Clopper-Pearson bound, float64 (N,), of a share from ``hits`` (N,) of ``n``: the true share lies below
    it with probability at most ``alpha``."""
    some = hits.double().clamp(min=1).numpy()
    return torch.where(hits > 0, torch.from_numpy(betaincinv(some, n - some + 1, alpha)), 0.0)


class _MeanOverDraws(nn.Module):
    """log of the mean probability over draws of noise, (N, K): its cross-entropy is that of the smoothed prediction."""

    def __init__(self, smoothed: Smoothed, draws: int) -> None:
        super().__init__()
        self.smoothed, self.draws = smoothed, draws
        self.training = smoothed.training

    def forward(self, images: Tensor) -> Tensor:
        numbers = randomness(images, None, self.smoothed.seed, "smoothing attacker")
        noisy = self.smoothed.noisy(images, numbers, self.draws)
        logits = self.smoothed.classifier(noisy).log_softmax(1).view(len(images), self.draws, -1)
        return logits.logsumexp(1) - torch.tensor(self.draws).to(logits).log()
