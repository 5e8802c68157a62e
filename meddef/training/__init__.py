"""Clean and adversarial training with the paper's epsilon schedule."""

from meddef.training.checkpoint import load_weights, save_weights
from meddef.training.masks import zeros_kept
from meddef.training.schedule import EpsilonSchedule
from meddef.training.trainer import TrainingState, train

__all__ = ["EpsilonSchedule", "TrainingState", "load_weights", "save_weights", "train", "zeros_kept"]
