"""Versions of the results, one per domain.

The key of a cell holds its settings, the fingerprint of its images and the versions of the domains that computed it,
not the text of their code: renaming a variable keeps every result, and a change that moves a number must say
so here. ``tests/test_golden.py`` computes a golden cell per domain and fails when its digits move under an old version.

A domain is the package of its name and its entries in ``MODULES``. Modules in ``NO_RESULTS`` do not affect recorded
numbers: they plan and store (settings are in the key), or make pages and figures from records.

Raise the version of a domain in the commit that changes its numbers, then run ``python -m tests.golden``.
"""

from __future__ import annotations

MODULES: dict[str, tuple[str, ...]] = {
    "image_size": ("data",),
    "catalogue": ("models", "attacks"),
    "pruning": ("models",),
    "prunable": ("models",),
    "arithmetic": (
        "training",
        "evaluation",
        "saliency",
        "probes",
    ),  # arithmetic on GPUs only
    "module_state": (
        "attacks",
        "evaluation",
        "saliency",
        "probes",
    ),  # evaluation mode during evaluation
    "small_maps": ("attacks", "training"),
    "robustness": ("audit",),
    "laboratory": ("audit",),
    "statistics": ("audit",),  # two verdicts depend on an interval; all other records hold counts
}
"""Modules shared by domains, and the domains whose results they affect."""
NO_RESULTS = (
    "atomic", "book", "caller_warnings", "claims", "cli", "commands", "consistency", "cost_model", "course",
    "csv_text", "error_source", "errors", "export", "figures", "installation", "paper", "playground", "printed",
    "profiles", "progress", "records", "report", "results_version", "sections", "settings", "smoke_test",
    "sparse", "trust", "workers", "yaml_reader",
)  # fmt: skip
RESULTS_VERSION: dict[str, int] = {
    "data": 2,  # meddef.data: decoding, preprocessing, splits, phantoms and their lesion masks
    "models": 1,  # meddef.models and meddef.pruning
    "training": 2,  # meddef.training
    "attacks": 3,  # meddef.attacks; 3: cross-entropy keeps its direction where float32 rounds it to 0
    "defenses": 2,  # meddef.defenses; 2: steps of at most eps / 4
    "saliency": 2,  # meddef.saliency
    "evaluation": 2,  # meddef.evaluation: which images, in which order, with which seed, and their evaluation
    "audit": 3,  # meddef.robustness, meddef.laboratory: robustness reports and the defect laboratory
    "probes": 1,  # meddef.probes
}


def versions(*domains: str) -> dict[str, int]:
    """Domain -> version of its results, for the settings of a cell.

    Raises:
        KeyError: a domain that has no version.
    """
    return {domain: RESULTS_VERSION[domain] for domain in sorted(domains)}
