"""What a net is: fully connected nets, chains of convolutions, activations and losses, and how they
are checked and changed."""

from lib.nets.activations import Activation
from lib.nets.chain import Chain
from lib.nets.drawing import init
from lib.nets.initialisers import initialise
from lib.nets.losses import Loss, cross_entropy, gradient, mse, risk
from lib.nets.mlp import MLP
from lib.nets.propagation import features, forward, preactivations
from lib.nets.sequential import from_sequential, to_sequential
from lib.nets.vectors import concatenate, flatten, stack, unflatten
from lib.nets.vgg import VGG, Design

__all__ = [
    "MLP",
    "VGG",
    "Activation",
    "Chain",
    "Design",
    "Loss",
    "concatenate",
    "cross_entropy",
    "features",
    "flatten",
    "forward",
    "from_sequential",
    "gradient",
    "init",
    "initialise",
    "mse",
    "preactivations",
    "risk",
    "stack",
    "to_sequential",
    "unflatten",
]
