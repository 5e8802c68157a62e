"""Measuring models: metrics with intervals, and the engine that turns a profile into records."""

from meddef.evaluation.described import describe
from meddef.evaluation.metrics import Evaluation, confusion_matrix, evaluate

__all__ = ["Evaluation", "confusion_matrix", "describe", "evaluate"]
