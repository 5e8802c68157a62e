"""MedDef, measured again: models, attacks, defences, training, pruning and audit of robust image classifiers.

As a library: ``meddef.models.build_model``, ``meddef.attacks`` (``fgsm``, ``pgd``, ... of any PyTorch model),
``meddef.evaluation.evaluate``, ``meddef.audit.robustness_report``, ``meddef.data.load_splits``,
``meddef.training.train``, ``meddef.pruning.prune_l1``, ``meddef.saliency.grad_cam``. Images are in [0, 1], ε is in
pixel units. As a program: ``meddef --help``. The book has the reference (API) and how to add a model, an attack, a
dataset or a section of the report; CONTRIBUTING.md has the map of the code.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from meddef.installation import version

        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
