#!/usr/bin/env bash
# PyTorch's convolution of a 2 x 2 map costs several times as much as the matrix product that it is.
#
# Expected: torch.nn.functional.conv2d is at least as fast as gathering the values under the kernel and one
#           torch.nn.functional.linear (its memory format is ideal for both: channels last).
# Observed: where the output has 2 x 2 positions, forward and input gradient in float32 take two to three times the CPU
#           time of the product; on a map of 16 x 16 with the same number of operations the convolution is the faster
#           one. The order is the same with oneDNN restricted to AVX2 and to AVX-512 (ONEDNN_MAX_CPU_ISA), and in bfloat16
#           with AMX larger. The last stage of a ResNet18 for images of 64 x 64 pixels runs on such maps.
# Version:  torch 2.15.0 (x86-64, oneDNN 3.13.3).
# Affects:  training and gradient attacks on small images (MedMNIST, thumbnails) on CPUs: the last stage dominates.
# Remedy:   replace the layer by the product where it has few output positions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
from time import process_time

import torch
from torch.nn import functional as F

torch.set_num_threads(1)
print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())


def gathered(x, weight):
    """The convolution of padded 3 x 3 kernels as one product; its gradients come from autograd."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3)  # (N, H, W, 3, 3, C)
    columns = windows.reshape(-1, windows[0, 0, 0].numel())
    matrix = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    return F.linear(columns, matrix).view(*windows.shape[:3], -1).permute(0, 3, 1, 2)


def convolved(x, weight):
    return F.conv2d(x, weight, padding=1)


ratios = {}
for channels, side in ((512, 2), (64, 16)):
    x = torch.randn(32, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    gap = (convolved(x, weight) - gathered(x, weight)).abs().max().item()
    spent = {convolved: [], gathered: []}
    for turn in range(12):
        for run, times in spent.items():
            started = process_time()
            torch.autograd.grad(run(x, weight).sum(), x)
            times.append(process_time() - started)
    slow, quick = (1000 * statistics.median(times[2:]) for times in spent.values())
    ratios[side] = slow / quick
    print(f"{channels} channels, {side} x {side}: conv2d {slow:.1f} ms, product {quick:.1f} ms, ratio {slow / quick:.2f}, "
          f"largest difference {gap:.0e}")
    assert gap < 1e-2
assert ratios[2] > 1.5, "the convolution of small maps is fast now: this finding is out of date"
assert ratios[16] < 1, "the convolution of large maps is slow now: this finding is out of date"
PYTHON
