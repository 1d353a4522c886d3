"""Segmentation and attention architectures for Keras 3, one builder a paper.

Importing this is as quick as importing Keras: `data`, `training`, `export` and `visualize` load when first used.
"""

from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from keras_segattn import layers, losses, metrics, ops, weights
from keras_segattn.attention import (
    RNNSearch,
    ShowAttendTell,
    SpatialTransformerHouseNumbers,
    SpatialTransformerInception,
    SpatialTransformerNetwork,
)
from keras_segattn.classification import (
    VGG16,
    VGG19,
    AlexNet,
    CaffeNet,
    EfficientNetLite0,
    GoogLeNet,
    InceptionResNetV1,
    InceptionResNetV2,
    InceptionV4,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
    SqueezeNet1_1,
)
from keras_segattn.generation import (
    ConditionalDCGANDiscriminator,
    ConditionalDCGANGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    GRANDiscriminator,
    GRANGenerator,
)
from keras_segattn.instances import MNC, MaskRCNN
from keras_segattn.preprocessing import Preprocessing
from keras_segattn.registry import get_model, list_models, model_card, preprocessing_of
from keras_segattn.segmentation import FCN8s, FCN16s, FCN32s, FCNAlexNet

__version__ = version("keras-segattn")

__all__ = [
    "MNC",
    "VGG16",
    "VGG19",
    "AlexNet",
    "CaffeNet",
    "ConditionalDCGANDiscriminator",
    "ConditionalDCGANGenerator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "EfficientNetLite0",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FCNAlexNet",
    "GRANDiscriminator",
    "GRANGenerator",
    "GoogLeNet",
    "InceptionResNetV1",
    "InceptionResNetV2",
    "InceptionV4",
    "MaskRCNN",
    "Preprocessing",
    "RNNSearch",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ShowAttendTell",
    "SpatialTransformerHouseNumbers",
    "SpatialTransformerInception",
    "SpatialTransformerNetwork",
    "SqueezeNet1_1",
    "get_model",
    "layers",
    "list_models",
    "losses",
    "metrics",
    "model_card",
    "ops",
    "preprocessing_of",
    "weights",
]

_LAZY = ("data", "export", "training", "visualize")


def __getattr__(name: str) -> ModuleType:
    """Load a workflow package on first use."""
    if name in _LAZY:
        return import_module(f"keras_segattn.{name}")
    raise AttributeError(f"module 'keras_segattn' has no attribute {name!r}")
