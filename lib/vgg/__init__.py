"""The convolutional nets of Gu et al. (2020): shapes, initialisers, l_{1,2} regulariser, training and evaluation."""

from lib.vgg.chain import Chain
from lib.vgg.evaluation import Evaluation, evaluate
from lib.vgg.family import Member, Unfinished, train_family
from lib.vgg.images import crop, draw_crops, to_images
from lib.vgg.initialisers import INITIALISERS, draw_joint, initialise
from lib.vgg.net import VGG, Design
from lib.vgg.processes import one_a_core
from lib.vgg.recipe import Recipe, checkpoint_epochs
from lib.vgg.regulariser import PENALTIES, l2_paper, l12, l12_paper, layer_penalties, penalty
from lib.vgg.training import Execution, Record, State, train

__all__ = [
    "INITIALISERS",
    "PENALTIES",
    "VGG",
    "Chain",
    "Design",
    "Evaluation",
    "Execution",
    "Member",
    "Recipe",
    "Record",
    "State",
    "Unfinished",
    "checkpoint_epochs",
    "crop",
    "draw_crops",
    "draw_joint",
    "evaluate",
    "initialise",
    "l12",
    "l12_paper",
    "l2_paper",
    "layer_penalties",
    "one_a_core",
    "penalty",
    "to_images",
    "train",
    "train_family",
]
