#!/usr/bin/env bash
# Grad-CAM of a layer that runs several times in a forward pass: grad-cam explains the first run, Captum the last.
#
# Expected: Grad-CAM of `layer4[-1].relu` of a torchvision ResNet is that of the block's output, or both runs are refused.
# Observed: a BasicBlock has one ReLU, which it runs twice (a Bottleneck three times). grad-cam takes the activation and
#           the gradient of the first run, inside the block; Captum's LayerGradCam those of the last run, the block's output.
#           Neither says so: the same layer of the same model gets two different maps.
# Version:  grad-cam 1.5.7, captum 0.9.0, torchvision with torch 2.15.0 (pytorch_grad_cam/activations_and_gradients.py keeps
#           a list of all runs, of which base_cam.py reads the first; captum/_utils/gradient.py overwrites)
# Affects:  who explains "the last ReLU", and who compares maps of the two libraries. The sums of a whole block are the
#           same in both.
# Remedy:   name the block (layer4[-1]), which runs once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision numpy==2.4.6 grad-cam==1.5.7 captum==0.9.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import cv2
import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import resnet18

print("grad-cam", version("grad-cam"), "captum", version("captum"), "torchvision", version("torchvision"))
torch.manual_seed(0)
model = resnet18().eval()
for module in model.modules():
    if hasattr(module, "inplace"):
        module.inplace = False  # so that the first run's output can be compared
image = torch.rand(1, 3, 128, 128)
block = model.layer4[-1]


def scaled(heat):
    heat = np.maximum(heat, 0)
    return (heat - heat.min()) / (heat.max() - heat.min() + 1e-7)


def distance(a, b):
    return float(np.abs(a - b).max())


def by_hand():
    """The map of each run of the ReLU, (4, 4), from its activation and gradient."""
    runs = []
    handle = block.relu.register_forward_hook(lambda module, given, output: runs.append(output))
    score = model(image)[0, 5]
    handle.remove()
    maps = []
    for run in runs:
        (gradient,) = torch.autograd.grad(score, run, retain_graph=True)
        maps.append(scaled((gradient.mean((2, 3), keepdim=True) * run).sum(1)[0].detach().numpy()))
    return maps


def of_grad_cam(layer):
    cam = GradCAM(model, [layer])
    cam(input_tensor=image, targets=[ClassifierOutputTarget(5)])
    gradient = torch.as_tensor(np.asarray(cam.activations_and_grads.gradients[0].detach()))
    activation = torch.as_tensor(np.asarray(cam.activations_and_grads.activations[0].detach()))
    maps = cam.compute_cam_per_layer(image, [ClassifierOutputTarget(5)], False)
    cam.activations_and_grads.release()
    coarse = scaled((gradient.mean((2, 3), keepdim=True) * activation).sum(1)[0].numpy())
    return coarse, maps[0][0, 0]


def of_captum(layer):
    return scaled(LayerGradCam(model, layer).attribute(image, target=5)[0, 0].detach().numpy())


first, second = by_hand()
ours, upsampled = of_grad_cam(block.relu)
theirs = of_captum(block.relu)
print(f"runs of block.relu by hand: 2, largest difference of their maps {distance(first, second):.3f} of 1")
print(f"grad-cam block.relu: to the first run {distance(ours, first):.4f}, to the second {distance(ours, second):.4f}")
print(f"captum   block.relu: to the first run {distance(theirs, first):.4f}, to the second {distance(theirs, second):.4f}")
whole, _ = of_grad_cam(block)
print(f"the whole block: grad-cam {distance(whole, second):.4f}, captum {distance(of_captum(block), second):.4f} to the second run")
enlarged = scaled(cv2.resize(first.astype(np.float32), (128, 128)))
print(f"the map that grad-cam returns, to the first run's enlarged: {distance(upsampled, enlarged):.4f}")
assert distance(first, second) > 0.2
assert distance(ours, first) < 1e-3 < distance(ours, second)
assert distance(theirs, second) < 1e-3 < distance(theirs, first)
assert distance(whole, second) < 1e-3 and distance(of_captum(block), second) < 1e-3
assert distance(upsampled, enlarged) < 0.02
print("as observed: one layer, two libraries, two maps")
PYTHON
