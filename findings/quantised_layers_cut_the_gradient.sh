#!/usr/bin/env bash
# A network quantised by torchao looks robust to PGD: each int8 layer cuts the gradient, and the skip connections hide it.
#
# Expected: int8 layers with dynamic activations either pass a gradient on to their input (straight through the rounding) or
#           refuse with an error, as a plain stack of such layers does ("appears to not have been used in the graph").
# Observed: beside a skip connection nothing is raised: the gradient of the input is that of the skip connections alone. Its
#           cosine with the gradient of the unquantised network, whose predictions are the same, is near 0. PGD at a budget
#           that leaves the unquantised network nothing leaves the quantised one everything; the very images found on the
#           unquantised network leave it nothing too. Weight-only int8 is attacked like the original.
# Version:  torchao 0.18.0 with torch 2.15.0, on a CPU
# Source:   seen with the model below: two residual blocks; the last linear layer stays in float32, as is common
# Affects:  users who quantise a transformer or ResNet and measure robust accuracy with a gradient attack.
# Remedy:   attack the unquantised network and transfer, or add an attack without gradients (Square).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 torchao==0.18.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import copy
from importlib.metadata import version

import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

print("torchao", version("torchao"), "torch", torch.__version__)
EPS = 0.1


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 64, 8, 8), nn.Linear(64, 3)
        self.blocks = nn.Sequential(Block(64), Block(64))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


draw = torch.Generator().manual_seed(0)
labels = torch.arange(600) % 3  # stripes of three periods, of random phase, in noise
period, phase = torch.tensor([4.0, 6.0, 10.0])[labels][:, None], 6.283 * torch.rand(600, 1, generator=draw)
stripes = 0.5 + 0.2 * torch.sin(6.283 * torch.arange(32.0) / period + phase)
images = stripes[:, None, None, :] + 0.08 * torch.randn(600, 1, 32, 32, generator=draw)
images = images.clamp(0, 1).contiguous()

torch.manual_seed(0)
net = Patches()
optimizer = torch.optim.Adam(net.parameters(), 1e-3)
for _ in range(30):
    for rows in torch.randperm(400, generator=draw).split(50):
        optimizer.zero_grad()
        cross_entropy(net(images[rows]), labels[rows]).backward()
        optimizer.step()
net.eval().requires_grad_(False)
test, truth = images[400:], labels[400:]


def accuracy(model, x):
    return (model(x).argmax(1) == truth).double().mean().item()


def gradient(model, x):
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(model(x), truth), x)[0]


def pgd(model):
    x = test
    for _ in range(20):
        x = (test + (x + EPS / 4 * gradient(model, x).sign() - test).clamp(-EPS, EPS)).clamp(0, 1)
    return x


def quantised(config):
    model = copy.deepcopy(net)
    quantize_(model, config, filter_fn=lambda module, name: isinstance(module, nn.Linear) and name != "head")
    return model


found = pgd(net)
print(f"float32            clean {accuracy(net, test):.2f}, under PGD {accuracy(net, found):.2f} (ε = {EPS}, 20 steps)")
kinds = {"dynamic int8": Int8DynamicActivationInt8WeightConfig(), "weight-only int8": Int8WeightOnlyConfig()}
seen = {}
for name, config in kinds.items():
    model = quantised(config)
    cosine = cosine_similarity(gradient(net, test).flatten(1), gradient(model, test).flatten(1)).mean().item()
    seen[name] = accuracy(model, test), accuracy(model, pgd(model)), accuracy(model, found), cosine
    print("%-18s clean %.2f, under its own PGD %.2f, under float32's images %.2f; cosine of the gradients %.2f" % (name, *seen[name]))
clean, own, transferred, cosine = seen["dynamic int8"]
assert clean > 0.95, "the behaviour has changed"
assert own > 0.9, "the behaviour has changed"
assert transferred < 0.1, "the behaviour has changed"
assert abs(cosine) < 0.2, "the behaviour has changed"
assert seen["weight-only int8"][1] < 0.1
plain = nn.Sequential(nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 3)).eval().requires_grad_(False)
quantize_(plain, Int8DynamicActivationInt8WeightConfig())
try:
    gradient(plain, test)
except RuntimeError as error:
    print("a plain stack of such layers:", str(error).split(". ")[0])
else:
    raise AssertionError("the behaviour has changed")
PYTHON
