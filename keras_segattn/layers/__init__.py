"""Layers and initialisers with weights, state or non-trivial maths."""

from keras_segattn.layers.add_bias import AddBias
from keras_segattn.layers.additive_attention import AdditiveAttention
from keras_segattn.layers.anchor_generator import AnchorGenerator
from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.attention_gru_cell import AttentionGRUCell
from keras_segattn.layers.attention_lstm_cell import AttentionLSTMCell
from keras_segattn.layers.attention_rnn import AttentionRNN
from keras_segattn.layers.attention_rnn_cell import AttentionRNNCell
from keras_segattn.layers.attention_score import AttentionScore, Memory
from keras_segattn.layers.batch_statistics import BatchStatistics, RecurrentBatchNormalization
from keras_segattn.layers.bilinear_initializer import BilinearInitializer
from keras_segattn.layers.cielab import CIELab
from keras_segattn.layers.class_masks import ClassMasks
from keras_segattn.layers.coordinates import CoordinateConcatenate, CoordinateDense
from keras_segattn.layers.crop_and_warp import CropAndWarp
from keras_segattn.layers.crop_to_reference import CropToReference
from keras_segattn.layers.detections import Detections
from keras_segattn.layers.dilated_conv2d import DilatedConv2D
from keras_segattn.layers.dilated_max_pooling2d import DilatedMaxPooling2D
from keras_segattn.layers.dot_attention import DotAttention, GeneralAttention
from keras_segattn.layers.grouped_conv2d import GroupedConv2D
from keras_segattn.layers.hard_attention import HardAttention
from keras_segattn.layers.image_pyramid import ImagePyramid
from keras_segattn.layers.input_feeding_cell import InputFeedingCell
from keras_segattn.layers.local_attention import LocalAttention
from keras_segattn.layers.local_contrast_normalization import LocalContrastNormalization
from keras_segattn.layers.local_response_normalization import LocalResponseNormalization
from keras_segattn.layers.location_attention import LocationAttention
from keras_segattn.layers.maxout import Maxout
from keras_segattn.layers.monotonic_attention import MonotonicAttention
from keras_segattn.layers.nearest_texton import NearestTexton
from keras_segattn.layers.object_scores import ObjectScores
from keras_segattn.layers.paste_masks import PasteMasks
from keras_segattn.layers.projected_rnn import ProjectedCell, ProjectedRNN
from keras_segattn.layers.proposals import Proposals
from keras_segattn.layers.refine_regions import RefineRegions
from keras_segattn.layers.regions import ImageSizes, MergeRegions, SplitRegions, TakeRegion, ValidRegions
from keras_segattn.layers.reset_before_gru_cell import ResetBeforeGRUCell
from keras_segattn.layers.resize_mask import ResizeMask
from keras_segattn.layers.rgb_to_yuv import RGBToYUV
from keras_segattn.layers.roi_align import RoIAlign
from keras_segattn.layers.roi_pool import RoIPool
from keras_segattn.layers.roi_warp import RoIWarp
from keras_segattn.layers.sequences import Earlier, Later, MaskedSteps, NotEqual, Reverse, ZeroWhereNot
from keras_segattn.layers.sparse_conv2d import SparseConv2D
from keras_segattn.layers.spatial_transformer import SpatialTransformer
from keras_segattn.layers.texton_filters import TextonFilters
from keras_segattn.layers.texture_layout import TextureLayout
from keras_segattn.layers.transposed_conv2d import TransposedConv2D
from keras_segattn.layers.uniform_attention import UniformAttention
from keras_segattn.layers.upsample import Upsample
from keras_segattn.layers.vote_masks import VoteMasks

__all__ = [
    "AddBias",
    "AdditiveAttention",
    "AnchorGenerator",
    "AttentionCell",
    "AttentionGRUCell",
    "AttentionLSTMCell",
    "AttentionRNN",
    "AttentionRNNCell",
    "AttentionScore",
    "BatchStatistics",
    "BilinearInitializer",
    "CIELab",
    "ClassMasks",
    "CoordinateConcatenate",
    "CoordinateDense",
    "CropAndWarp",
    "CropToReference",
    "Detections",
    "DilatedConv2D",
    "DilatedMaxPooling2D",
    "DotAttention",
    "Earlier",
    "GeneralAttention",
    "GroupedConv2D",
    "HardAttention",
    "ImagePyramid",
    "ImageSizes",
    "InputFeedingCell",
    "Later",
    "LocalAttention",
    "LocalContrastNormalization",
    "LocalResponseNormalization",
    "LocationAttention",
    "MaskedSteps",
    "Maxout",
    "Memory",
    "MergeRegions",
    "MonotonicAttention",
    "NearestTexton",
    "NotEqual",
    "ObjectScores",
    "PasteMasks",
    "ProjectedCell",
    "ProjectedRNN",
    "Proposals",
    "RGBToYUV",
    "RecurrentBatchNormalization",
    "RefineRegions",
    "ResetBeforeGRUCell",
    "ResizeMask",
    "Reverse",
    "RoIAlign",
    "RoIPool",
    "RoIWarp",
    "SparseConv2D",
    "SpatialTransformer",
    "SplitRegions",
    "TakeRegion",
    "TextonFilters",
    "TextureLayout",
    "TransposedConv2D",
    "UniformAttention",
    "Upsample",
    "ValidRegions",
    "VoteMasks",
    "ZeroWhereNot",
]
