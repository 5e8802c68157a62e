"""A profile of seconds that has a cell of every kind."""

TINY = """
name: tiny
description: a test
image_size: 32
datasets:
  - {name: phantom_oct, split_policy: released, sizes: {train: 16, val: 8, test: 12}}
variants: [resnet18, no_afd_mfe]
training: {epochs: 2, batch_size: 8, adversarial: {steps: 1}}
grids:
  epsilon: {images: 8, eps: [0.01, 0.05], attacks: {fgsm: {}, pgd: {steps: 2}}}
  pruning: {images: 8, eps: [0.05], rates: [0.0, 0.5], attacks: {fgsm: {}}}
saliency: {images: 4, layer: layer2, removal_steps: 2, pgd: {steps: 2, step_size: 0.05}}
"""
WITHOUT_MAPS = "\n".join(line for line in TINY.splitlines() if not line.startswith("saliency"))
"""For tests that start processes: each would import Grad-CAM, which takes seconds."""
