"""Layers and initialisers with weights, state or non-trivial maths."""

from keras_segattn.layers.anchor_generator import AnchorGenerator
from keras_segattn.layers.bilinear_initializer import BilinearInitializer
from keras_segattn.layers.class_masks import ClassMasks
from keras_segattn.layers.clip_gradient import ClipGradient
from keras_segattn.layers.crop_to_reference import CropToReference
from keras_segattn.layers.detections import Detections
from keras_segattn.layers.grouped_conv2d import GroupedConv2D
from keras_segattn.layers.local_response_normalization import LocalResponseNormalization
from keras_segattn.layers.object_scores import ObjectScores
from keras_segattn.layers.paste_masks import PasteMasks
from keras_segattn.layers.proposals import Proposals
from keras_segattn.layers.refine_regions import RefineRegions
from keras_segattn.layers.regions import ImageSizes, MergeRegions, SplitRegions, ValidRegions
from keras_segattn.layers.resize_mask import ResizeMask
from keras_segattn.layers.roi_align import RoIAlign
from keras_segattn.layers.roi_pool import RoIPool
from keras_segattn.layers.roi_warp import RoIWarp
from keras_segattn.layers.vote_masks import VoteMasks

__all__ = [
    "AnchorGenerator",
    "BilinearInitializer",
    "ClassMasks",
    "ClipGradient",
    "CropToReference",
    "Detections",
    "GroupedConv2D",
    "ImageSizes",
    "LocalResponseNormalization",
    "MergeRegions",
    "ObjectScores",
    "PasteMasks",
    "Proposals",
    "RefineRegions",
    "ResizeMask",
    "RoIAlign",
    "RoIPool",
    "RoIWarp",
    "SplitRegions",
    "ValidRegions",
    "VoteMasks",
]
