#!/usr/bin/env bash
# The context manager of grad-cam swallows an IndexError of the model.
#
# Expected: with GradCAM(model=..., target_layers=[...]) as cam: maps = cam(...)   raises what the model raises.
# Observed: an IndexError in the model's forward (a label beyond an embedding, a missing element of a list) is printed and
#           swallowed: __exit__ returns True for it. The code after the block continues without `maps`; in a
#           loop over images, `maps` silently keeps the maps of the previous image. Any other exception is raised.
# Version:  grad-cam 1.5.7 with torch 2.15.0 (BaseCAM.__exit__, pytorch_grad_cam/base_cam.py)
# Affects:  users who loop over images or models with the context manager that its README shows: one image gets another's map.
# Remedy:   do not use the context manager; call the object and release its hooks in a "finally":
#           cam.activations_and_grads.release().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision numpy==2.4.6 grad-cam==1.5.7
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from pytorch_grad_cam import GradCAM
from torch import nn

print("grad-cam", version("grad-cam"), "torch", torch.__version__)


class Model(nn.Module):
    """A small classifier that looks a value up by the number of bright pixels, of which it knows few."""

    def __init__(self, error):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.error = error

    def forward(self, x):
        if float(x.mean()) > 0.75:
            raise self.error("a bright image")
        return self.head(self.convolution(x).relu().mean((2, 3)))


torch.manual_seed(0)
dark, bright = torch.rand(1, 3, 8, 8) / 2, torch.rand(1, 3, 8, 8) / 10 + 0.9
outcome = {}
for error in (IndexError, KeyError, ValueError):
    model = Model(error).eval()
    kept = {}
    try:
        for name, image in (("dark", dark), ("bright", bright)):
            with GradCAM(model=model, target_layers=[model.convolution]) as cam:
                maps = cam(input_tensor=image, targets=None)
            kept[name] = maps
        outcome[error.__name__] = f"swallowed; the bright image has the dark one's map: {kept['bright'] is kept['dark']}"
    except error:
        outcome[error.__name__] = "raised"
for name, happened in outcome.items():
    print(f"{name}: {happened}")
assert outcome == {
    "IndexError": "swallowed; the bright image has the dark one's map: True", "KeyError": "raised", "ValueError": "raised",
}, "the behaviour has changed"
PYTHON
