#!/usr/bin/env bash
# Captum's FGSM and PGD improve the accuracy of a model that returns log-probabilities.
#
# Expected: an attack with its default loss lowers accuracy, whatever the last layer is, or refuses.
# Observed: the default loss is the negative logarithm of what the model returns for the true class. Log-probabilities are
#           negative, so that loss is NaN, but its gradient is not: it has the sign of the output, and the attack goes the wrong
#           way. Robust accuracy exceeds clean accuracy. With probabilities it is correct. No error is raised.
# Version:  captum 0.9.0 with torch 2.15.0 (captum/robust/_core/fgsm.py)
# Source:   seen with the model below
# Affects:  users who attack a model that ends in log_softmax (trained with NLLLoss) and overestimate its robustness.
# Remedy:   loss_func=lambda output, target: torch.nn.functional.nll_loss(output, target, reduction="none")
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 captum==0.9.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from captum.robust import FGSM, PGD
from torch import nn
from torch.nn.functional import cross_entropy, nll_loss

print("captum", version("captum"), "torch", torch.__version__)
torch.manual_seed(0)
labels = torch.arange(600) % 2
images = (torch.rand(600, 1, 12, 12) * 0.4 + 0.3 + (labels * 2 - 1)[:, None, None, None] * 0.03).clamp(0, 1)
net = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(100):
    optimizer.zero_grad()
    cross_entropy(net(images), labels).backward()
    optimizer.step()


def accuracy(x):
    return (net(x).argmax(1) == labels).double().mean().item()


clean, eps = accuracy(images), 2 / 255
print(f"without attack {clean:.3f}")
right = {"loss_func": lambda output, target: nll_loss(output, target, reduction="none")}
kinds = {
    "probabilities, default loss": (lambda x: net(x).softmax(1), {}),
    "log-probabilities, default loss": (lambda x: net(x).log_softmax(1), {}),
    "log-probabilities, nll_loss": (lambda x: net(x).log_softmax(1), right),
}
left = {}
for name, (model, settings) in kinds.items():
    fgsm = FGSM(model, lower_bound=0, upper_bound=1, **settings).perturb(images, eps, labels)
    pgd = PGD(model, lower_bound=0, upper_bound=1, **settings).perturb(images, eps, eps / 4, 10, labels)
    left[name] = accuracy(fgsm), accuracy(pgd)
    print(f"{name:32} left by FGSM {left[name][0]:.3f}, by PGD {left[name][1]:.3f}")
assert min(left["log-probabilities, default loss"]) > clean, "the behaviour has changed"
assert max(left["probabilities, default loss"] + left["log-probabilities, nll_loss"]) < clean
PYTHON
