"""Measuring models: metrics with intervals, and the engine that turns a profile into records."""

from meddef.evaluation.diagnostic import diagnostic_accuracy
from meddef.evaluation.metrics import Evaluation, confusion_matrix, evaluate
from meddef.evaluation.multilabel import evaluate_labels
from meddef.evaluation.robustness_curve import MinimalEps, minimal_eps
from meddef.evaluation.weights_header import describe

__all__ = [
    "Evaluation",
    "MinimalEps",
    "confusion_matrix",
    "describe",
    "diagnostic_accuracy",
    "evaluate",
    "evaluate_labels",
    "minimal_eps",
]
