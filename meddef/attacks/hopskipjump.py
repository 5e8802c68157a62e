"""HopSkipJump (Chen, Jordan & Wainwright 2020, https://arxiv.org/abs/1904.02144): it sees the model's answers alone."""

import math
from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks import contract
from meddef.attacks.any_model import for_anyone
from meddef.attacks.balls import NORMS, norm_ball
from meddef.attacks.loop import finish
from meddef.attacks.queries import ask
from meddef.attacks.randomness import Randomness, randomness
from meddef.caller_warnings import warn

FIRST_DRAWS = (
    100  # of the gradient's estimate; it grows with the square root of the iteration (their Algorithm 2)
)
STARTS = 50  # noise images that are tried as a start
HALVINGS = 20  # of a step that leaves the wrong side
FINEST = 2.0**-16  # mean change of a pixel in the estimate, at least: a smaller one is lost in rounding


class NoStartWarning(UserWarning):
    """For some images nothing that was tried as a start fools the model: the attack could not begin."""


@for_anyone
def hopskipjump(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    queries: int = 5000,
    norm: str = "linf",
    generator: torch.Generator | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Walk along the model's boundary towards the image, with gradients estimated from answers (their Algorithm 2).

    From an image of any other answer: bisect to the boundary, estimate its direction from the answers to small random
    changes, take the largest of halved steps that stays on the wrong side, and so on. Neither gradients nor confidences
    are used, so that masking them does not help a model.

    Args:
        model: takes (N, C, H, W) in [0, 1], returns logits (N, K), of which only the largest counts; left unchanged.
        images: (N, C, H, W), floating point, in [0, 1]; dtype, device and memory format are kept.
        labels: (N,), the true classes.
        eps: radius in pixel units (``norm="l2"``: length of the perturbation), one number or a tensor (N,). An image is
            dropped once an adversarial example within eps is found.
        queries: maximum forward passes per image. The authors take up to 25,000; below 1,000 little is found.
        norm: "linf" or "l2", in which the walk gets nearer.
        generator: generator of all random numbers of a batch; None derives them from (seed, image).
        seed: see ``meddef.attacks.randomness``.
        progress: called with (most queries spent on an image, queries).

    Returns:
        Images within ``eps`` and [0, 1] exactly, an adversarial example or, where none was found within eps, the
        projection of the nearest; the image itself where the attack could not begin.

    Raises:
        InputError: invalid input, NaN or infinite logits. Images without a start are counted in a ``NoStartWarning``.

    >>> attacked = hopskipjump(model, images, labels, eps=8 / 255, queries=2000)  # doctest: +SKIP
    """
    labels = contract.check_batch(model, images, labels)
    contract.check_choice(norm, NORMS, "norm")
    contract.check_at_least(queries, 1, "queries")
    radius = contract.per_image(eps, images, "eps", most=1.0 if norm == "linf" else float("inf"))
    if not radius.any():
        return images.detach().clone()
    starts, numbers = (randomness(images, generator, seed, f"hopskipjump{part}") for part in (" starts", ""))
    with contract.attacking(model, images.device), torch.no_grad():
        walk = _Walk(model, images.detach().clone(), labels, radius.flatten(), norm, queries, numbers)
        walk.begin(starts)
        for iteration in count():
            if progress is not None:
                progress(int(walk.spent.max()) if len(images) else queries, queries)
            if not walk.step(iteration):
                break
        if stuck := int((walk.distance.isinf() & (radius.flatten() > 0)).sum()):
            warn(
                f"nothing that was tried as a start fools the model for {stuck} of {len(images)} images: the attack "
                "could not begin, so their survival is no evidence of robustness; give more queries, or use square",
                NoStartWarning,
            )
        ball = norm_ball(norm, walk.images, radius)
        inside = (walk.distance <= radius.flatten()).view_as(radius)
        return torch.empty_like(images).copy_(finish(ball, torch.where(inside, walk.x, ball.project(walk.x))))


class _Walk:
    """``x`` fools the model at a ``distance`` (N,) from the image, infinite where nothing does; ``spent`` queries."""

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        eps: Tensor,
        norm: str,
        queries: int,
        numbers: Randomness,
    ) -> None:
        self.model, self.images, self.labels, self.eps = model, images, labels, eps
        self.norm, self.queries = norm, queries
        self.numbers, self.place = numbers, torch.arange(len(images), device=images.device)
        self.features = images[:1].numel()
        self.wide = (-1, *[1] * (images.ndim - 1))
        self.x, self.spent = images.clone(), torch.zeros_like(labels)
        self.distance = torch.full_like(eps, torch.inf)
        if len(images):
            logits = contract.check_logits(ask(model, images, first=True), labels)
            self.distance[logits.argmax(1) != labels] = 0
            self.spent += 1

    def fooled(self, x: Tensor, who: Tensor) -> Tensor:
        """The model's verdict on versions x (m, ...) of the images at ``who`` (m,)."""
        self.spent[who] += 1
        return contract.check_logits(ask(self.model, x), self.labels[who]).argmax(1) != self.labels[who]

    def begin(self, numbers: Randomness) -> None:
        """Take the first of some images without content that fools the model."""
        for tried in _starts(self.images, numbers):
            who = (self.distance.isinf() & (self.spent < self.queries)).nonzero()[:, 0]
            if not len(who):
                return
            there = who[self.fooled(tried[who], who)]
            self._put(tried[there], there)

    def step(self, iteration: int) -> bool:
        """Bisect, estimate, move; whether any image is still under way."""
        self._bisect()
        draws = round(FIRST_DRAWS * math.sqrt(iteration + 1))
        (who,) = self._afford(draws + 1, self._under_way())
        self.numbers, self.place = self.numbers.select(torch.isin(self.place, who)), who
        if not len(who):
            return False
        update, size = (
            self._direction(draws, first=iteration == 0),
            self.distance[who] / math.sqrt(iteration + 1),
        )
        for _ in range(HALVINGS):
            who, update, size = self._afford(1, who, update, size)
            if not len(who):
                break
            x = (self.x[who] + size.view(self.wide).to(update.dtype) * update).clamp(0, 1)
            fooled = self.fooled(x, who)
            self._put(x[fooled], who[fooled])
            who, update, size = who[~fooled], update[~fooled], size[~fooled] / 2
        return True

    def _bisect(self) -> None:
        """Bring x to the boundary, on the line to the image, until it is known to 1 / sqrt(d) of a random change."""
        (who,) = self._afford(1, self._under_way())
        low, high = torch.zeros_like(self.eps[who]), torch.ones_like(self.eps[who])
        start, far = self.x.clone(), self.distance.clone()
        for _ in range(min(math.ceil(1.5 * math.log2(max(self.features, 2))), 24)):
            who, low, high = self._afford(1, who, low, high)
            if not len(who):
                break
            middle = (low + high) / 2
            x = self._between(start, far, who, middle)
            fooled = self.fooled(x, who)
            low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
            self._put(x[fooled], who[fooled])

    def _between(self, start: Tensor, far: Tensor, who: Tensor, share: Tensor) -> Tensor:
        """From the images (share 0) to ``start`` (1), which is ``far`` away in the norm."""
        image, x, share = self.images[who], start[who], share.view(self.wide)
        if self.norm == "l2":
            return (image + share.to(x.dtype) * (x - image)).clamp(0, 1)
        most = (share * far[who].view(self.wide)).to(x.dtype)
        return torch.minimum(torch.maximum(x, image - most), image + most).clamp(0, 1)

    def _direction(self, draws: int, *, first: bool) -> Tensor:
        """Where the wrong side lies, from the answers to ``draws`` small changes (their equations 12 and 16)."""
        x, axes = self.x[self.place], self.wide
        least = FINEST * math.sqrt(self.features)
        delta = (self.distance[self.place] / self.features).clamp(min=0.1 if first else least)
        delta = delta.view(axes).to(x.dtype)
        answers, along, drift = torch.zeros_like(delta), torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(draws):
            if self.norm == "l2":
                drawn = self.numbers.normal(*x.shape[1:])
            else:
                drawn = 2 * self.numbers.uniform(*x.shape[1:]) - 1
            drawn = (drawn / drawn.flatten(1).norm(dim=1).clamp(min=1e-12).view(axes)).to(x)
            tried = (x + delta * drawn).clamp(0, 1)
            drawn = (tried - x) / delta
            answer = torch.where(self.fooled(tried, self.place), 1.0, -1.0).view(axes).to(x.dtype)
            answers, along, drift = answers + answer, along + answer * drawn, drift + drawn
        mean = answers / draws
        gradient = along - torch.where(mean.abs() == 1, 0, mean) * drift
        if self.norm == "linf":
            return gradient.sign()
        return gradient / gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view(axes)

    def _under_way(self) -> Tensor:
        """The images, by place, that have an example, but none within eps."""
        return ((self.distance > self.eps) & (self.eps > 0) & ~self.distance.isinf()).nonzero()[:, 0]

    def _afford(self, cost: int, who: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Those that may spend ``cost`` more queries."""
        able = self.spent[who] + cost <= self.queries
        return (who[able], *(other[able] for other in others))

    def _put(self, x: Tensor, who: Tensor) -> None:
        self.x[who], self.distance[who] = x, self._length(x - self.images[who])

    def _length(self, change: Tensor) -> Tensor:
        order = 2 if self.norm == "l2" else torch.inf
        return torch.linalg.vector_norm(change.double().flatten(1), order, dim=1)


def _starts(images: Tensor, numbers: Randomness) -> Iterator[Tensor]:
    """Images (N, C, H, W) that show nothing: noise, fine and coarse in turns, even ones, the negative."""
    for tried in range(STARTS):
        if tried % 2 and images.ndim == 4:
            channels, *size = images.shape[1:]
            yield F.interpolate(numbers.uniform(channels, 3, 3).to(images), size)
        else:
            yield numbers.uniform(*images.shape[1:]).to(images)
        if tried == 1:
            yield 1 - images
            for level in (0.0, 1.0, 0.5):
                yield torch.full_like(images, level)
