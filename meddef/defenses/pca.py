"""Feature transform and PCA (Vasan and Hammoudeh 2024, https://doi.org/10.1016/j.cobme.2024.100561).

Known are the abstract and the MedDef paper's Table 5: a network fine-tuned on the original images gives features; PCA
reduces them; a classifier (XGBoost) is trained on those of original and attacked images.

Choices made here: features are the input of the network's last linear layer (any network of this
package, in place of ResNet152V2); ``components`` of PCA (64 at most); attacked images are made on the network by PGD
with ten steps at ``eps``; and the classifier is logistic regression, since gradient-boosted trees have no gradient for
an adaptive attack to follow. The naive attacker has no gradient either, as with trees.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddef.attacks.contract import check_at_least
from meddef.attacks.gradient import pgd
from meddef.attacks.reach import step_size
from meddef.defenses.base import Defended
from meddef.errors import InputError
from meddef.module_state import evaluating

STEPS = 10
DECAY = 1e-3  # weight of the squared norm of the head's weights
_BATCH = 32


class PcaFeatures(Defended):
    """Logistic regression on principal components of a network's features; its gradient is exact.

    Args:
        classifier: a network with a final linear layer; unchanged.
        images, labels: (N, C, H, W) in [0, 1] and (N,), of the training images.
        components: principal components that are kept; fewer where features or images are fewer.
        eps: radius of the attacked images in training, in pixel units; 0 trains on original ones alone.
        seed: of the attack's random starts.

    Raises:
        InputError: no linear layer, or invalid images and labels.
    """

    mean: Tensor
    basis: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        *,
        images: Tensor,
        labels: Tensor,
        components: int = 64,
        eps: float = 8 / 255,
        seed: int = 0,
    ) -> None:
        super().__init__(classifier)
        check_at_least(components, 1, "components")
        linear = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise InputError("PCA of features needs a classifier whose last layer is nn.Linear")
        self._last = (linear[-1],)  # not a submodule twice
        parts = [
            self._features_of(x, y, eps, seed)
            for x, y in zip(images.split(_BATCH), labels.split(_BATCH), strict=True)
        ]
        features = torch.cat([part[0] for part in parts] + [part[1] for part in parts if eps > 0])
        self.register_buffer("mean", features.mean(0))
        centred = (features - self.mean).double()
        basis = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[
            :, : min(components, len(features))
        ]
        self.register_buffer("basis", basis.to(features))
        self.head = _logistic((features - self.mean) @ self.basis, labels.repeat(2 if eps > 0 else 1))
        self.head.training = self.training

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head((self._features(images) - self.mean) @ self.basis)
        return logits

    def _features(self, images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = self._last[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self.classifier(images)
        finally:
            hook.remove()
        return seen[-1].flatten(1)

    def _features_of(self, images: Tensor, labels: Tensor, eps: float, seed: int) -> tuple[Tensor, Tensor]:
        """Of the original and of the attacked images, (N, D) each."""
        found = images
        if eps > 0:
            size = step_size(eps, STEPS)
            found = pgd(self.classifier, images, labels, eps=eps, step_size=size, steps=STEPS, seed=seed)
        with torch.no_grad(), evaluating(self.classifier):
            return self._features(images), self._features(found)


def _logistic(features: Tensor, labels: Tensor) -> nn.Linear:
    """Softmax regression (N, D) -> (N, K) with a small penalty, by L-BFGS from zero, deterministic."""
    head = nn.utils.skip_init(nn.Linear, features.shape[1], int(labels.max()) + 1).to(features)
    scale = features.std().clamp(min=1e-6)  # so that one penalty and step size suit every network
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(head(features / scale), labels) + DECAY * head.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():
        head.weight.div_(scale)
    return head.requires_grad_(False)
