"""A vision transformer, from Python."""

from functools import partial

import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import VisionTransformer

from meddef.attacks import pgd
from meddef.evaluation import evaluate

torch.manual_seed(0)
model = VisionTransformer(
    image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3
)
torch.nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero
model.eval()
images = torch.rand(12, 3, 32, 32)
with torch.no_grad():
    labels = model(images).argmax(1)  # all right before the attack
loader = DataLoader(TensorDataset(images, labels), batch_size=4)
outcome = evaluate(model, loader, partial(pgd, eps=8 / 255, step_size=2 / 255, steps=10))
assert outcome.counts.n == outcome.counts.correct_before == 12
assert 0 < outcome.linf <= 8 / 255 + 1e-6
print(outcome.asr.value, outcome.asr.interval)
