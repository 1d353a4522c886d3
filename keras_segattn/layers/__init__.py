"""Layers and initialisers with weights, state or non-trivial maths."""

from keras_segattn.layers.anchor_generator import AnchorGenerator
from keras_segattn.layers.bilinear_initializer import BilinearInitializer
from keras_segattn.layers.class_masks import ClassMasks
from keras_segattn.layers.crop_to_reference import CropToReference
from keras_segattn.layers.detections import Detections
from keras_segattn.layers.grouped_conv2d import GroupedConv2D
from keras_segattn.layers.local_response_normalization import LocalResponseNormalization
from keras_segattn.layers.paste_masks import PasteMasks
from keras_segattn.layers.proposals import Proposals
from keras_segattn.layers.regions import ImageSizes, MergeRegions, SplitRegions
from keras_segattn.layers.roi_align import RoIAlign
from keras_segattn.layers.roi_pool import RoIPool
from keras_segattn.layers.roi_warp import RoIWarp

__all__ = [
    "AnchorGenerator",
    "BilinearInitializer",
    "ClassMasks",
    "CropToReference",
    "Detections",
    "GroupedConv2D",
    "ImageSizes",
    "LocalResponseNormalization",
    "MergeRegions",
    "PasteMasks",
    "Proposals",
    "RoIAlign",
    "RoIPool",
    "RoIWarp",
    "SplitRegions",
]
