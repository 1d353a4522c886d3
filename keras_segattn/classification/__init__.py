"""Image classifiers: the trunks on which the other architectures stand."""

from keras_segattn.classification.caffenet import CaffeNet
from keras_segattn.classification.squeezenet import SqueezeNet1_1
from keras_segattn.classification.vgg16 import VGG16

__all__ = ["VGG16", "CaffeNet", "SqueezeNet1_1"]
