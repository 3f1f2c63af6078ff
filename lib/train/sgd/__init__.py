"""The convolutional nets of Gu et al. (2020): how they are trained, the regulariser, and how good
they are."""

from lib.train.sgd.evaluation import evaluate
from lib.train.sgd.images import to_images
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.regulariser import penalty
from lib.train.sgd.training import Execution, Record, State, train

__all__ = [
    "Execution",
    "Recipe",
    "Record",
    "State",
    "evaluate",
    "penalty",
    "to_images",
    "train",
]
