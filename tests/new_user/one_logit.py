"""A model of one logit, as one trains with BCEWithLogitsLoss."""

from functools import partial

import torch
from my_models import brightness
from my_pictures import picture

from meddef.attacks import pgd
from meddef.evaluation import evaluate
from meddef.models import Binary

images = torch.stack([torch.from_numpy(picture(i % 2, i)).float().div(255)[None] for i in range(12)])
loader = [(images, torch.arange(12) % 2)]
for eps, robust in ((8 / 255, 1.0), (0.25, 0.0)):
    outcome = evaluate(
        Binary(brightness(1, 1).eval()), loader, partial(pgd, eps=eps, step_size=eps / 4, steps=10)
    )
    assert (outcome.clean_accuracy.value, outcome.robust_accuracy.value) == (1.0, robust)
