#!/usr/bin/env bash
# Grad-CAM of a layer whose output the next operation overwrites: on a CPU grad-cam pairs the wrong activation with the gradient.
#
# Expected: the map of a convolution is the same whether the ReLU behind it is in place or not: the network is the same.
# Observed: grad-cam keeps `activation.cpu().detach()`, which on a CPU is no copy. ReLU(inplace=True) (every VGG of
#           torchvision) or `out += identity` (every ResNet) then writes into it; the gradient, taken before, belongs to
#           the old values. The map differs from that of the twin, without a word. Captum's maps of the two are the same.
# Version:  grad-cam 1.5.7, captum 0.9.0, torchvision with torch 2.15.0 (pytorch_grad_cam/activations_and_gradients.py)
# Affects:  who names a convolution or a BatchNorm as the layer, as tutorials on VGG do.
# Remedy:   name the layer behind the operation (the ReLU, the block), or let a forward hook that is registered after GradCAM's
#           return output.clone().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision numpy==2.4.6 grad-cam==1.5.7 captum==0.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import copy
from importlib.metadata import version

import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import resnet18, vgg11

print("grad-cam", version("grad-cam"), "captum", version("captum"), "torchvision", version("torchvision"))
torch.manual_seed(0)
image = torch.rand(1, 3, 128, 128)


def of_grad_cam(model, layer, clone=False):
    cam = GradCAM(model, [layer])
    handle = layer.register_forward_hook(lambda module, given, output: output.clone() if clone else None)
    found = cam(input_tensor=image, targets=[ClassifierOutputTarget(5)])[0]
    handle.remove()
    cam.activations_and_grads.release()
    return found


def without_in_place(model):
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return twin


def distance(a, b):
    return float(np.abs(a - b).max())


model = vgg11().eval()
twin = without_in_place(model)
assert torch.equal(model(image), twin(image))
worst = 0.0
for number in (8, 13, 18):
    expected = of_grad_cam(twin, twin.features[number])
    found = of_grad_cam(model, model.features[number])
    mended = of_grad_cam(model, model.features[number], clone=True)
    coarse = [
        LayerGradCam(each, each.features[number]).attribute(image, target=5).detach().numpy() for each in (model, twin)
    ]
    print(
        f"vgg11 features[{number}]: grad-cam, in place or not, {distance(found, expected):.3f} apart of 1; with a clone "
        f"{distance(mended, expected):.3f}; captum {distance(*coarse) / np.abs(coarse[1]).max():.3f}"
    )
    worst = max(worst, distance(found, expected))
    assert distance(mended, expected) < 1e-6
assert worst > 0.1

block = resnet18().eval()
layer = block.layer2[1].bn2
found, mended = of_grad_cam(block, layer), of_grad_cam(block, layer, clone=True)
print(f"resnet18 layer2[1].bn2, before out += identity: {distance(found, mended):.3f} from the map with a clone")
assert distance(found, mended) > 0.1
print("as observed: the same network, another map")
PYTHON
