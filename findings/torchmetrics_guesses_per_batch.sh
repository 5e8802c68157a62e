#!/usr/bin/env bash
# The AUROC of torchmetrics from logits depends on how the images were put into batches.
#
# Expected: "preds outside [0, 1] are considered logits" is decided once, so that a metric is a function of all predictions.
# Observed: each update() decides for its own batch. A batch whose logits all happen to lie in [0, 1] is taken for
#           probabilities and stays as it is, the others go through a sigmoid: the two are ranked on different scales. Logits
#           near 0 are just what an attack leaves, and a loader over class folders gives batches of one class: a perfect
#           ranking (1.000) is reported as .86. One large or well mixed batch is right.
# Version:  torchmetrics 1.9.0 with torch 2.15.0
# Source:   github.com/Lightning-AI/torchmetrics/issues/2195, open since 2023; numbers from the logits below
# Affects:  users who compare AUROC before and after an attack, or of models evaluated with different batch sizes.
# Remedy:   pass probabilities; or collect all logits and call the metric once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 torchmetrics==1.9.0 scikit-learn==1.9.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from sklearn.metrics import roc_auc_score
from torchmetrics.classification import BinaryAUROC

print("torchmetrics", version("torchmetrics"), "torch", torch.__version__)
draw = torch.Generator().manual_seed(0)
labels = torch.arange(100) // 50
logits = torch.rand(100, generator=draw) * torch.where(labels == 1, 0.6, 0.9) + torch.where(labels == 1, 1.05, 0.05)


def auroc(scores, batches):
    metric = BinaryAUROC()
    for rows in batches:
        metric.update(scores[rows], labels[rows])
    return metric.compute().item()


order = torch.randperm(100, generator=draw)
ways = {"one batch": [order], "mixed batches of 50": order.split(50), "batches of one class": torch.arange(100).split(50)}
print(f"{'scikit-learn':22} {roc_auc_score(labels, logits):.3f}")
found = {}
for name, batches in ways.items():
    found[name] = auroc(logits, batches), auroc(logits.sigmoid(), batches)
    print(f"{name:22} {found[name][0]:.3f} from logits, {found[name][1]:.3f} from probabilities")
assert found["one batch"] == found["mixed batches of 50"] == (1.0, 1.0)
assert found["batches of one class"][0] < 0.9, "the behaviour has changed"
assert found["batches of one class"][1] == 1.0
PYTHON
