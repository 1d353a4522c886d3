"""Loss functions on raw logits; the losses of pixels leave out an ignored label."""

from keras_segattn.losses.cross_entropy import PixelCrossEntropy
from keras_segattn.losses.dice import Dice
from keras_segattn.losses.doubly_stochastic import DoublyStochastic
from keras_segattn.losses.focal import Focal, SigmoidFocalCrossEntropy
from keras_segattn.losses.lovasz import LovaszSoftmax
from keras_segattn.losses.sequence_cross_entropy import SequenceCrossEntropy

__all__ = [
    "Dice",
    "DoublyStochastic",
    "Focal",
    "LovaszSoftmax",
    "PixelCrossEntropy",
    "SequenceCrossEntropy",
    "SigmoidFocalCrossEntropy",
]
