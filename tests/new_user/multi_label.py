"""Findings that may occur together: one logit a finding, each attacked and judged alone."""

from functools import partial

import torch
from torch import nn

from meddef.attacks import pgd
from meddef.evaluation import evaluate_labels

model = nn.Sequential(
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)
)  # a channel a finding, by its mean
with torch.no_grad():
    model[2].weight.copy_(20 * torch.eye(3))
    model[2].bias.fill_(-10)
generator = torch.Generator().manual_seed(0)
labels = torch.randint(0, 2, (16, 3), generator=generator)
distance = torch.tensor(
    [0.02, 0.1, 0.3]
)  # from the border: the first finding falls at a smaller ε than the last
images = (0.5 + (2 * labels - 1) * distance)[:, :, None, None].expand(-1, -1, 32, 32).contiguous()
outcomes = evaluate_labels(
    model.eval(), [(images, labels)], partial(pgd, eps=0.05, step_size=0.0125, steps=10)
)
assert [outcome.clean_accuracy.value for outcome in outcomes] == [1.0, 1.0, 1.0]
assert [outcome.robust_accuracy.value for outcome in outcomes] == [0.0, 1.0, 1.0]
