"""Semantic segmentation."""

from keras_segattn.segmentation.fcn import FCN8s, FCN16s, FCN32s
from keras_segattn.segmentation.fcn_alexnet import FCNAlexNet

__all__ = ["FCN8s", "FCN16s", "FCN32s", "FCNAlexNet"]
