"""Networks that find every object and its pixels."""

from keras_segattn.instances.mask_rcnn import MaskRCNN

__all__ = ["MaskRCNN"]
