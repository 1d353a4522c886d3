"""Layers and initialisers with weights, state or non-trivial maths."""

from keras_segattn.layers.bilinear_initializer import BilinearInitializer
from keras_segattn.layers.crop_to_reference import CropToReference
from keras_segattn.layers.grouped_conv2d import GroupedConv2D
from keras_segattn.layers.local_response_normalization import LocalResponseNormalization

__all__ = ["BilinearInitializer", "CropToReference", "GroupedConv2D", "LocalResponseNormalization"]
