"""Networks that find every object and its pixels."""

from keras_segattn.instances.mask_rcnn import MaskRCNN
from keras_segattn.instances.mnc import MNC

__all__ = ["MNC", "MaskRCNN"]
