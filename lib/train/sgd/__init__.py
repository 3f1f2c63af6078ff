"""The convolutional nets of Gu et al. (2020): shapes, initialisers, l_{1,2} regulariser, training
and evaluation."""

from lib.train.sgd.evaluation import Evaluation, evaluate
from lib.train.sgd.images import crop, draw_crops, to_images
from lib.train.sgd.recipe import Recipe, checkpoint_epochs
from lib.train.sgd.regulariser import PENALTIES, l2_paper, l12, l12_paper, layer_penalties, penalty
from lib.train.sgd.training import Execution, Record, State, train

__all__ = [
    "Evaluation",
    "Execution",
    "PENALTIES",
    "Recipe",
    "Record",
    "State",
    "checkpoint_epochs",
    "crop",
    "draw_crops",
    "evaluate",
    "l12",
    "l12_paper",
    "l2_paper",
    "layer_penalties",
    "penalty",
    "to_images",
    "train",
]
